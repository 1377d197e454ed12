"""Rows of ops/unique.py. Their counts are known, so that results have the inferred shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Array, Case, fixed, minimum, plain, real
from tinygraph.ops.unique import Unique


def before(a: Array, b: Array) -> bool:
    """Whether slice a stands before slice b; every pair of numbers is compared."""
    pairs = [(plain(p), plain(q)) for p, q in zip(a.flat, b.flat, strict=True) if minimum(p, q) is not None]
    return next((p < q for p, q in pairs if p != q), False)


def unique(op: Unique, x: Array) -> tuple[Array, ...]:
    """Each slice is put where bisection finds its place among those before it, always in as many steps."""
    length = x.shape[op.axis]
    slices = [np.asarray(x.take(i, op.axis), x.dtype) for i in range(length)]
    steps = [1 << i for i in reversed(range(max(0, length - 1).bit_length()))]
    order: list[int] = []
    for i, one in enumerate(slices):
        at = 0
        for step in steps:
            other = min(at + step - 1, len(order) - 1)
            after = other >= 0 and not before(one, slices[order[other]]) if order else before(one, one)
            at += step if after and at + step - 1 < len(order) else 0
        order.insert(at, i)
    return gathered(op, x, slices, order)


def gathered(op: Unique, x: Array, slices: list[Any], order: list[int]) -> tuple[Array, ...]:
    """The results, of slices in rising order."""
    groups: list[list[int]] = []
    for i in order:
        if groups and list(map(plain, slices[i].flat)) == list(map(plain, slices[groups[-1][0]].flat)):
            groups[-1].append(i)
        else:
            groups.append([i])
    groups = [sorted(group) for group in groups]
    groups = groups if op.sorted else sorted(groups)
    inverse = np.empty(len(slices), np.int64)
    for number, group in enumerate(groups):
        inverse[group] = number
    places = np.array([group[0] for group in groups], np.int64)
    return x.take(places, op.axis), places, inverse, np.array([len(group) for group in groups], np.int64)


NUMBERS = fixed([2.0, 1.0, 1.0, 3.0, 4.0, 3.0])
ROWS = fixed([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 3.0, 4.0], [0.0, 9.0, 9.0]])

CASES = [
    # onnx.reference takes rows where it should take columns
    Case(
        Unique(1, 2, sorted=False),
        [fixed([[3, 1, 3], [2, 0, 2]])],
        unique,
        "columns in order of appearance",
        reference=False,
    ),
    Case(Unique(0, 4), [NUMBERS], unique),
    Case(Unique(0, 4, sorted=False), [NUMBERS], unique, "in order of appearance"),
    Case(Unique(0, 3), [ROWS], unique, "rows"),
    Case(Unique(1, 2), [fixed([[3, 1, 3], [2, 0, 2]])], unique, "columns"),
    Case(Unique(0, 1), [real(1)], unique, "one"),
    Case(Unique(0, 0), [real(0)], unique, "none"),
]
