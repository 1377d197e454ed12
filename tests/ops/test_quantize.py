"""Quantization: what is refused, ONNX's forms, exactness, and layers that are quantized against those that are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from tests.ops.checks import close, execute
from tests.ops.test_norm import with_outputs
from tests.ops.test_onnx_forms import model
from tinygraph import ops
from tinygraph.errors import ModelFormatError, ShapeError, UnsupportedOp

RNG = np.random.default_rng(0)
X = (40 * RNG.standard_normal((2, 3, 5))).astype(np.float32)
BYTES = RNG.integers(0, 255, (2, 3, 5), np.uint8, endpoint=True)
SCALE = np.array([0.5, 0.3, 2.0], np.float32)
ZERO = np.array([0, 128, 255], np.uint8)
ONE = np.array(1, np.float32)
U0, I0 = np.zeros((), np.uint8), np.zeros((), np.int8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.quantize(X, ONE, ONE), "the zero point must be of integers, got float32"),
        (lambda: ops.quantize(X, SCALE, U0), r"the scale f32\[3\] and the zero point u8\[\] must have one shape"),
        (lambda: ops.quantize(X, SCALE, ZERO, 2), "neither one number nor one for each of axis 2"),
        (lambda: ops.quantize(X, SCALE, ZERO, 3), "there is no axis 3"),
        (lambda: ops.quantize(BYTES, ONE, U0), "wants floating-point numbers or signed integers, got uint8"),
        (lambda: ops.quantize(X, U0, U0), "wants floating-point inputs"),
        (lambda: ops.dequantize(BYTES, ONE, I0), "x is uint8 and the zero point int8"),
        (lambda: ops.matmul_integer(BYTES, X[0].T, U0, U0), "b must be int8 or uint8, got float32"),
        (lambda: ops.matmul_integer(BYTES, BYTES[0].T, I0, U0), "a is uint8 and its zero point int8"),
        (lambda: ops.matmul_integer(BYTES, BYTES[0].T, ZERO, U0), r"the zero point of a is u8\[3\]; want one number"),
        (lambda: ops.matmul_integer(BYTES, BYTES[0], U0, U0), "rows of 5 meet columns of 3"),
        (lambda: ops.qlinear_matmul(BYTES, ONE, U0, BYTES[0].T, SCALE, U0, ONE, U0), "the scale of b is"),
        (lambda: ops.qlinear_matmul(BYTES, ONE, U0, BYTES[0].T, ONE, U0, ONE, np.int32(0)), "y must be int8 or uint8"),
        (lambda: ops.conv_integer(BYTES, BYTES[:, :2], U0, U0), "the weight reads 2 channels"),
        (lambda: ops.conv_integer(BYTES, BYTES, ZERO, U0), r"the zero point of x is u8\[3\]; want one number"),
        (lambda: ops.conv_integer(BYTES, BYTES, U0, ZERO), r"the zero point of the weight is u8\[3\]"),
        (lambda: ops.qlinear_conv(BYTES, ONE, U0, BYTES, SCALE[:2], U0, ONE, U0), "the scale of the weight is"),
        (lambda: ops.qlinear_conv(BYTES, SCALE, U0, BYTES, ONE, U0, ONE, U0), "wants one scale of x and of y"),
        (lambda: ops.qlinear_conv(BYTES, ONE, U0, BYTES, ONE, U0, ONE, U0, SCALE[:2]), "the bias must be int32"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call()


FORMS = [
    ("QuantizeLinear", 10, [X, ONE, U0], {}),
    ("QuantizeLinear", 10, [X, ONE], {}),
    ("QuantizeLinear", 13, [X, SCALE, ZERO], {}),
    ("QuantizeLinear", 13, [X, SCALE, ZERO], {"axis": -2}),
    ("QuantizeLinear", 19, [X, SCALE, ZERO.astype(np.int8)], {"axis": 1}),
    ("QuantizeLinear", 21, [X, SCALE, ZERO.astype(np.int16)], {"axis": 1}),
    ("QuantizeLinear", 21, [X, SCALE], {"axis": 1, "output_dtype": onnx.TensorProto.UINT16}),
    ("QuantizeLinear", 21, [X, np.abs(X[:, :, ::2]) + 1], {"axis": 2, "block_size": 2}),
    ("DequantizeLinear", 10, [BYTES, ONE, U0], {}),
    ("DequantizeLinear", 13, [BYTES, SCALE, ZERO], {}),
    ("DequantizeLinear", 13, [BYTES, SCALE], {"axis": -2}),
    ("DequantizeLinear", 13, [BYTES.astype(np.int32), ONE], {}),
    ("DequantizeLinear", 19, [BYTES, SCALE.astype(np.float16), ZERO], {}),
    ("DequantizeLinear", 21, [BYTES.astype(np.int16), SCALE, ZERO.astype(np.int16)], {}),
    ("DequantizeLinear", 21, [BYTES, np.abs(X[:, :, ::2])], {"axis": 2, "block_size": 2}),
    ("MatMulInteger", 10, [BYTES, BYTES[0].T], {}),
    ("MatMulInteger", 10, [BYTES, BYTES[0].T, np.uint8(7), ZERO], {}),
    ("ConvInteger", 10, [BYTES, BYTES], {"pads": [1, 0], "strides": [2]}),
]


@pytest.mark.parametrize(("op_type", "opset", "inputs", "attributes"), FORMS)
def test_forms_of_onnx(op_type: str, opset: int, inputs: list[Any], attributes: dict[str, Any]) -> None:
    arrays = [np.asarray(a) for a in inputs]
    newer = model(op_type, arrays, max(opset, 19), **attributes)  # older ones are not in onnx.reference
    wanted = ReferenceEvaluator(onnx.load_from_string(newer)).run(None, {"x0": inputs[0]})[0]
    (found,) = execute(tg.load(model(op_type, arrays, opset, **attributes)), inputs[:1])
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


def test_blocks_whose_last_is_cut_off() -> None:
    scale = np.abs(X[:, :, :2]) + 1  # for elements 0, 1, 2 and for 3, 4
    content = model("QuantizeLinear", [X, scale], 21, axis=2, block_size=3, output_dtype=onnx.TensorProto.INT8)
    spread = scale.repeat(3, 2)[:, :, :5]
    np.testing.assert_array_equal(execute(tg.load(content), [X])[0], np.clip(np.rint(X / spread), -128, 127))
    with pytest.raises(ModelFormatError, match="blocks of 2 along axis 2"):
        tg.load(model("QuantizeLinear", [X, scale], 21, axis=2, block_size=2))


def test_one_number_may_be_written_as_a_vector() -> None:
    for axis in ({}, {"axis": 1}):
        content = model(
            "QuantizeLinear", [X, np.array([2], np.float32), np.array([3], np.uint8)], 10 + 3 * len(axis), **axis
        )
        np.testing.assert_array_equal(execute(tg.load(content), [X])[0], np.clip(np.rint(X / 2) + 3, 0, 255))


def test_whole_numbers_are_divided_in_single_precision() -> None:
    x = np.array([2**24 + 1, -7, 5, 1], np.int32)
    content = model("QuantizeLinear", [x, np.array(2.0, np.float32), np.array(-1, np.int8)], 13)
    assert execute(tg.load(content), [x])[0].tolist() == [127, -5, 1, -1]


@pytest.mark.parametrize(
    ("x", "scale", "zero"),
    [([-1.0, 0, 1.55], 0.01, 100), ([1.0, 2.55], 0.01, 0), ([-2.55, -1], 0.01, 255), ([0.0, 0], 1, 0)],
)
def test_the_range_of_the_data_holds_0(x: list[float], scale: float, zero: int) -> None:
    data = np.array(x, np.float32)
    content = with_outputs(model("DynamicQuantizeLinear", [data], 11), "scale", "zero")
    y, found, point = execute(tg.load(content), [data])
    np.testing.assert_allclose(found, scale, rtol=1e-6)
    assert point == zero
    np.testing.assert_allclose((y.astype(int) - zero) * scale, data, atol=scale / 2)


def test_products_of_many_extreme_numbers_are_exact_and_wrap_around() -> None:
    a, b = np.full((1, 40_000), 255, np.uint8), np.full((40_000, 1), 255, np.uint8)
    assert ops.matmul_integer(a, b, U0, U0)[0, 0] == 40_000 * 255 * 255 - 2**32
    assert ops.matmul_integer(a, b[:, :1] * 0, np.uint8(255), np.uint8(255))[0, 0] == 0


def test_vectors_are_refused() -> None:
    with pytest.raises(UnsupportedOp, match="make it one with Unsqueeze"):
        tg.load(model("MatMulInteger", [BYTES, BYTES[0, 0]], 10))


def test_a_quantized_convolution_is_near_the_real_one() -> None:
    w = RNG.integers(-128, 127, (4, 3, 3), np.int8, endpoint=True)
    w_scale, bias = np.array([0.01, 0.02, 0.005, 0.01], np.float32), np.array([0, 900, -900, 5], np.int32)
    x_scale, y_scale, zeros = np.float32(0.02), np.float32(0.2), np.zeros(4, np.int8)
    real_x = ops.dequantize(BYTES, x_scale, np.uint8(128))
    real_w = ops.dequantize(w, w_scale, zeros, 0)
    wanted = ops.conv(real_x, real_w, bias.astype(np.float32) * x_scale * w_scale, padding=1)
    given = [x_scale, np.uint8(128), w, w_scale, zeros, y_scale, np.uint8(100)]
    y = ops.qlinear_conv(BYTES, *given, bias, padding=1)
    np.testing.assert_allclose(ops.dequantize(y, y_scale, np.uint8(100)), wanted, atol=0.101)
    content = model("QLinearConv", [BYTES, *map(np.asarray, given), bias], 10, pads=[1, 1])
    np.testing.assert_array_equal(execute(tg.load(content), [BYTES])[0], y)


def test_one_zero_point_for_the_scales_of_all_filters() -> None:
    given = [ONE, U0, BYTES, SCALE[:2], U0, ONE, U0]
    spread = [*given[:4], np.zeros(2, np.uint8), *given[5:]]
    (found,) = execute(tg.load(model("QLinearConv", [BYTES, *given], 10)), [BYTES])
    np.testing.assert_array_equal(found, ops.qlinear_conv(BYTES, *spread))


def test_a_quantized_network_keeps_its_open_batch_and_counts_its_macs() -> None:
    def net(x: Any) -> Any:
        q = ops.quantize(x, np.float32(0.05), np.uint8(128))
        y = ops.qlinear_conv(q, np.float32(0.05), np.uint8(128), BYTES[:, :, :3], SCALE[:2], ZERO[:2], ONE, U0)
        return ops.dequantize(y, ONE, U0)

    graph = tg.trace(net, tg.Spec(("N", 3, 5)))
    assert str(graph.outputs[0][1].type) == "f32[N,2,3]"
    assert tg.analyze(graph.bind(N=2)).totals.macs == 2 * 2 * 3 * 9
    for batch in (1, 2):
        close([tg.compile(graph)(X[:batch])], [net(X[:batch])], 1e-6, "batch")
