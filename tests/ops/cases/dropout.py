"""Rows of ops/dropout.py."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, key, real
from tinygraph.ops.dropout import Dropout


def dropout(op: Dropout, x: Array, key: Array) -> Array:
    draws = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, op.stream]))
    y = np.empty(x.shape, x.dtype)
    for i in np.ndindex(x.shape):
        kept = draws.random(dtype=np.float32) >= op.p
        y[i] = x[i] * (1 / (1 - op.p) if kept else 0.0)
    return y


CASES = [
    Case(Dropout(0.5, 0), [real(N, 3, 2), key()], dropout, "half"),
    Case(Dropout(0.2, 7), [real(17), key()], dropout, "a fifth"),
    Case(Dropout(0.0, 1), [real(2, 3), key()], dropout, "none"),
    Case(Dropout(1.0, 1), [real(2, 3), key()], dropout, "all"),
]
