"""Rows of ops/determinant.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Array, Case, N, fixed, plain, real, where
from tinygraph.ops.determinant import Det


def eliminate(rows: list[list[Any]]) -> Any:
    """The product of the pivots; each is the number of largest magnitude in its column."""
    sign, pivots = 1.0, []
    while rows:
        best = 0
        for i in range(1, len(rows)):
            one, other = rows[i][0], rows[best][0]
            larger = abs(plain(one)) > abs(plain(other))
            best = i if where(larger, one, other) is not None and larger else best
        sign = -sign if best else sign
        rows[0], rows[best] = rows[best], rows[0]
        (pivot, *rest), rows = rows[0], rows[1:]
        pivots.append(pivot)
        factors = [row[0] / pivot for row in rows]
        rows = [[x - f * p for x, p in zip(row[1:], rest, strict=True)] for row, f in zip(rows, factors, strict=True)]
    result = pivots[0] if pivots else 1.0
    for pivot in pivots[1:]:
        result = result * pivot
    return plain(result) * sign


def det(op: Det, x: Array) -> Array:
    y = np.empty(x.shape[:-2], np.float64)
    for i in np.ndindex(y.shape):
        y[i] = eliminate([list(row) for row in x[i]])
    return y


CASES = [
    Case(Det(), [real(3, 3)], det),
    Case(Det(), [real(N, 2, 2)], det, "stack"),
    Case(Det(), [real(2, N, 5, 5)], det, "two stacks"),
    Case(Det(), [fixed([[3.0]])], det, "one"),
    Case(Det(), [real(2, 0, 0)], det, "empty", reference=False),
]
