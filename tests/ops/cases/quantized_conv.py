"""Rows of ops/quantized_conv.py: convolution of small whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.cases.conv import naive_conv
from tests.ops.cases.quantize import point, saturated, whole
from tests.ops.cases.quantized_matmul import bytes_of, distances, factors, int32, scale, signed
from tests.ops.harness import Array, Case, N
from tinygraph.ops.quantized_conv import ConvInteger, QLinearConv


def sums(op: Any, x: Array, x_zero: Array, w: Array, w_zero: Array, *bias: Array) -> Array:
    """The exact convolution, of whole numbers."""
    zeros = w_zero.reshape(-1, *[1] * (w.ndim - 1)) if w_zero.ndim else w_zero
    return naive_conv(op, distances(x, x_zero), distances(w, zeros), *bias)


def conv_integer(op: ConvInteger, x: Array, w: Array, x_zero: Array, w_zero: Array) -> Array:
    return int32(sums(op, x, x_zero, w, w_zero))


def qlinear(dtype: Any) -> Any:
    def naive(op: QLinearConv, *inputs: Array) -> Array:
        x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = inputs
        exact = sums(op, x, x_zero, w, w_zero, *bias)
        factor = np.broadcast_to(factors(x_scale, w_scale, y_scale), len(w))
        y = np.empty(exact.shape, y_zero.dtype)
        for i in np.ndindex(y.shape):
            y[i] = saturated(exact[i] * factor[i[1]], y_zero[()], dtype)
        return y

    return naive


ALL_AT_ONCE: dict[str, Any] = {
    "stride": (2, 1),
    "padding": ((1, 0), (2, 1)),
    "dilation": (1, 2),
    "groups": 2,
}

X8 = (scale(0.02), point(np.uint8, 130))
X_SIGNED = (scale(0.02), point(np.int8, 3))
W8 = (scale(0.03), point(np.uint8, 120))
W_SIGNED = (scale(0.03), point(np.int8, 0))
W_FILTERS = (scale(0.03, 0.5, 0.1, 0.01, shape=4), point(np.int8, 0, 3, -128, 127))
Y8 = (scale(0.3), point(np.uint8, 128))
Y_SIGNED = (scale(0.1), point(np.int8, 0))

# onnx.reference takes one zero point for all filters, and computes the bias in another precision.
CASES = [
    Case(
        ConvInteger(),
        [bytes_of(N, 2, 3, 3), bytes_of(3, 2, 2, 2), point(np.uint8, 7), point(np.uint8, 0)],
        conv_integer,
        "bytes",
    ),
    Case(
        ConvInteger(**ALL_AT_ONCE),
        [bytes_of(2, 4, 4, 4), signed(4, 2, 2, 2), point(np.uint8, 255), point(np.int8, 0, 3, -128, 127)],
        conv_integer,
        "all at once",
        reference=False,
    ),
    Case(QLinearConv(), [bytes_of(N, 2, 3, 3), *X8, bytes_of(3, 2, 2, 2), *W8, *Y8], qlinear(np.uint8), "bytes"),
    Case(
        QLinearConv(**ALL_AT_ONCE),
        [bytes_of(2, 4, 4, 4), *X8, signed(4, 2, 2, 2), *W_FILTERS, *Y_SIGNED, whole(np.int32, 4, low=-999, high=999)],
        qlinear(np.int8),
        "all at once",
        reference=False,
    ),
    Case(
        QLinearConv((2,), ((1, 1),), (1,)),
        [signed(N, 2, 5), *X_SIGNED, signed(3, 2, 3), *W_SIGNED, *Y_SIGNED, whole(np.int32, 3, low=-999, high=999)],
        qlinear(np.int8),
        "one axis",
        reference=False,
    ),
]
