"""Rows of ops/gelu.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.counted import erf
from tests.ops.harness import Case, N, each, fixed, real, tanh
from tinygraph.ops.gelu import Gelu

SPECIAL = fixed([0.0, -0.0, np.inf, np.nan, 1000.0, -1000.0, 1e-30])


@each
def gelu(op: Gelu, x: Any) -> Any:
    if op.approximate == "none":
        return x * 0.5 * (1 + erf(x / np.sqrt(2)))
    return x * 0.5 * (1 + tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * (x * x * x))))


def rows(op: Gelu, label: str) -> list[Case]:
    """The rows that both forms have."""
    return [
        Case(op, [real(N, 3, 4)], gelu, label),
        Case(op, [real()], gelu, f"{label} 0-d"),
        Case(op, [real(N, 0)], gelu, f"{label} empty"),
        Case(op, [SPECIAL], gelu, f"{label} special", smooth=False),
        Case(op, [fixed(np.linspace(-9, 9, 37))], gelu, f"{label} everywhere"),
    ]


CASES = [*rows(Gelu(), "exact"), *rows(Gelu("tanh"), "by tanh")]
