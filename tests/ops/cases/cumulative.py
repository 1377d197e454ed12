"""Rows of ops/cumulative.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.cases.softmax import lines
from tests.ops.harness import Array, Case, N, fixed, integers, real
from tinygraph.ops.cumulative import CumProd, CumSum, Cumulative, Recurrence


def running(op: Cumulative, x: Array) -> Array:
    y = np.empty(x.shape, x.dtype)
    for line in lines(x, op.axis):
        line = line[::-1] if op.reverse else line
        result: Any = None
        for at, i in enumerate(line):
            if op.exclusive:
                y[i] = op.ufunc.identity if result is None else result
            if at + op.exclusive < len(line):
                result = x[i] if result is None else result + x[i] if op.ufunc is np.add else result * x[i]
            if not op.exclusive:
                y[i] = result
    return y


def recurrence(op: Recurrence, a: Array, b: Array) -> Array:
    y = np.empty(b.shape, b.dtype)
    for line in lines(b, op.axis):
        line = line[::-1] if op.reverse else line
        for at, i in enumerate(line):
            y[i] = a[i] * y[line[at - 1]] + b[i] if at else b[i]
    return y


def rows(op: Any) -> list[Case]:
    return [
        Case(op(1), [real(N, 4)], running),
        Case(op(0), [real(5)], running, "one line"),
        Case(op(1, exclusive=True), [real(N, 4, 2)], running, "exclusive"),
        Case(op(2, reverse=True), [real(2, 1, 4)], running, "reverse"),
        Case(op(1, exclusive=True, reverse=True), [real(N, 4)], running, "exclusive and reverse"),
        Case(op(1, exclusive=True), [real(N, 1)], running, "exclusive of one"),
        Case(op(1, exclusive=True), [real(N, 0)], running, "of no numbers"),
        Case(op(1), [integers(N, 5)], running, "integers"),
    ]


ZEROS = fixed([[0.0, 2.0, 3.0, 0.0], [1.5, 0.0, 0.0, 2.0]])

CASES = [
    *rows(CumSum),
    *rows(CumProd),
    Case(CumSum(0), [real(N, 3)], running, "over the batch"),
    Case(CumProd(1), [ZEROS], running, "zeros"),
    Case(CumProd(1, exclusive=True, reverse=True), [ZEROS], running, "zeros reverse"),
    Case(Recurrence(1), [real(N, 4), real(N, 4)], recurrence),
    Case(Recurrence(0, reverse=True), [real(3, 2), real(3, 2)], recurrence, "reverse"),
    Case(Recurrence(1), [real(2, 0), real(2, 0)], recurrence, "of no numbers"),
]
