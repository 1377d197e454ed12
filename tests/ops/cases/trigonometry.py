"""Rows of ops/trigonometry.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.ops.counted import trigonometric
from tests.ops.harness import Case, Input, N, each, fixed, real
from tinygraph.ops.trigonometry import Acos, Acosh, Asin, Asinh, Atan, Atanh, Cos, Cosh, Sin, Sinh, Tan

SPECIAL = fixed([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30, 1.0, -1.0, 2.0])


def inside(*shape: Any) -> Input:
    """Numbers between -0.9 and 0.9."""
    return Input(shape, lambda rng, dims: rng.uniform(-0.9, 0.9, dims))


def above(*shape: Any) -> Input:
    """Numbers between 1.5 and 4."""
    return Input(shape, lambda rng, dims: rng.uniform(1.5, 4, dims))


def naive(of: Any) -> Any:
    """The naive function, by the formula given; NaN where it has no real result."""

    def scalar(x: float) -> float:
        try:
            return float(of(x))
        except (ValueError, ZeroDivisionError):
            return math.nan

    return each(lambda op, x: trigonometric(x, scalar))


def atanh(x: float) -> float:
    return math.copysign(math.inf, x) if abs(x) == 1 else math.atanh(x)


FUNCTIONS = [
    (Sin(), math.sin, real),
    (Cos(), math.cos, real),
    (Tan(), math.tan, inside),
    (Asin(), math.asin, inside),
    (Acos(), math.acos, inside),
    (Atan(), math.atan, real),
    (Sinh(), math.sinh, real),
    (Cosh(), math.cosh, real),
    (Asinh(), math.asinh, real),
    (Acosh(), math.acosh, above),
    (Atanh(), atanh, inside),
]

CASES = [
    row
    for op, of, numbers in FUNCTIONS
    for row in (
        Case(op, [numbers(N, 3, 4)], naive(of)),
        Case(op, [numbers()], naive(of), "0-d"),
        Case(op, [numbers(N, 0)], naive(of), "empty"),
        Case(op, [SPECIAL], naive(of), "special", smooth=False),
    )
]
