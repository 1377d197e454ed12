"""Rows of ops/top_k.py."""

from __future__ import annotations

import numpy as np

from tests.ops.cases.softmax import lines
from tests.ops.harness import Array, Case, N, distinct, fixed, integers
from tinygraph.ops.top_k import TopK


def top_k(op: TopK, x: Array, k: Array | None = None) -> tuple[Array, Array]:
    """Each number is put where bisection finds its place among the best, in a table of 2^m - 1 of them."""
    shape = (*x.shape[: op.axis], op.k, *x.shape[op.axis + 1 :])
    values, places = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    steps = [1 << i for i in reversed(range(op.k.bit_length()))]
    for line in lines(x, op.axis):
        worst = -np.inf if op.largest else np.inf
        best = [(worst, 0)] * ((1 << op.k.bit_length()) - 1)
        for i in line:
            at = 0
            for step in steps:
                other = best[at + step - 1][0]
                at += 0 if (x[i] > other if op.largest else x[i] < other) else step
            best = [*best[:at], (x[i], i[op.axis]), *best[at:-1]]
        for rank, (value, place) in enumerate(best[: op.k]):
            i = (*line[0][: op.axis], rank, *line[0][op.axis + 1 :])
            values[i], places[i] = value, place
    return values, places


TIES = fixed([[1.0, 3.0, 3.0, 2.0, 3.0], [0.0, -0.0, 0.0, -1.0, 5.0]])

CASES = [
    Case(TopK(3, 1), [distinct(N, 6)], top_k),
    Case(TopK(2, 1, largest=False), [distinct(N, 5, 2)], top_k, "smallest"),
    Case(TopK(1, 0), [distinct(4)], top_k, "one"),
    Case(TopK(4, 0), [distinct(4, N)], top_k, "all"),
    Case(TopK(0, 1), [distinct(N, 3)], top_k, "none"),
    Case(TopK(2, 1), [distinct(N, 3), fixed([2])], top_k, "as many as an input says"),
    Case(TopK(2, 0), [distinct(3), fixed(2)], top_k, "as many as a number says"),
    Case(TopK(4, 1), [TIES], top_k, "ties", smooth=False),
    Case(TopK(4, 1, largest=False), [TIES], top_k, "ties of the smallest", smooth=False),
    Case(TopK(3, 1), [integers(N, 7, low=0, high=3)], top_k, "integers", smooth=False),
]
