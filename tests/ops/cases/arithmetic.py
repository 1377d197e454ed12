"""Rows of ops/arithmetic.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import (
    Case,
    Input,
    N,
    booleans,
    distinct,
    each,
    fixed,
    integers,
    maximum,
    minimum,
    positive,
    real,
    where,
)
from tinygraph.ops.arithmetic import Add, Compare, Div, Maximum, Minimum, Mul, Sub, Where

CORNERS = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]
SPECIAL = [fixed(np.repeat(CORNERS, len(CORNERS))), fixed(np.tile(CORNERS, len(CORNERS)))]

add = each(lambda op, a, b: a + b)
sub = each(lambda op, a, b: a - b)
mul = each(lambda op, a, b: a * b)
div = each(lambda op, a, b: a / b)
larger = each(lambda op, a, b: maximum(a, b))
smaller = each(lambda op, a, b: minimum(a, b))
choose = each(lambda op, condition, a, b: where(condition, a, b))


def towards_zero(op: Div, a: Any, b: Any) -> Any:
    quotients = [np.fix(a[i] / b[i]) for i in np.ndindex(a.shape)]
    return np.array(quotients).reshape(a.shape)


RELATIONS = {
    "<": lambda op, a, b: a < b,
    "<=": lambda op, a, b: a <= b,
    ">": lambda op, a, b: a > b,
    ">=": lambda op, a, b: a >= b,
    "==": lambda op, a, b: a == b,
    "!=": lambda op, a, b: a != b,
}


def apart(first: tuple[Any, ...], second: tuple[Any, ...]) -> list[Input]:
    """Two inputs of which no two numbers are close, however they are broadcast."""
    return [distinct(*first), Input(second, lambda rng, dims: distinct(*dims).draw(rng, dims) + 0.05)]


def binary() -> list[Case]:
    """The rows that every function of two tensors has."""
    rows = []
    for op, naive in [
        (Add(), add),
        (Sub(), sub),
        (Mul(), mul),
        (Div(), div),
        (Maximum(), larger),
        (Minimum(), smaller),
    ]:
        second = positive if isinstance(op, Div) else real
        rows += [
            Case(op, [real(N, 3, 4), second(N, 3, 4)], naive),
            Case(op, [real(N, 3, 4), second(3, 1)], naive, "broadcast second"),
            Case(op, [real(4), second(N, 3, 4)], naive, "broadcast first"),
            Case(op, [real(N, 1, 4), second(1, 3, 1)], naive, "broadcast both"),
            Case(op, [real(), second()], naive, "0-d"),
            Case(op, [real(N, 0), second(N, 1)], naive, "empty"),
            Case(op, [*SPECIAL], naive, "special", smooth=False),
        ]
        if not isinstance(op, Div):
            rows.append(Case(op, [integers(N, 3), integers(3)], naive, "integers"))
    return rows


def comparisons() -> list[Case]:
    """Every relation, of numbers that are often equal, and of corner cases."""
    rows = []
    for relation, holds in RELATIONS.items():
        naive = each(holds)
        rows += [
            Case(Compare(relation), [integers(N, 9, low=0, high=2), integers(9, low=0, high=2)], naive, relation),
            Case(Compare(relation), [*SPECIAL], naive, f"{relation} special"),
        ]
    rows.append(
        Case(Compare("=="), [fixed([[True, False]]), fixed([[True], [False]])], each(RELATIONS["=="]), "booleans")
    )
    return rows


CASES = [
    *binary(),
    Case(Div(), [fixed([7, -7, 7, -7, 6, -6, 0]), fixed([2, 2, -2, -2, 3, 3, 5])], towards_zero, "integers"),
    Case(Maximum(), apart((N, 3, 4), (N, 3, 4)), larger, "far apart"),
    Case(Minimum(), apart((N, 3, 1), (4,)), smaller, "far apart"),
    *comparisons(),
    Case(Where(), [booleans(N, 3, 4), real(N, 3, 4), real(N, 3, 4)], choose),
    Case(Where(), [booleans(N, 1, 4), real(3, 1), real(4)], choose, "broadcast"),
    Case(Where(), [booleans(), real(), real(N, 3)], choose, "0-d"),
    Case(Where(), [booleans(0), real(1), real(0)], choose, "empty"),
    Case(Where(), [booleans(5), integers(5), integers(1)], choose, "integers"),
]
