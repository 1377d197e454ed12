"""Rows of ops/log_sum_exp.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.ops.cases.reduce import largest, none_of, reducing, rows, total
from tests.ops.harness import Case, exp, fixed, log, plain, real
from tinygraph.ops.log_sum_exp import LogSumExp


def log_sum_exp(numbers: list[Any]) -> Any:
    shift = largest(numbers)
    shift = shift if np.isfinite(plain(shift)) else 0.0
    return log(total([exp(x - shift) for x in numbers])) + shift


HUGE = fixed([[1e30, -1e30, 0.0], [-1e30, -1e30, -1e30], [500.0, 501.0, -500.0]])

CASES = [
    # onnx.reference makes NaN of an infinite number, and does not take a scalar
    *(replace(row, reference=row.label not in ("special", "0-d")) for row in rows(LogSumExp, log_sum_exp, real)),
    Case(LogSumExp((1,)), [HUGE], reducing(log_sum_exp), "huge", smooth=False),
    Case(LogSumExp((1,)), [real(2, 0)], none_of(-np.inf), "of no numbers", smooth=False, reference=False),
]
