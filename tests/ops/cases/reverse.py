"""Rows of ops/reverse.py."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, fixed, integers, labels, real
from tinygraph.ops.reverse import ReverseSequence


def reverse_sequence(op: ReverseSequence, x: Array, lengths: Array) -> Array:
    y = np.array(x)
    for i in np.ndindex(x.shape):
        time, length = i[op.time_axis], int(lengths[i[op.batch_axis]])
        if time < length:
            y[tuple(length - 1 - at if k == op.time_axis else at for k, at in enumerate(i))] = x[i]
    return y


CASES = [
    Case(ReverseSequence(), [real(4, N), labels(N, classes=5)], reverse_sequence),
    Case(ReverseSequence(1, 0), [real(N, 4, 3), labels(N, classes=5)], reverse_sequence, "batch first"),
    Case(ReverseSequence(), [integers(3, 2), fixed([0, 3], numbers=False)], reverse_sequence, "nothing and everything"),
]
