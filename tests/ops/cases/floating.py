"""Rows of ops/floating.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.ops.harness import Case, N, each, fixed, real, where
from tinygraph.ops.floating import IsInf, IsNaN

SPECIAL = fixed([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e-30])


@each
def is_nan(op: IsNaN, x: Any) -> Any:
    return x != x  # NaN is the number that is not itself


@each
def is_inf(op: IsInf, x: Any) -> Any:
    number = float(x)
    return bool(where(math.isinf(number) and (op.positive if number > 0 else op.negative), x, 0))


CASES = [
    row
    for op, naive, label in (
        (IsNaN(), is_nan, ""),
        (IsInf(), is_inf, "either"),
        (IsInf(negative=False), is_inf, "positive"),
        (IsInf(positive=False), is_inf, "negative"),
        (IsInf(False, False), is_inf, "none"),
    )
    for row in (
        Case(op, [SPECIAL], naive, f"{label} special".strip()),
        Case(op, [real(N, 3)], naive, label),
        Case(op, [real()], naive, f"{label} 0-d".strip()),
        Case(op, [real(N, 0)], naive, f"{label} empty".strip()),
    )
]
