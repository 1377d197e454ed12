"""Files that the fuzzer found, made by hand again: each once led to something that must not happen."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any

import numpy as np
import onnx
import pytest

import tinygraph as tg
from tests.onnx.files import info, model, node
from tests.onnx.test_budgets import frugal
from tinygraph.onnx.load import load_partly
from tinygraph.tools import dot


def read(proto: onnx.ModelProto, **more: Any) -> tg.Graph:
    return tg.verify(tg.load(proto.SerializeToString(), **more))


def test_infinite_statistics_give_no_warning_while_a_kernel_is_prepared() -> None:
    weights = {name: np.array([np.inf, 0], np.float32) for name in ("scale", "shift", "mean", "var")}
    proto = model([node("BatchNormalization", "x scale shift mean var", "y")], {"x": ["N", 2]}, {"y": None}, weights)
    session = tg.compile(read(proto), passes="none")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session(np.ones((3, 2), np.float32))


def test_a_part_of_an_input_that_no_machine_holds_is_refused() -> None:
    ends = {name: np.array([at], np.int64) for name, at in (("first", 0), ("last", 1))}
    graph = read(model([node("Slice", "x first last", "y")], {"x": [2**31, 200]}, {"y": None}, ends))
    with frugal(), pytest.raises(tg.BudgetError, match="the input 'x' takes"):
        tg.compile(graph)


def test_the_mask_of_a_pad_that_is_computed_is_in_the_budget() -> None:
    weights = {"pads": np.array([0, 1, 0, 2**31], np.int64)}
    inputs = [info("x", [4, 5]), info("v", [])]
    proto = model([node("Pad", "x pads v", "y")], inputs, {"y": None}, weights)
    with frugal(), pytest.raises(tg.BudgetError):
        read(proto, budget=tg.Budget(bytes=2**24))


def test_the_mask_of_a_diagonal_is_in_the_budget() -> None:
    proto = model([node("Einsum", "x", "y", equation="ii->i")], {"x": [2**20, 2**20]}, {"y": None})
    with frugal(), pytest.raises(tg.BudgetError):
        read(proto)


def test_sizes_beyond_what_files_hold_are_refused() -> None:
    scales = {"scales": np.array([2.0**62, 1.5], np.float32)}
    proto = model([node("Resize", "x - scales", "y")], {"x": [3, 3]}, {"y": None}, scales)
    with pytest.raises(tg.ModelFormatError, match="more than NumPy counts up to"):
        read(proto)


def test_unpooling_is_drawn() -> None:
    inputs = [info("x", [1, 1, 2, 2]), info("at", [1, 1, 2, 2], onnx.TensorProto.INT64)]
    proto = model([node("MaxUnpool", "x at", "y", kernel_shape=[2, 2], strides=[2, 2])], inputs, {"y": None})
    assert "max_unpool 2x2" in dot.dot(read(proto), None)


def test_a_model_of_which_nothing_is_known_is_refused_in_part_too() -> None:
    unknown = onnx.helper.make_node("Nothing", ["x"], ["y"], domain="com.x")
    proto = model([unknown], {"x": [2]}, {"y": None}, domains={"com.x": 1})
    with pytest.raises(tg.UnsupportedOp, match=r"com\.x\.Nothing"):
        load_partly(proto.SerializeToString())


def test_what_a_file_holds_is_saved_again() -> None:
    target = BytesIO()
    tg.save(read(model([node("Relu", "x", "y")], {"x": [2**62, 0]}, {"y": None})), target)
    assert tg.load(target.getvalue()).inputs[0].type.shape == (2**62, 0)
