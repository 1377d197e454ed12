"""Rows of ops/rounding.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.ops.harness import Case, N, distinct, each, fixed, where
from tinygraph.ops.rounding import Ceil, Floor, Round

HALVES = fixed([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 0.49999999999999994, 2.0, -7.0])
SPECIAL = fixed([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-30, -1e-30])


def whole(of: Any) -> Any:
    """The naive function: a whole number with the sign of x; infinities and NaN are their own."""

    def scalar(op: Any, x: Any) -> Any:
        number = float(x)
        return where(True, math.copysign(of(number), number) if math.isfinite(number) else number, x)

    return each(scalar)


CASES = [
    row
    for op, naive in ((Floor(), whole(math.floor)), (Ceil(), whole(math.ceil)), (Round(), whole(round)))
    for row in (
        Case(op, [distinct(N, 3, 4)], naive),
        Case(op, [distinct()], naive, "0-d"),
        Case(op, [distinct(N, 0)], naive, "empty"),
        Case(op, [HALVES], naive, "halves", smooth=False),
        Case(op, [SPECIAL], naive, "special", smooth=False),
    )
]
