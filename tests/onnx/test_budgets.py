"""Small files that ask for much: refused before anything is allocated, wherever the size comes out.

While a file is read (`tg.load`), folded (`tg.optimize`), planned (`tg.compile`) and run.
"""

from __future__ import annotations

import resource
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import pytest

import tinygraph as tg
from tests.onnx.files import info, model, node

SMALL = tg.Budget(bytes=16 * 2**20, operations=10**8)
MOST = 48 * 2**20  # bytes: the budget, and what Python takes for itself
SECONDS = 5
_ADDRESSES = 8 * 2**30


def _stop(*_: Any) -> None:
    pytest.fail(f"it takes more than {SECONDS} seconds")


@contextmanager
def frugal() -> Iterator[None]:
    """Whatever happens takes few seconds and little memory."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, limits[1]))  # should the test fail, the machine goes on
    tracemalloc.start()
    before = signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST, f"{peak:,} bytes"


def through(proto: onnx.ModelProto, budget: tg.Budget = SMALL, **inputs: Any) -> Exception | None:
    """Takes a file from reading to running; the error that refuses it. Neither takes much."""
    content = proto.SerializeToString()
    error: Exception | None = None
    try:
        with frugal():
            graph = tg.load(content, budget=budget)
            optimized = tg.optimize(graph)
            tg.compile(optimized, passes="none", threads=1, budget=budget)(**inputs)
    except tg.TinygraphError as raised:
        error = raised
    assert len(str(error)) < 500
    return error


def refused(proto: onnx.ModelProto, budget: tg.Budget = SMALL, **inputs: Any) -> None:
    """It is refused with one short message."""
    assert isinstance(through(proto, budget, **inputs), (tg.BudgetError, tg.ModelFormatError, tg.UnsupportedOp))


def int64(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def scalar(number: int) -> Any:
    return np.array(number, np.int64)


HUGE: dict[str, list[onnx.NodeProto]] = {
    "ConstantOfShape": [node("ConstantOfShape", "sizes", "y")],
    "Expand": [node("Expand", "one sizes", "y")],
    "Tile": [node("Tile", "square sizes", "y")],
    "Pad": [node("Pad", "square pads", "y")],
    "Pad of edges": [node("Pad", "square pads", "y", mode="edge")],
    "Resize": [node("Resize", "square - - sizes", "y")],
    "Resize by scales": [node("Resize", "square - scales", "y", mode="cubic")],
    "Range": [node("Range", "zero count step", "y")],
    "OneHot": [node("OneHot", "at count values", "y")],
    "EyeLike": [node("ConstantOfShape", "sizes", "a"), node("EyeLike", "a", "y")],
    "Gather": [node("ConstantOfShape", "sizes", "a"), node("Gather", "a at", "y")],
    "Concat": [node("ConstantOfShape", "half", "a"), node("Concat", " ".join(["a"] * 3000), "y", axis=0)],
    "ScatterND": [node("ConstantOfShape", "sizes", "a"), node("ScatterND", "a at2 ones", "y")],
    "Einsum": [node("Einsum", "row row row row", "y", equation="a,b,c,d->abcd")],
    "MatMul": [node("ConstantOfShape", "tall", "a"), node("ConstantOfShape", "wide", "b"), node("MatMul", "a b", "y")],
    "Add": [node("ConstantOfShape", "tall", "a"), node("ConstantOfShape", "wide", "b"), node("Add", "a b", "y")],
    "HannWindow": [node("HannWindow", "count", "y")],
}

# What is asked for here is little, but a kernel that takes it by the word needs much.
ODD: dict[str, Callable[[int], onnx.ModelProto]] = {
    "Resize of one row": lambda n: asking(
        [node("Expand", "one long", "a"), node("Resize", "a - - two", "y", mode="linear", antialias=1)], n
    ),
    "ConvTranspose": lambda n: asking([node("ConvTranspose", "image kernel", "y", strides=[n, n])], 4),
    "MaxPool": lambda n: asking([node("MaxPool", "image", "y", kernel_shape=[n, 1], pads=[n, 0, n, 0])], 4),
    "AveragePool": lambda n: asking(
        [node("AveragePool", "image", "y", kernel_shape=[n, 1], pads=[n // 2, 0, n // 2, 0])], 4
    ),
    "Conv": lambda n: asking([node("Conv", "image kernel", "y", pads=[n, 0, n, 0])], 4),
    "Conv with holes": lambda n: asking([node("Conv", "image kernel", "y", dilations=[n, 1], pads=[n, 0, n, 0])], 4),
    "LRN": lambda n: asking([node("LRN", "image", "y", size=n)], 4),
    "SpaceToDepth": lambda n: asking([node("SpaceToDepth", "image", "y", blocksize=n)], 4),
    "ConvTranspose along one axis": lambda n: asking([node("ConvTranspose", "image kernel", "y", strides=[1, n])], 4),
    "Resize along one axis": lambda n: asking([node("Resize", "one - wide_scales", "y", mode="linear")], n),
    "Pad over and over": lambda n: asking([node("Pad", "one behind", "y", mode="wrap")], n),
    "GridSample": lambda n: asking([node("ConstantOfShape", "grid", "a"), node("GridSample", "image a", "y")], 4),
}


def asking(nodes: list[onnx.NodeProto], size: int, outputs: Any = None) -> onnx.ModelProto:
    """A file whose constants are `size`, or are made of it."""
    weights = {
        "sizes": int64(size, size),
        "long": int64(1, size),
        "two": int64(1, 2),
        "half": int64(size),
        "tall": int64(size, 1),
        "wide": int64(1, size),
        "grid": int64(1, size, size, 2),
        "pads": int64(size, size, size, size),
        "scales": np.array([float(size), float(size)], np.float32),
        "wide_scales": np.array([1, size], np.float32),
        "behind": int64(0, 0, 0, size),
        "zero": scalar(0),
        "one": np.ones((1, 1), np.float32),
        "step": scalar(1),
        "count": scalar(min(size * size, 2**62)),
        "square": np.ones((2, 2), np.float32),
        "row": np.ones(2000, np.float32),
        "at": int64(0, 0, 1),
        "at2": int64(0, 0).reshape(1, 2),
        "ones": np.ones(1, np.float32),
        "values": np.array([0, 1], np.float32),
        "image": np.ones((1, 1, 2, 2), np.float32),
        "kernel": np.ones((1, 1, 2, 2), np.float32),
    }
    read = {name for n in nodes for name in n.input}
    used = {name: array for name, array in weights.items() if name in read}
    return model(nodes, {"x": [1]}, [info("y", None, 0)], used)


@pytest.mark.parametrize("size", [8192, 2**25, 2**31 - 1])
@pytest.mark.parametrize("what", HUGE)
def test_a_small_file_that_asks_for_much_is_refused(what: str, size: int) -> None:
    proto = asking(HUGE[what], size)
    assert len(proto.SerializeToString()) < 10_000
    refused(proto, x=np.zeros(1, np.float32))


@pytest.mark.parametrize("what", HUGE)
def test_petabytes_are_refused_by_default(what: str) -> None:
    refused(asking(HUGE[what], 2**31 - 1), tg.Budget(), x=np.zeros(1, np.float32))


@pytest.mark.parametrize("size", [2**20 + 1, 2**40 + 1])
@pytest.mark.parametrize("what", ODD)
def test_odd_attributes_cost_no_more_than_their_results(what: str, size: int) -> None:
    through(ODD[what](size), x=np.zeros(1, np.float32))


MANY = 200_000
IMAGES = [MANY, 1, 2, 2]

# Arrays of a few megabytes that a kernel takes in many small turns.
TURNS: dict[str, tuple[onnx.NodeProto, dict[str, list[int]]]] = {
    "RNN": (node("RNN", "x w r", "y", hidden_size=1), {"x": [MANY, 1, 1], "w": [1, 1, 1], "r": [1, 1, 1]}),
    "LSTM": (node("LSTM", "x w r", "y", hidden_size=1), {"x": [MANY, 1, 1], "w": [1, 4, 1], "r": [1, 4, 1]}),
    "GridSample": (node("GridSample", "x grid", "y"), {"x": IMAGES, "grid": [MANY, 1, 1, 2]}),
    "DeformConv": (
        node("DeformConv", "x w offset", "y"),
        {"x": [MANY, 1, 1, 1], "w": [1, 1, 1, 1], "offset": [MANY, 2, 1, 1]},
    ),
    "RoiAlign": (
        node("RoiAlign", "x rois at", "y", output_height=1, output_width=1, sampling_ratio=1),
        {"x": [1, 1, 2, 2], "rois": [MANY, 4]},
    ),
    "LRN": (node("LRN", "x", "y", size=3), {"x": IMAGES}),
    "MaxPool": (node("MaxPool", "x", "y", kernel_shape=[2]), {"x": [1, 1, MANY]}),
    "AveragePool": (node("AveragePool", "x", "y", kernel_shape=[2]), {"x": [1, 1, MANY]}),
}


@pytest.mark.parametrize("what", TURNS)
def test_many_small_turns_are_work(what: str) -> None:
    made, shapes = TURNS[what]
    weights = {"at": np.zeros(MANY, np.int64)} if what == "RoiAlign" else {}
    refused(model([made], shapes, {"y": None}, weights), **{n: np.zeros(s, np.float32) for n, s in shapes.items()})


# An input that is declared as long as this, of which a reader makes an array.
ENDLESS = 2**40
LONG: dict[str, tuple[onnx.NodeProto, dict[str, list[int]]]] = {
    "QuantizeLinear": (node("QuantizeLinear", "x a", "y", axis=0), {"x": [ENDLESS], "a": [ENDLESS]}),
    "DequantizeLinear": (node("DequantizeLinear", "x a", "y", axis=0), {"x": [ENDLESS], "a": [ENDLESS]}),
    "LayerNormalization": (node("LayerNormalization", "x a", "y"), {"x": [2, ENDLESS], "a": [2, ENDLESS]}),
    "RMSNormalization": (node("RMSNormalization", "x a", "y"), {"x": [2, ENDLESS], "a": [2, ENDLESS]}),
    "TensorScatter": (
        node("TensorScatter", "x a at", "y", axis=1),
        {"x": [1, ENDLESS, 1], "a": [1, ENDLESS, 1]},
    ),
}


@pytest.mark.parametrize("what", LONG)
def test_an_input_that_no_machine_holds_makes_no_array(what: str) -> None:
    made, shapes = LONG[what]
    inputs = [info(name, shape) for name, shape in shapes.items()]
    if what == "DequantizeLinear":
        inputs[0] = info("x", shapes["x"], onnx.TensorProto.INT32)
    weights = {"at": int64(0)} if what == "TensorScatter" else {}
    refused(model([made], inputs, {"y": None}, weights, opset=24))


def test_a_list_of_sizes_that_no_node_can_mean_is_refused() -> None:
    ends = [info(name, [ENDLESS], onnx.TensorProto.INT64) for name in ("first", "last")]
    refused(model([node("Slice", "x first last", "y")], [info("x", [2]), *ends], {"y": None}))
    zeros = node("ConstantOfShape", "count", "sizes", value=onnx.numpy_helper.from_array(np.zeros(1, np.int64)))
    weights = {"count": int64(2**20)}
    refused(model([zeros, node("Reshape", "x sizes", "y")], {"x": [1]}, {"y": None}, weights))


def test_what_a_huge_matrix_would_cost_is_told_at_once() -> None:
    graph = tg.load(model([node("Det", "x", "y")], {"x": [ENDLESS, ENDLESS]}, {"y": None}).SerializeToString())
    with frugal():
        assert tg.analyze(graph).totals.flops > ENDLESS**3 // 2
