"""Rows of ops/swish.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Case, N, each, exp, fixed, log, plain, real, sigmoid, tanh, where
from tinygraph.ops.swish import Mish, Swish

SPECIAL = fixed([0.0, -0.0, np.inf, np.nan, 1000.0, -1000.0, 1e-30])

swish = each(lambda op, x: x * sigmoid(x if op.alpha == 1 else op.alpha * x))


@each
def mish(op: Mish, x: Any) -> Any:
    return x * tanh(where(plain(x) > 50, x, log(exp(x) + 1)))


def rows(op: Any, naive: Any) -> list[Case]:
    """The rows that both have."""
    return [
        Case(op, [real(N, 3, 4)], naive),
        Case(op, [real()], naive, "0-d"),
        Case(op, [real(N, 0)], naive, "empty"),
        Case(op, [SPECIAL], naive, "special", smooth=False),
        Case(op, [fixed(np.linspace(-30, 60, 37))], naive, "everywhere"),
    ]


CASES = [
    *rows(Swish(), swish),
    Case(Swish(1.7), [real(N, 5)], swish, "steep"),
    Case(Swish(-0.5), [real(N, 5)], swish, "falling"),
    *rows(Mish(), mish),
]
