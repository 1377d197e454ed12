"""Rows of ops/logic.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Case, Input, N, each, fixed
from tinygraph.ops.logic import And, Not, Or, Xor

TABLE = [fixed([False, False, True, True]), fixed([False, True, False, True])]


def truths(*shape: Any) -> Input:
    """True and False, as numbers whose comparisons count."""
    return Input(shape, lambda rng, dims: rng.random(dims) < 0.5)


FUNCTIONS = [
    (And(), {(True, True)}),
    (Or(), {(False, True), (True, False), (True, True)}),
    (Xor(), {(False, True), (True, False)}),
]


def member(holds: set[tuple[bool, bool]]) -> Any:
    """The naive function: whether the pair is one of those; one operation is counted."""
    return each(lambda op, a, b: (a == a) and (bool(a), bool(b)) in holds)


CASES = [
    *(
        row
        for op, holds in FUNCTIONS
        for row in (
            Case(op, [truths(N, 3, 4), truths(N, 3, 4)], member(holds)),
            Case(op, [truths(4), truths(N, 3, 1)], member(holds), "broadcast"),
            Case(op, [truths(), truths()], member(holds), "0-d"),
            Case(op, [truths(N, 0), truths(1)], member(holds), "empty"),
            Case(op, TABLE, member(holds), "table"),
        )
    ),
    Case(Not(), [truths(N, 3)], each(lambda op, x: x == np.False_)),
    Case(Not(), [truths()], each(lambda op, x: x == np.False_), "0-d"),
]
