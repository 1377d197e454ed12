"""Rows of ops/squared_norm.py."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, fixed, real
from tinygraph.ops.squared_norm import SquaredNorm


def squared_norm(op: SquaredNorm, *xs: Array) -> Array:
    terms = [x[i] * x[i] for x in xs for i in np.ndindex(x.shape)]
    y = terms[0]
    for term in terms[1:]:
        y = y + term
    return np.array(y)


CASES = [
    Case(SquaredNorm(), [real(N, 3)], squared_norm, "one"),
    Case(SquaredNorm(), [real(4, 3), real(2), real()], squared_norm, "several"),
    Case(SquaredNorm(), [fixed([3e25, -1e25])], squared_norm, "squares too large for float32", smooth=False),
]
