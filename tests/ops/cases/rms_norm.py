"""Rows of ops/rms_norm.py: normalization by the root of the mean square."""

from __future__ import annotations

import numpy as np

from tests.ops.cases.norm import average
from tests.ops.harness import Array, Case, N, real, sqrt
from tinygraph.ops.rms_norm import RmsNorm


def rms_norm(op: RmsNorm, x: Array, gamma: Array) -> Array:
    y = np.empty(x.shape, x.dtype)
    for sample in np.ndindex(x.shape[: op.axis]):
        places = list(np.ndindex(x.shape[op.axis :]))
        inverse = 1 / sqrt(average([x[sample + i] * x[sample + i] for i in places]) + op.eps)
        for i in places:
            y[sample + i] = x[sample + i] * inverse * gamma[i]
    return y


CASES = [
    Case(RmsNorm(1), [real(N, 5), real(5)], rms_norm, "vectors"),
    Case(RmsNorm(2, eps=1e-3), [real(N, 3, 4), real(4)], rms_norm, "sequences"),
    Case(RmsNorm(1), [real(N, 2, 2, 3), real(2, 2, 3)], rms_norm, "images"),
    Case(RmsNorm(0), [real(7), real(7)], rms_norm, "all"),
]
