"""Rows of ops/quantize.py: real numbers as whole numbers, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.ops.counted import Counted
from tests.ops.harness import Array, Case, Dim, Input, N, fixed, maximum, minimum, positive, real
from tinygraph.ops.quantize import Dequantize, Linear, Quantize


def whole(dtype: Any, *shape: Dim, low: int = -5, high: int = 5) -> Input:
    """Whole numbers of that dtype from low to high."""
    return Input(shape, lambda rng, dims: rng.integers(low, high, dims, endpoint=True).astype(dtype))


def rint(x: Any) -> Any:
    """The nearest whole number, the even one of two: 1 operation."""
    return x.function(np.rint, 1) if isinstance(x, Counted) else np.rint(x)


def widened(x: Any) -> Any:
    """A whole number that does not overflow."""
    return x.function(int, 0) if isinstance(x, Counted) else int(x)


def saturated(x: Any, zero: Any, dtype: Any) -> Any:
    """round(x) + zero, within the range of the dtype."""
    limits = np.iinfo(dtype)
    return minimum(maximum(rint(x) + zero, limits.min), limits.max)


def place(op: Linear, v: Array, i: tuple[int, ...]) -> Any:
    """The scale or zero point of element i."""
    if v.ndim == 1:
        return v[i[op.axis]]
    return v[i] if v.ndim else v[()]


def quantize(dtype: Any) -> Callable[..., Array]:
    def naive(op: Quantize, x: Array, scale: Array, zero: Array) -> Array:
        y = np.empty(x.shape, zero.dtype)
        for i in np.ndindex(x.shape):
            y[i] = saturated(x[i] / place(op, scale, i), place(op, zero, i), dtype)
        return y

    return naive


def dequantize(op: Dequantize, x: Array, scale: Array, zero: Array) -> Array:
    y = np.empty(x.shape, scale.dtype)
    for i in np.ndindex(x.shape):
        y[i] = (widened(x[i]) - widened(place(op, zero, i))) * place(op, scale, i)
    return y


TIES = fixed([-300.0, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 300.0])
HALF = fixed(np.array(0.25))
THIRD = fixed(np.array(1 / 3))


def point(dtype: Any, *numbers: int) -> Input:
    """Zero points."""
    return fixed(np.array(numbers if len(numbers) > 1 else numbers[0], dtype))


CASES = [
    Case(Quantize(), [real(N, 3, 2), HALF, point(np.uint8, 128)], quantize(np.uint8), "tensor"),
    Case(Quantize(), [real(N, 3), HALF, point(np.int8, -3)], quantize(np.int8), "signed"),
    Case(Quantize(), [TIES, fixed(np.array(1.0)), point(np.int8, 0)], quantize(np.int8), "ties and saturation"),
    Case(Quantize(1), [real(N, 3, 2), positive(3), point(np.uint8, 0, 7, 255)], quantize(np.uint8), "channels"),
    Case(Quantize(2), [real(2, 2, 3), positive(3), point(np.int8, 0, 7, -128)], quantize(np.int8), "last axis"),
    Case(Quantize(0), [real(3), positive(3), point(np.int8, 0, 7, -128)], quantize(np.int8), "vector"),
    Case(Quantize(1), [real(N, 3, 2), positive(3), point(np.int16, 0, 7, -999)], quantize(np.int16), "16 bits"),
    Case(
        Quantize(),
        [real(2, 3), positive(2, 3), whole(np.uint16, 2, 3, low=0, high=65535)],
        quantize(np.uint16),
        "each element",
    ),
    Case(
        Quantize(),
        [whole(np.int32, N, 3, low=-1000, high=1000), HALF, point(np.int8, 3)],
        quantize(np.int8),
        "whole numbers",
    ),
    Case(Dequantize(), [whole(np.uint8, N, 3, low=0, high=255), THIRD, point(np.uint8, 128)], dequantize, "tensor"),
    Case(Dequantize(), [whole(np.int8, N, 3, low=-128, high=127), THIRD, point(np.int8, 127)], dequantize, "signed"),
    Case(
        Dequantize(1),
        [whole(np.uint8, N, 3, 2, low=0, high=255), positive(3), point(np.uint8, 0, 7, 255)],
        dequantize,
        "channels",
    ),
    Case(
        Dequantize(1),
        [whole(np.int16, N, 3, 2, low=-999, high=999), positive(3), point(np.int16, 0, 7, 255)],
        dequantize,
        "16 bits",
    ),
    Case(Dequantize(0), [whole(np.int32, 3), positive(3), point(np.int32, 0, 0, 0)], dequantize, "32 bits"),
    Case(
        Dequantize(),
        [whole(np.int8, 2, 3), positive(2, 3), whole(np.int8, 2, 3)],
        dequantize,
        "each element",
    ),
]
