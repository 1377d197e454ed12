"""Rows of ops/activation.py."""

from __future__ import annotations

from typing import Any

from tests.ops.harness import Case, N, distinct, each, exp, fixed, maximum, minimum, where
from tinygraph.ops.activation import Elu, HardSigmoid, HardSwish, LeakyRelu, Selu

SPECIAL = fixed([0.0, -0.0, 3.0, -3.0, float("inf"), float("-inf"), float("nan"), 1000.0, -1000.0, 1e-30])

leaky_relu = each(lambda op, x: where(x > 0, x, op.slope * x))
elu = each(lambda op, x: where(x > 0, x, op.alpha * (exp(x) - 1)))
selu = each(lambda op, x: op.gamma * where(x > 0, x, op.alpha * (exp(x) - 1)))
hard_sigmoid = each(lambda op, x: minimum(maximum(x * op.alpha + op.beta, 0), 1))
hard_swish = each(lambda op, x: x * minimum(maximum(x / 6 + 0.5, 0), 1))


def rows(op: Any, naive: Any) -> list[Case]:
    """The rows that every activation has."""
    return [
        Case(op, [distinct(N, 3, 4)], naive),
        Case(op, [distinct()], naive, "0-d"),
        Case(op, [distinct(N, 0)], naive, "empty"),
        Case(op, [SPECIAL], naive, "special", smooth=False),
    ]


CASES = [
    *rows(LeakyRelu(), leaky_relu),
    Case(LeakyRelu(0.3), [distinct(5)], leaky_relu, "steep"),
    Case(LeakyRelu(-2.0), [distinct(5)], leaky_relu, "falling"),
    *rows(Elu(), elu),
    Case(Elu(0.5), [distinct(5)], elu, "half"),
    *rows(Selu(), selu),
    Case(Selu(1.5, 2.0), [distinct(5)], selu, "other constants"),
    *rows(HardSigmoid(), hard_sigmoid),
    Case(HardSigmoid(0.9, 0.2), [distinct(15)], hard_sigmoid, "steep"),
    Case(HardSigmoid(-0.7, 0.4), [distinct(15)], hard_sigmoid, "falling"),
    *rows(HardSwish(), hard_swish),
    Case(HardSwish(), [fixed([-7.0, -3.5, -2.5, 2.5, 3.5, 7.0])], hard_swish, "beyond its ends"),
]
