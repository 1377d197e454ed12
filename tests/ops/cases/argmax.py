"""Rows of ops/argmax.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Array, Case, N, fixed, integers, plain, real
from tinygraph.ops.argmax import Argmax, Argmin


def place(op: Argmax | Argmin, x: Array) -> Array:
    shape = tuple(1 if axis == op.axis else d for axis, d in enumerate(x.shape))
    places = np.zeros(shape, np.int64)
    for i in np.ndindex(shape):
        line = [x[(*i[: op.axis], k, *i[op.axis + 1 :])] for k in range(x.shape[op.axis])]
        order = range(len(line))[::-1] if op.last else range(len(line))
        best = order[0]
        for k in order[1:]:
            better = line[k] > line[best] if isinstance(op, Argmax) else line[k] < line[best]
            if not np.isnan(plain(line[best])) and (better or np.isnan(plain(line[k]))):
                best = k
        places[i] = best
    return places if op.keepdims else places.reshape([d for axis, d in enumerate(shape) if axis != op.axis])


SPECIAL = fixed(
    [
        [1.0, 3.0, 3.0, 2.0],
        [1.0, np.nan, 5.0, np.nan],
        [-np.inf, -np.inf, -np.inf, -np.inf],
        [0.0, np.inf, np.nan, np.inf],
        [-0.0, 0.0, -1.0, 0.0],
    ]
)


def rows(op: Any) -> list[Case]:
    return [
        Case(op(1), [real(N, 5)], place),
        Case(op(0), [real(N, 3)], place, "over the batch"),
        Case(op(0), [real(4)], place, "one line"),
        Case(op(2, keepdims=True), [real(2, 3, 4)], place, "keepdims"),
        Case(op(1), [real(N, 4, 2, 3)], place, "channels"),
        Case(op(1), [real(N, 1)], place, "of one"),
        Case(op(1), [real(0, 3)], place, "empty result"),
        Case(op(1), [SPECIAL], place, "ties and NaN"),
        Case(op(1), [integers(N, 6, low=0, high=2)], place, "integers"),
        Case(op(1, last=True), [integers(N, 6, low=0, high=2)], place, "last"),
        Case(op(0, keepdims=True, last=True), [integers(N, 3, low=0, high=1)], place, "last over the batch"),
    ]


CASES = [*rows(Argmax), *rows(Argmin)]
