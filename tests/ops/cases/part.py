"""Rows of ops/part.py. Counts are known, so that results have the inferred shapes."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, fixed, real
from tinygraph.ops.part import Part


def part(op: Part, x: Array, start: Array, stop: Array) -> Array:
    first, end = (int(float(place.reshape(-1)[0])) for place in (start, stop))
    places = range(x.shape[op.axis])[first : end : op.step]
    y = np.empty((*x.shape[: op.axis], len(places), *x.shape[op.axis + 1 :]), x.dtype)
    for i in np.ndindex(y.shape):
        y[i] = x[(*i[: op.axis], places[i[op.axis]], *i[op.axis + 1 :])]
    return y


CASES = [
    Case(Part(0, 2), [real(5, 3), fixed(1), fixed(3)], part),
    Case(Part(1, 2, 2), [real(2, 4), fixed([0]), fixed([9])], part, "every second, beyond the end"),
    Case(Part(1, 3), [real(N, 4), fixed(-3), fixed(2**62)], part, "from the end"),
    Case(Part(0, 0), [fixed([1, 2, 3]), fixed(2), fixed(1)], part, "none"),
]
