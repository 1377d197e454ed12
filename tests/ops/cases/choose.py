"""Rows of ops/choose.py. Shapes of results are known, so that they are the inferred ones."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, fixed, real
from tinygraph.ops.choose import Choose


def choose(op: Choose, condition: Array, a: Array, b: Array) -> Array:
    return a if condition.reshape(-1)[0] else b


CASES = [
    Case(Choose((2, 3)), [fixed(True), real(2, 3), real(4, 3)], choose),
    Case(Choose((4, 3)), [fixed([False]), real(2, 3), real(4, 3)], choose, "the other"),
    Case(Choose(()), [fixed(False), real(), real()], choose, "0-d"),
    Case(Choose((0,)), [fixed(True), fixed(np.zeros(0, np.int64)), fixed([1, 2])], choose, "none of whole numbers"),
]
