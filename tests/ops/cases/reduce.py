"""Rows of ops/reduce.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Array, Case, N, distinct, fixed, integers, maximum, minimum, real
from tinygraph.ops.reduce import Max, Mean, Min, Sum


def reducing(finish: Any) -> Any:
    """The naive function that gathers what falls together, and calls finish(numbers) on each lot."""

    def naive(op: Any, x: Array) -> Array:
        shape = tuple(1 if axis in op.axes else d for axis, d in enumerate(x.shape))
        lots: dict[tuple[int, ...], list[Any]] = {i: [] for i in np.ndindex(shape)}
        for i in np.ndindex(x.shape):
            lots[tuple(0 if axis in op.axes else at for axis, at in enumerate(i))].append(x[i])
        y = np.array([finish(numbers) for numbers in lots.values()]).reshape(shape)
        return y if op.keepdims else y.reshape([d for axis, d in enumerate(shape) if axis not in op.axes])

    return naive


def total(numbers: list[Any]) -> Any:
    result = numbers[0] if numbers else 0.0
    for x in numbers[1:]:
        result = result + x
    return result


def average(numbers: list[Any]) -> Any:
    return total(numbers) / len(numbers)


def largest(numbers: list[Any]) -> Any:
    result = numbers[0]
    for x in numbers[1:]:
        result = maximum(result, x)
    return result


def smallest(numbers: list[Any]) -> Any:
    result = numbers[0]
    for x in numbers[1:]:
        result = minimum(result, x)
    return result


def none_of(number: Any) -> Any:
    """The naive function of one that gets no numbers and makes this of them."""

    def naive(op: Any, x: Array) -> Array:
        shape = np.sum(np.zeros(x.shape, bool), op.axes, keepdims=op.keepdims).shape
        return np.full(shape, number, None if x.dtype == object else x.dtype)

    return naive


TRUTHS = fixed([[True, False, False], [False, False, False], [True, True, True]])
SPECIAL = fixed([[1.0, np.nan, 2.0], [np.inf, 1.0, 2.0], [-np.inf, -1.0, -2.0]])


def rows(op: Any, finish: Any, numbers: Any) -> list[Case]:
    """The rows that every reduction has."""
    naive = reducing(finish)
    return [
        Case(op((1,)), [numbers(N, 3, 4)], naive),
        Case(op((0, 2), keepdims=True), [numbers(N, 3, 4)], naive, "over the batch"),
        Case(op((0,)), [numbers(N, 3)], naive, "batch only"),
        Case(op((0, 1)), [numbers(2, 3)], naive, "everything"),
        Case(op((1, 2, 3), keepdims=True), [numbers(N, 2, 2, 3)], naive, "keepdims"),
        Case(op(()), [numbers(N, 3)], naive, "nothing"),
        Case(op(()), [numbers()], naive, "0-d"),
        Case(op((1,)), [numbers(0, 3)], naive, "empty result"),
        Case(op((1,)), [SPECIAL], naive, "special", smooth=False),
    ]


CASES = [
    *rows(Sum, total, real),
    *rows(Mean, average, real),
    *rows(Max, largest, distinct),
    *rows(Min, smallest, distinct),
    Case(Sum((1,)), [real(N, 0)], reducing(total), "of no numbers"),
    Case(Sum((1,)), [integers(N, 5)], reducing(total), "integers"),
    Case(Max((1,)), [integers(N, 5)], reducing(largest), "integers"),
    Case(Min((1,)), [integers(N, 5)], reducing(smallest), "integers"),
    Case(Max((1,)), [TRUTHS], reducing(largest), "booleans"),
    Case(Min((1,)), [TRUTHS], reducing(smallest), "booleans"),
    Case(Max((1,)), [real(N, 0)], none_of(-np.inf), "of no numbers", smooth=False, reference=False),
    Case(Min((1,), keepdims=True), [real(2, 0, 3)], none_of(np.inf), "of no numbers", smooth=False, reference=False),
    Case(Max((0,)), [integers(0, 3)], none_of(-(2**63)), "of no integers", reference=False),
    Case(Min((0,)), [fixed(np.zeros((0, 3), bool), numbers=False)], none_of(True), "of no booleans", reference=False),
]
