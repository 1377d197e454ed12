"""Rows of ops/eye.py."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, booleans, real
from tinygraph.ops.eye import EyeLike


def eye_like(op: EyeLike, x: Array) -> Array:
    y = np.zeros(x.shape, op.dtype)
    for i, j in np.ndindex(x.shape):
        y[i, j] = j - i == op.diagonal
    return y


CASES = [
    Case(EyeLike("float64"), [real(3, 3)], eye_like),
    Case(EyeLike("int32", 1), [real(N, 4)], eye_like, "above"),
    Case(EyeLike("float32", -2), [booleans(4, 3)], eye_like, "below"),
    Case(EyeLike("bool", 7), [real(2, 0)], eye_like, "empty"),
]
