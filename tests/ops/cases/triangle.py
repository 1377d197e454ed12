"""Rows of ops/triangle.py."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, booleans, fixed, real
from tinygraph.ops.triangle import Triangle


def triangle(op: Triangle, x: Array) -> Array:
    y = np.zeros(x.shape, x.dtype)
    for *stack, i, j in np.ndindex(x.shape):
        inside = j - i >= op.diagonal if op.upper else j - i <= op.diagonal
        if inside:
            y[(*stack, i, j)] = x[(*stack, i, j)]
    return y


SPECIAL = fixed([[1.0, np.nan], [np.inf, -np.inf]])

CASES = [
    Case(Triangle(), [real(3, 3)], triangle),
    Case(Triangle(upper=False), [real(N, 3, 4)], triangle, "lower"),
    Case(Triangle(diagonal=1), [real(N, 2, 4, 3)], triangle, "above"),
    Case(Triangle(upper=False, diagonal=-2), [real(4, 3)], triangle, "below"),
    Case(Triangle(diagonal=-9), [real(2, 3)], triangle, "everything"),
    Case(Triangle(diagonal=9), [real(2, 3)], triangle, "nothing"),
    Case(Triangle(), [real(2, 0, 3)], triangle, "empty"),
    Case(Triangle(), [booleans(3, 3)], triangle, "booleans"),
    Case(Triangle(), [SPECIAL], triangle, "special", smooth=False),
]
