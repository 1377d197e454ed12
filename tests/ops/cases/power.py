"""Rows of ops/power.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.ops.cases.arithmetic import SPECIAL
from tests.ops.harness import Case, N, distinct, each, fixed, integers, positive, real, where
from tinygraph.ops.power import Mod, Pow, Reciprocal

power = each(lambda op, a, b: a**b)
WHOLE = [fixed([2, 3, -2, -1, -1, 1, 0, 0, 7, -7]), fixed([5, 0, 3, -3, -4, -9, 2, 0, -1, -2])]


@each
def whole_power(op: Pow, a: Any, b: Any) -> Any:
    """The part of the power before the point."""
    return (a ** float(b)).function(math.trunc, 0) if hasattr(a, "function") else np.trunc(float(a) ** float(b))


@each
def mod(op: Mod, a: Any, b: Any) -> Any:
    x, y = float(a), float(b)
    if y == 0 or math.isinf(x):
        remainder = math.nan
    elif op.fmod:
        remainder = math.fmod(x, y)
    else:
        remainder = np.mod(x, y)
    return where(True, remainder, a)


CASES = [
    Case(Pow(), [positive(N, 3, 4), real(N, 3, 4)], power),
    Case(Pow(), [positive(3, 1), real(N, 1, 4)], power, "broadcast"),
    Case(Pow(), [positive(), real()], power, "0-d"),
    Case(Pow(), [positive(N, 0), real(1)], power, "empty"),
    Case(Pow(), [real(N, 5), integers(5)], power, "whole exponents"),
    Case(Pow(), [real(N, 3), fixed(np.array([2]))], power, "square"),
    Case(Pow(), [real(N, 3), fixed(np.array(3))], power, "cube"),
    Case(Pow(), WHOLE, whole_power, "integers", reference=False),  # NumPy refuses negative exponents
    Case(Pow(), [fixed([4, 9, 2]), fixed([0.5, 0.5, 3.5])], whole_power, "integers to fractions", smooth=False),
    Case(Pow(), [*SPECIAL], power, "special", smooth=False),
    Case(Mod(fmod=True), [distinct(N, 3, 4), positive(4)], mod, "towards zero"),
    Case(Mod(fmod=True), [*SPECIAL], mod, "towards zero special", smooth=False),
    Case(Mod(), [distinct(N, 9), distinct(1, 9)], mod, "downwards"),
    Case(Mod(), [fixed([7, -7, 7, -7, 6]), fixed([3, 3, -3, -3, 2])], mod, "downwards integers"),
    Case(Mod(fmod=True), [fixed([7, -7, 7, -7, 6]), fixed([3, 3, -3, -3, 2])], mod, "towards zero integers"),
    Case(Reciprocal(), [positive(N, 3, 4)], each(lambda op, x: 1 / x)),
    Case(Reciprocal(), [positive()], each(lambda op, x: 1 / x), "0-d"),
    Case(Reciprocal(), [positive(N, 0)], each(lambda op, x: 1 / x), "empty"),
    Case(Reciprocal(), [fixed([0.0, -0.0, np.inf, np.nan])], each(lambda op, x: 1 / x), "special", smooth=False),
]
