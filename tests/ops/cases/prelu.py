"""Rows of ops/prelu.py."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, distinct, fixed, real, where
from tinygraph.ops.prelu import PRelu

SPECIAL = fixed([0.0, -0.0, np.inf, -np.inf, np.nan, 1000.0, -1000.0, 1e-30])


def prelu(op: PRelu, x: Array, weight: Array) -> Array:
    y, weight = np.empty(x.shape, x.dtype), weight.ravel()
    for i in np.ndindex(x.shape):
        w = weight[i[1]] if len(weight) > 1 else weight[0]
        y[i] = where(x[i] >= 0, x[i], w * x[i])
    return y


CASES = [
    Case(PRelu(), [distinct(N, 3, 2, 2), real(3)], prelu, "channels"),
    Case(PRelu(), [distinct(N, 3, 2, 2), real(3, 1, 1)], prelu, "channels as in ONNX"),
    Case(PRelu(), [distinct(N, 3, 2), real(1)], prelu, "shared"),
    Case(PRelu(), [distinct(N, 1, 2), real(1)], prelu, "one channel"),
    Case(PRelu(), [distinct(N, 3), real(3)], prelu, "matrix"),
    Case(PRelu(), [distinct(5), real(1)], prelu, "vector"),
    Case(PRelu(), [SPECIAL, fixed([0.25])], prelu, "special", smooth=False),
    # onnx.reference multiplies 0 by the weight, too.
    Case(PRelu(), [SPECIAL, fixed([np.inf])], prelu, "infinite weight", smooth=False, reference=False),
]
