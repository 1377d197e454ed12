"""Rows of ops/sign.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Case, N, distinct, each, fixed, integers, plain, where
from tinygraph.ops.sign import Abs, Sign

SPECIAL = fixed([0.0, -0.0, np.inf, -np.inf, np.nan, 1000.0, -1e-30])

absolute = each(lambda op, x: where(plain(x) < 0, -plain(x), x))
sign = each(lambda op, x: where(abs(plain(x)) > 0, np.copysign(1, plain(x)), x))  # 0 and NaN are their own signs


def rows(op: Any, naive: Any) -> list[Case]:
    """The rows that both have."""
    return [
        Case(op, [distinct(N, 3, 4)], naive),
        Case(op, [distinct()], naive, "0-d"),
        Case(op, [distinct(N, 0)], naive, "empty"),
        Case(op, [SPECIAL], naive, "special", smooth=False),
        Case(op, [integers(N, 3)], naive, "integers"),
        Case(op, [fixed(np.array([0, 1, 200], np.uint8))], naive, "unsigned"),
    ]


CASES = [*rows(Abs(), absolute), *rows(Sign(), sign)]
