"""Rows of ops/reduce_prod.py."""

from __future__ import annotations

from typing import Any

from tests.ops.cases.reduce import reducing, rows
from tests.ops.harness import Array, Case, N, fixed, integers, real
from tinygraph.ops.reduce_prod import Prod


def product(numbers: list[Any]) -> Any:
    result = numbers[0] if numbers else 1.0
    for x in numbers[1:]:
        result = result * x
    return result


def ones(op: Any, x: Array) -> Array:
    return reducing(product)(op, x)


ZEROS = fixed([[0.0, 2.0, 3.0], [0.0, 0.5, 0.0], [1.0, 2.0, -3.0]])

CASES = [
    *rows(Prod, product, real),
    Case(Prod((1,)), [ZEROS], reducing(product), "zeros"),
    Case(Prod((1,)), [real(N, 0)], ones, "of no numbers"),
    Case(Prod((1,)), [integers(N, 5)], reducing(product), "integers"),
]
