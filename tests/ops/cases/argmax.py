"""Rows of ops/argmax.py."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, fixed, integers, plain, real
from tinygraph.ops.argmax import Argmax


def argmax(op: Argmax, x: Array) -> Array:
    shape = tuple(1 if axis == op.axis else d for axis, d in enumerate(x.shape))
    places = np.zeros(shape, np.int64)
    for i in np.ndindex(shape):
        line = [x[(*i[: op.axis], k, *i[op.axis + 1 :])] for k in range(x.shape[op.axis])]
        best = 0
        for k in range(1, len(line)):
            larger = line[k] > line[best]
            if not np.isnan(plain(line[best])) and (larger or np.isnan(plain(line[k]))):
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

CASES = [
    Case(Argmax(1), [real(N, 5)], argmax),
    Case(Argmax(0), [real(N, 3)], argmax, "over the batch"),
    Case(Argmax(0), [real(4)], argmax, "one line"),
    Case(Argmax(2, keepdims=True), [real(2, 3, 4)], argmax, "keepdims"),
    Case(Argmax(1), [real(N, 4, 2, 3)], argmax, "channels"),
    Case(Argmax(1), [real(N, 1)], argmax, "of one"),
    Case(Argmax(1), [real(0, 3)], argmax, "empty result"),
    Case(Argmax(1), [SPECIAL], argmax, "ties and NaN"),
    Case(Argmax(1), [integers(N, 6, low=0, high=2)], argmax, "integers"),
]
