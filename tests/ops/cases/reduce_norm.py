"""Rows of ops/reduce_norm.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.cases.reduce import reducing, rows, total
from tests.ops.harness import Case, N, distinct, fixed, integers, plain, real, sqrt, where
from tinygraph.ops.reduce_norm import L1Norm, L2Norm, SumOfSquares


def magnitudes(numbers: list[Any]) -> Any:
    return total([where(plain(x) > 0, x, -plain(x)) for x in numbers])


def squares(numbers: list[Any]) -> Any:
    return total([x * x for x in numbers])


def root(numbers: list[Any]) -> Any:
    return sqrt(squares(numbers))


def whole_root(numbers: list[Any]) -> Any:
    return int(root(numbers))


CASES = [
    *rows(L1Norm, magnitudes, distinct),
    *rows(SumOfSquares, squares, real),
    *rows(L2Norm, root, real),
    Case(L1Norm((1,)), [real(N, 0)], reducing(total), "of no numbers"),
    Case(L2Norm((1,)), [real(N, 0)], reducing(total), "of no numbers", smooth=False),
    Case(SumOfSquares((1,)), [integers(N, 5)], reducing(squares), "integers"),
    Case(L2Norm((1,)), [integers(N, 5)], reducing(whole_root), "integers"),
    Case(L2Norm((1,)), [fixed(np.zeros((2, 3)))], reducing(root), "zeros", smooth=False),
]
