"""Rows of ops/count.py."""

from __future__ import annotations

from math import prod

import numpy as np

from tests.ops.harness import Array, Case, N, plain, real
from tinygraph.ops.count import Count


def count(op: Count, x: Array) -> Array:
    number = plain(x.flat[0]) * 0 + prod(x.shape[axis] for axis in op.axes)
    return np.array(number)


CASES = [
    Case(Count((0, 2)), [real(N, 3, 4)], count),
    Case(Count(()), [real(N, 3)], count, "of no axes"),
    Case(Count((0,)), [real(5)], count, "all"),
]
