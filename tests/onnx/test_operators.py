"""Operators in forms that the standard's own evaluator gets wrong, or that only some opsets have."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests.onnx.files import check_loaded, info, model, node
from tests.ops.checks import graph_of
from tests.ops.harness import Case
from tests.ops.test_ops import ROWS
from tinygraph.onnx.load import from_proto
from tinygraph.onnx.save import to_proto
from tinygraph.ops.base import IMPORTERS
from tinygraph.runtime.evaluate import evaluate

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def answer(proto: onnx.ModelProto, x: Any) -> Any:
    """What tinygraph makes of the model."""
    onnx.checker.check_model(proto)
    return evaluate(from_proto(proto), {"x": x})["y"]


@pytest.mark.parametrize("opset", [7, 11, 12, 13, 20])
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax"])
def test_softmax_took_all_axes_from_one_on_before_opset_13(op_type: str, axis: int | None, opset: int) -> None:
    x = normal(2, 3, 4)
    attributes = {} if axis is None else {"axis": axis}
    if opset < 13:
        first = 1 if axis is None else axis
        rows = x.reshape(*x.shape[:first], -1)
    else:
        first = -1 if axis is None else axis
        rows = x
    shares = np.exp(rows) / np.exp(rows).sum(first, keepdims=True)
    expected = (shares if op_type == "Softmax" else np.log(shares)).reshape(x.shape)
    found = answer(model([node(op_type, "x", "y", **attributes)], {"x": x.shape}, {"y": x.shape}, opset=opset), x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [7, 9, 13, 15, 20])
def test_batch_normalization_of_every_opset_uses_the_given_statistics(opset: int) -> None:
    x, gamma, beta, mean = normal(2, 3, 4), normal(3), normal(3), normal(3)
    var = np.abs(normal(3)) + 1
    proto = model(
        [node("BatchNormalization", "x g b m v", "y", epsilon=0.25)],
        {"x": x.shape},
        {"y": x.shape},
        {"g": gamma, "b": beta, "m": mean, "v": var},
        opset=opset,
    )
    scale = gamma / np.sqrt(var + 0.25)
    expected = (x - mean[:, None]) * scale[:, None] + beta[:, None]
    np.testing.assert_allclose(answer(proto, x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [11, 13, 18, 20])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.float32])
def test_the_smallest_of_whole_numbers_is_found_at_the_ends_of_their_range(dtype: Any, opset: int) -> None:
    if opset < 13 and np.dtype(dtype).itemsize == 1:
        opset = 12  # the first that has it for bytes
    limits = np.finfo(dtype) if dtype == np.float32 else np.iinfo(dtype)
    x = np.array([[limits.min, 1, limits.max], [5, 3, limits.max]], dtype)
    kind = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    weights = {"axes": np.array([1])} if opset >= 18 else {}
    attributes = {} if opset >= 18 else {"axes": [1]}
    smallest = node("ReduceMin", "x axes" if weights else "x", "y", keepdims=0, **attributes)
    proto = model([smallest], [info("x", x.shape, kind)], [info("y", [2], kind)], weights, opset=opset)
    found = answer(proto, x)
    np.testing.assert_array_equal(found, np.array([limits.min, 3], dtype))
    assert found.dtype == dtype


@pytest.mark.parametrize("slope", [(4,), (1,)])
def test_prelu_of_a_vector(slope: tuple[int, ...]) -> None:
    check_loaded(model([node("PRelu", "x s", "y")], {"x": [4]}, {"y": [4]}, {"s": normal(*slope)}))


def test_a_transposed_convolution_with_automatic_padding_valid_pads_nothing() -> None:
    weights = {"w": normal(1, 2, 4, 4)}
    check_loaded(
        model(
            [node("ConvTranspose", "x w", "y", strides=[3, 3], auto_pad="VALID")],
            {"x": [1, 1, 3, 3]},
            {"y": [1, 2, 10, 10]},
            weights,
        )
    )


def test_every_reader_reads_an_operator_that_onnx_has() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain}
    assert set(IMPORTERS) <= known


@pytest.mark.parametrize("row", [row for row in ROWS if not hasattr(type(row.op).to_onnx, "refuses")], ids=str)
def test_a_second_round_trip_changes_nothing(row: Case) -> None:
    once = from_proto(to_proto(graph_of(row, np.float32)))
    twice = from_proto(to_proto(once))
    assert str(twice) == str(from_proto(to_proto(twice)))
    assert [name for name, _ in twice.outputs] == [name for name, _ in once.outputs]
    assert len(twice.nodes) <= len(once.nodes)
