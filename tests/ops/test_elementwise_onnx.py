"""Elementwise ONNX operators in the forms that other programs write, against onnx.reference."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from tests.ops.checks import close, execute
from tests.ops.test_onnx_forms import model
from tinygraph import ops
from tinygraph.errors import ModelFormatError, UnsupportedOp

X = np.linspace(-4, 4, 24, dtype=np.float32).reshape(2, 3, 4)
HALF = X.astype(np.float16)
WHOLE = np.arange(-12, 12).reshape(2, 3, 4)


def f32(*numbers: float) -> Any:
    return np.array(numbers, np.float32)


ONE = np.float32(1)
ODD = f32(np.inf, -np.inf, np.nan, 0, 1)
FORMS = [
    ("Clip", 6, [X], {"min": -1.0, "max": 1.5}),
    ("Clip", 6, [X], {"max": 1.5}),
    ("Clip", 6, [X], {}),
    ("Clip", 11, [X, np.asarray(-ONE), np.asarray(ONE)], {}),
    ("Clip", 13, [X, None, np.asarray(ONE)], {}),
    ("Clip", 13, [X, np.asarray(ONE)], {}),
    ("Clip", 13, [X], {}),
    ("Clip", 13, [X, np.asarray(2 * ONE), np.asarray(-ONE)], {}),
    ("Clip", 13, [HALF, np.asarray(np.float16(-0.1)), None], {}),
    ("Clip", 13, [WHOLE, np.asarray(-3), np.asarray(7)], {}),
    ("Relu", 14, [WHOLE.astype(np.int8)], {}),
    ("PRelu", 16, [X, f32(0.5, -1, 2, 0)], {}),
    ("PRelu", 16, [X, f32(0.5, -1, 2).reshape(3, 1)], {}),
    ("PRelu", 16, [X, f32(0.5, -1).reshape(2, 1, 1)], {}),
    ("PRelu", 16, [X, np.asarray(ONE / 4)], {}),
    ("PRelu", 16, [X[0, 0], np.asarray(ONE / 4)], {}),
    ("PRelu", 16, [WHOLE, np.array([3])], {}),
    ("Pow", 7, [np.abs(X), f32(2.5)], {}),
    ("Pow", 12, [X, np.array([2, 3, 0, 1])], {}),
    ("Pow", 15, [WHOLE, np.asarray(2 * ONE)], {}),
    ("Pow", 15, [HALF, np.array([2], np.int32)], {}),
    ("Mod", 13, [WHOLE, np.array([3])], {}),
    ("Mod", 13, [WHOLE, np.array([-3])], {"fmod": 1}),
    ("Mod", 13, [X, f32(1.5)], {"fmod": 1}),
    ("CastLike", 15, [X, np.array([1], np.int8)], {}),
    ("CastLike", 15, [X, np.array([True])], {}),
    ("HardSigmoid", 6, [X], {}),
    ("HardSigmoid", 6, [HALF], {"alpha": 0.5, "beta": 0.25}),
    ("HardSwish", 14, [X], {}),
    ("Selu", 6, [X], {}),
    ("Selu", 6, [X], {"alpha": 1.0, "gamma": 2.0}),
    ("Celu", 12, [X], {}),
    ("Celu", 12, [X], {"alpha": 0.5}),
    ("Celu", 12, [X], {"alpha": -1.5}),
    ("Elu", 6, [X], {"alpha": 0.5}),
    ("Softsign", 1, [X], {}),
    ("ThresholdedRelu", 10, [X], {}),
    ("ThresholdedRelu", 10, [X], {"alpha": 2.0}),
    ("Shrink", 9, [X], {"lambd": 1.5, "bias": 0.5}),
    ("Shrink", 9, [X], {}),
    ("Gelu", 20, [X], {}),
    ("Gelu", 20, [X], {"approximate": "tanh"}),
    ("Mish", 18, [X], {}),
    ("Swish", 24, [X], {}),
    ("Swish", 24, [X], {"alpha": 0.5}),
    ("Erf", 13, [X], {}),
    ("Round", 11, [X], {}),
    ("Round", 11, [HALF], {}),
    ("Reciprocal", 13, [X], {}),
    ("IsInf", 10, [ODD], {"detect_negative": 0}),
    ("IsNaN", 13, [ODD], {}),
    ("And", 7, [X > 0, np.array([True, False, True, False])], {}),
    ("Or", 7, [X > 0, np.array([True, False, True, False])], {}),
    ("Xor", 7, [X > 0, np.array([True, False, True, False])], {}),
    ("BitShift", 11, [WHOLE.astype(np.uint8), np.array([3], np.uint8)], {"direction": "LEFT"}),
    ("BitwiseNot", 18, [WHOLE], {}),
    ("Atanh", 9, [X / 5], {}),
]


@pytest.mark.parametrize(
    ("op_type", "opset", "inputs", "attributes"), FORMS, ids=[f"{f[0]}-{f[1]}-{i}" for i, f in enumerate(FORMS)]
)
def test_forms(op_type: str, opset: int, inputs: list[Any], attributes: dict[str, Any]) -> None:
    since = max(opset, 7)  # an operator of an older set is that of the oldest one that is read
    file = model(op_type, inputs, since, **attributes)
    with np.errstate(all="ignore"):
        wanted = ReferenceEvaluator(onnx.load_from_string(file)).run(None, {"x0": inputs[0]})
    (found,) = execute(tg.load(file), inputs[:1])
    assert found.dtype == wanted[0].dtype
    close([found], wanted, 2e-3 if inputs[0].dtype == np.float16 else 1e-6, "tinygraph against onnx.reference")


def test_clip_with_bounds_that_stay_what_they_are_is_one_op() -> None:
    graph = tg.load(model("Clip", [X, np.asarray(0 * ONE), np.asarray(6 * ONE)], 13))
    assert [str(node.op) for node in graph.nodes] == ["clip(low=0.0, high=6.0)"]


def test_clip_with_bounds_that_are_computed() -> None:
    node = onnx.helper.make_node("Clip", ["x", "low", "high"], ["y"])
    names = [("x", (3,)), ("low", ()), ("high", ())]
    described = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in names]
    made = onnx.helper.make_graph([node], "graph", described, [onnx.ValueInfoProto(name="y")])
    opset = onnx.helper.make_opsetid("", 13)
    graph = tg.load(onnx.helper.make_model(made, opset_imports=[opset], ir_version=8).SerializeToString())
    numbers = f32(-2, np.nan, 5)
    assert execute(graph, [numbers, 2 * ONE, ONE])[0].tolist()[::2] == [1, 1]
    close(execute(graph, [numbers, -ONE, ONE]), [np.clip(numbers, -1, 1)], 0, "clip")


def test_a_slope_that_would_make_x_larger_breaks_the_rules() -> None:
    with pytest.raises(ModelFormatError, match=r"the slope \[3,1\] does not broadcast to x, f32\[4\]"):
        tg.load(model("PRelu", [X[0, 0], f32(1, 2, 3).reshape(3, 1)], 16))


def test_signed_shifts_and_bit_casts_are_not_written() -> None:
    number = tg.Spec((2,), np.int32)
    for function in (lambda x: ops.bit_shift(x, 1, "left"), lambda x: ops.bit_cast(x, np.float32)):
        with pytest.raises(UnsupportedOp, match="opset 20"):
            tg.save(tg.trace(function, number), io.BytesIO())
