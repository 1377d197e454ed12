"""Rows of ops/barrier.py."""

from __future__ import annotations

from tests.ops.harness import Array, Case, N, integers, real
from tinygraph.ops.barrier import Barrier


def same(op: Barrier, x: Array) -> Array:
    return x


CASES = [
    Case(Barrier(), [real(N, 3)], same, "numbers"),
    Case(Barrier(), [integers(2, 2)], same, "integers"),
]
