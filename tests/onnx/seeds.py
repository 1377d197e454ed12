"""The models that the fuzzer starts from: those of the test suite of onnx, and some made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import onnx
from onnx import helper

import tinygraph as tg
from tests.onnx.files import info, model, node
from tests.onnx.suite import samples

_LARGEST = 40_000  # bytes of a model that is worth changing at random
_FEW = 64  # numbers of an input that are put into the file, where they can decide shapes


def suite() -> Iterator[bytes]:
    """Every small model of the suite; then again with its short inputs as weights, which may decide shapes."""
    for sample in samples():
        if sample.kind not in ("node", "simple"):
            continue
        proto, sets = sample.load()
        yield from _limited(proto)
        known = onnx.ModelProto()
        known.CopyFrom(proto)
        arrays = zip(known.graph.input, sets[0][0] if sets else [], strict=False)
        given = {
            i.name: a for i, a in arrays if isinstance(a, np.ndarray) and 0 < a.size <= _FEW and a.dtype.kind in "biuf"
        }
        chosen = {name: a for name, a in given.items() if a.dtype.kind != "f" or a.size <= 8}
        if chosen:
            kept = [i for i in known.graph.input if i.name not in chosen]
            del known.graph.input[:]
            known.graph.input.extend(kept)
            known.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in chosen.items())
            yield from _limited(known)


def _limited(proto: onnx.ModelProto) -> Iterator[bytes]:
    content = proto.SerializeToString()
    if len(content) <= _LARGEST:
        yield content


def handmade() -> Iterator[bytes]:
    """Models with what the suite seldom has."""
    for proto in (_shapes(), _control(), _functions(), _generators(), _found(), _many_types()):
        yield proto.SerializeToString()
    net = tg.nn.Sequential(
        tg.nn.Conv2d(3, 4, 3, padding=1),
        tg.nn.BatchNorm2d(4),
        tg.nn.ReLU(),
        tg.nn.MaxPool2d(2),
        tg.nn.Flatten(),
        tg.nn.Linear(64, 5),
    )
    target = BytesIO()
    tg.save(tg.trace(net, tg.Spec(("N", 3, 8, 8))), target)
    yield target.getvalue()


def _int64(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def _shapes() -> onnx.ModelProto:
    """Shape arithmetic on an open dimension."""
    return model(
        [
            node("Shape", "x", "s"),
            node("Gather", "s zero", "n", axis=0),
            node("Concat", "n minus", "target", axis=0),
            node("Reshape", "x target", "flat"),
            node("Slice", "flat one two one one", "part"),
            node("Expand", "part wide", "y"),
        ],
        {"x": ["N", 3, 4]},
        {"y": None},
        {"zero": _int64(0), "minus": _int64(-1), "one": _int64(1), "two": _int64(9), "wide": _int64(2, 1, 1)},
    )


def _control() -> onnx.ModelProto:
    """Branches and loops within each other."""
    inner = helper.make_graph([node("Mul", "x two", "b")], "inner", [], [info("b", None)])
    other = helper.make_graph([node("Neg", "x", "c")], "other", [], [info("c", None)])
    chosen = node("If", "cond", "d", then_branch=inner, else_branch=other)
    body = helper.make_graph(
        [chosen, node("Add", "state d", "next"), node("Identity", "go", "on"), node("Relu", "next", "row")],
        "body",
        [info("i", [], 7), info("go", [], 9), info("state", None)],
        [info("on", [], 9), info("next", None), info("row", None)],
        [onnx.numpy_helper.from_array(np.array(3, np.float32), "three")],
    )
    loop = node("Loop", "trips - x", "last rows", body=body)
    weights = {"cond": np.array(True), "trips": np.array(3, np.int64), "two": np.array(2, np.float32)}
    return model([loop], {"x": [2]}, {"last": None, "rows": None}, weights)


def _functions() -> onnx.ModelProto:
    """Functions that call each other, with attributes that refer to those of the call."""
    leak = node("LeakyRelu", "a", "b")
    leak.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    first = helper.make_function("own", "First", ["a"], ["b"], [leak], opsets, attributes=["slope"])
    calls = [
        helper.make_node("First", ["a"], ["m"], domain="own", slope=0.5),
        helper.make_node("First", ["m"], ["b"], domain="own"),
    ]
    second = helper.make_function("own", "Second", ["a"], ["b"], calls, opsets)
    nodes = [helper.make_node("Second", ["x"], ["t"], "call", domain="own"), node("HardSwish", "t", "y")]
    made = model(nodes, {"x": ["N", 2]}, {"y": None}, domains={"own": 1})
    made.functions.extend([first, second])
    return made


def _generators() -> onnx.ModelProto:
    """What makes large arrays of small numbers."""
    return model(
        [
            node("ConstantOfShape", "sizes", "a"),
            node("Range", "start limit delta", "b"),
            node("Expand", "b sizes", "c"),
            node("Tile", "c reps", "d"),
            node("Pad", "d pads", "e", mode="reflect"),
            node("Resize", "e - scales", "f", mode="cubic"),
            node("OneHot", "places depth values", "g"),
            node("EyeLike", "a", "h"),
            node("Einsum", "a d", "i", equation="ij,ij->i"),
            node("TopK", "c k", "j k2"),
            node("Concat", "a c", "l", axis=0),
            node("ScatterND", "x at rows", "m"),
            node("GatherND", "x at", "n"),
            node("CumSum", "x zero", "o"),
            node("Trilu", "x", "p"),
        ],
        {"x": [3, 3], "rows": [2, 3]},
        dict.fromkeys(["f", "m", "n", "o", "p"]) | {"i": None},
        {
            "sizes": _int64(2, 3),
            "start": np.array(0, np.float32),
            "limit": np.array(3, np.float32),
            "delta": np.array(1, np.float32),
            "reps": _int64(1, 1),
            "pads": _int64(1, 1, 1, 1),
            "scales": np.array([2, 1.5], np.float32),
            "places": _int64(0, 1),
            "depth": np.array(3, np.int64),
            "values": np.array([0, 1], np.float32),
            "k": _int64(1),
            "at": np.array([[0], [1]], np.int64),
            "zero": np.array(0, np.int64),
        },
    )


def _found() -> onnx.ModelProto:
    """Sizes that come out only while the model runs."""
    return model(
        [
            node("NonZero", "x", "places"),
            node("Transpose", "places", "rows", perm=[1, 0]),
            node("GatherND", "x rows", "picked"),
            node("Unique", "picked", "u - - counts", sorted=1),
            node("Greater", "u zero", "mask"),
            node("Compress", "u mask", "y", axis=0),
            node("NonMaxSuppression", "boxes scores most", "z"),
            node("Gather", "x at", "w", axis=0),
        ],
        [info("x", ["N", 3]), info("boxes", [1, 4, 4]), info("scores", [1, 2, 4]), info("at", [2], 7)],
        [info("y", None), info("z", None, 7), info("w", None)],
        {"zero": np.array(0, np.float32), "most": _int64(3)},
    )


def _many_types() -> onnx.ModelProto:
    """Casts between all element types, integer arithmetic, and divisions."""
    casts = [node("Cast", "x", f"c{to}", to=to) for to in (2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13)]
    more = [
        node("Div", "c6 c6", "d"),
        node("Mod", "c7 c7", "e"),
        node("Pow", "c7 c7", "f"),
        node("BitShift", "c13 c13", "g", direction="LEFT"),
        node("DequantizeLinear", "c2 scale c2z", "h"),
        node("MatMulInteger", "c2 c3", "i"),
        node("ReduceProd", "c12", "j", keepdims=0),
    ]
    outputs = [info(name, None, 0) for name in ("d", "e", "f", "g", "h", "i", "j", "c9", "c10", "c11")]
    weights = {"scale": np.array(0.5, np.float32), "c2z": np.array(3, np.uint8)}
    return model([*casts, *more], {"x": [2, 2]}, outputs, weights)
