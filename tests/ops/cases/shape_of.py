"""Rows of ops/shape_of.py."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, real
from tinygraph.ops.shape_of import ShapeOf


def shape_of(op: ShapeOf, x: Array) -> Array:
    return np.array([x.shape[axis] for axis in range(op.start, op.stop)], np.int64)


CASES = [
    Case(ShapeOf(0, 3), [real(N, 3, 2)], shape_of, "all", smooth=False),
    Case(ShapeOf(1, 2), [real(N, 3, 2)], shape_of, "one", smooth=False),
    Case(ShapeOf(1, 1), [real(N, 3)], shape_of, "none", smooth=False),
]
