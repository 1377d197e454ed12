"""Rows of ops/nonzero.py. Their counts are known, so that results have the inferred shapes."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, booleans, fixed, real
from tinygraph.ops.nonzero import Compress, CompressGrad, NonZero


def nonzero(op: NonZero, x: Array) -> Array:
    places = [i for i in np.ndindex(x.shape) if x[i] != 0]
    return np.array(places, np.int64).reshape(len(places), x.ndim).T


def compress(op: Compress, x: Array, condition: Array) -> Array:
    kept = [i for i, holds in enumerate(condition) if holds]
    y = np.empty((*x.shape[: op.axis], len(kept), *x.shape[op.axis + 1 :]), x.dtype)
    for i in np.ndindex(y.shape):
        y[i] = x[(*i[: op.axis], kept[i[op.axis]], *i[op.axis + 1 :])]
    return y


def compress_grad(op: CompressGrad, g: Array, condition: Array) -> Array:
    kept = [i for i, holds in enumerate(condition) if holds]
    x = np.zeros((*g.shape[: op.axis], op.length, *g.shape[op.axis + 1 :]), g.dtype)
    for i in np.ndindex(g.shape):
        x[(*i[: op.axis], kept[i[op.axis]], *i[op.axis + 1 :])] = g[i]
    return x


SOME = fixed([True, False, True])

CASES = [
    Case(NonZero(3), [fixed([[0.0, 2.0, 0.0], [-0.0, -1.0, np.nan]])], nonzero),
    Case(NonZero(0), [fixed(np.zeros((2, 2)))], nonzero, "none"),
    Case(NonZero(0), [real(0, 3, 2)], nonzero, "of no numbers"),
    Case(NonZero(2), [fixed([True, False, True])], nonzero, "booleans"),
    Case(NonZero(1), [fixed(3.0)], nonzero, "0-d", reference=False),
    Case(Compress(1, 2), [real(N, 3), SOME], compress),
    Case(Compress(0, 2), [real(4, N), SOME], compress, "short condition"),
    Case(Compress(0, 0), [real(2), fixed([False, False])], compress, "none"),
    Case(Compress(1, 2), [booleans(2, 3), SOME], compress, "booleans"),
    Case(CompressGrad(1, 3, 2), [real(N, 2, 2), SOME], compress_grad),
]
