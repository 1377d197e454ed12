"""Rows of ops/quantized_matmul.py: products of small whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.cases.quantize import point, saturated, whole, widened
from tests.ops.harness import Array, Case, Input, N, fixed, plain
from tinygraph.ops.quantized_matmul import MatMulInteger, QLinearMatMul


def distances(x: Array, zero: Array) -> Array:
    """Each element less its zero point."""
    y = np.empty(x.shape, object)
    zeros = np.broadcast_to(zero, x.shape)
    for i in np.ndindex(x.shape):
        y[i] = widened(x[i]) - widened(zeros[i])
    return y


def products(a: Array, b: Array) -> Array:
    """The exact matrix products, [..., m, n]."""
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (np.broadcast_to(x, stack + x.shape[-2:]) for x in (a, b))
    y = np.empty((*stack, a.shape[-2], b.shape[-1]), object)
    for *at, row, column in np.ndindex(y.shape):
        total = 0
        for k in range(a.shape[-1]):
            total = total + a[(*at, row, k)] * b[(*at, k, column)]
        y[(*at, row, column)] = total
    return y


def matmul_integer(op: MatMulInteger, a: Array, b: Array, a_zero: Array, b_zero: Array) -> Array:
    return int32(products(distances(a, rows(a_zero)), distances(b, b_zero)))


def rows(v: Array) -> Array:
    return v[:, None] if v.ndim == 1 else v


def int32(y: Array) -> Array:
    """Whole numbers, no longer counted, as int32."""
    return np.vectorize(plain, otypes=[np.int32])(y)


def factors(a_scale: Array, b_scale: Array, y_scale: Array) -> Array:
    """What each exact product is multiplied by; made once, so not counted."""
    a, b, y = (
        np.vectorize(lambda s: np.float32(plain(s)), otypes=[np.float32])(v) for v in (a_scale, b_scale, y_scale)
    )
    return a * b / y


def qlinear(dtype: Any) -> Any:
    def naive(op: QLinearMatMul, *inputs: Array) -> Array:
        a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = inputs
        exact = products(distances(a, rows(a_zero)), distances(b, b_zero))
        factor = np.broadcast_to(factors(rows(a_scale), b_scale, rows(y_scale)), exact.shape)
        zeros = np.broadcast_to(rows(y_zero), exact.shape)
        y = np.empty(exact.shape, y_zero.dtype)
        for i in np.ndindex(y.shape):
            y[i] = saturated(exact[i] * factor[i], zeros[i], dtype)
        return y

    return naive


def scale(*numbers: float, shape: Any = ()) -> Input:
    """Scales that float32 holds."""
    return fixed(np.array(numbers, np.float32).astype(np.float64).reshape(shape))


def bytes_of(*shape: Any) -> Input:
    return whole(np.uint8, *shape, low=0, high=255)


def signed(*shape: Any) -> Input:
    return whole(np.int8, *shape, low=-128, high=127)


A8 = (scale(0.02), point(np.uint8, 128))
B8 = (scale(0.03), point(np.uint8, 100))
Y8 = (scale(0.5), point(np.uint8, 130))
A_SIGNED = (scale(0.02), point(np.int8, -3))
B_SIGNED = (scale(0.03), point(np.int8, 5))
Y_SIGNED = (scale(0.2), point(np.int8, 1))
A_ROWS = (scale(0.02, 0.5, shape=2), point(np.uint8, 128, 3))
B_COLUMNS = (scale(0.03, 1, 0.1, shape=3), point(np.int8, 5, -7, 0))
Y_ROWS = (scale(0.2, 0.7, shape=2), point(np.int8, 1, -9))
STACKED = (scale(*0.1 * np.arange(1, 5), shape=(2, 2, 1)), whole(np.int8, 2, 2, 1))

# onnx.reference takes a vector that belongs to rows for one of columns.
CASES = [
    Case(
        MatMulInteger(),
        [bytes_of(N, 4), bytes_of(4, 3), point(np.uint8, 0), point(np.uint8, 0)],
        matmul_integer,
        "bytes",
    ),
    Case(
        MatMulInteger(),
        [bytes_of(N, 2, 4), signed(4, 3), point(np.uint8, 99), point(np.int8, -7)],
        matmul_integer,
        "stack",
    ),
    Case(
        MatMulInteger(),
        [signed(2, 4), bytes_of(4, 3), point(np.int8, 3, -128), point(np.uint8, 0, 255, 128)],
        matmul_integer,
        "rows and columns",
        reference=False,
    ),
    Case(QLinearMatMul(), [bytes_of(N, 4), *A8, bytes_of(4, 3), *B8, *Y8], qlinear(np.uint8), "bytes"),
    Case(
        QLinearMatMul(),
        [signed(N, 2, 4), *A_SIGNED, signed(4, 3), *B_SIGNED, *Y_SIGNED],
        qlinear(np.int8),
        "stack",
    ),
    Case(
        QLinearMatMul(),
        [bytes_of(2, 4), *A_ROWS, signed(4, 3), *B_COLUMNS, *Y_ROWS],
        qlinear(np.int8),
        "rows and columns",
        reference=False,
    ),
    Case(
        QLinearMatMul(),
        [signed(2, 2, 4), *STACKED, signed(4, 3), *B_COLUMNS, *STACKED],
        qlinear(np.int8),
        "rows of a stack",
        reference=False,
    ),
]
