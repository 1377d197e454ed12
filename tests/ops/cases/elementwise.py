"""Rows of ops/elementwise.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import (
    Array,
    Case,
    N,
    distinct,
    each,
    exp,
    fixed,
    integers,
    log,
    maximum,
    plain,
    positive,
    real,
    sigmoid,
    sqrt,
    tanh,
    where,
)
from tinygraph.ops.elementwise import Cast, Exp, Log, Neg, Relu, Sigmoid, Softplus, Sqrt, Tanh

SPECIAL = fixed([0.0, -0.0, np.inf, -np.inf, np.nan, 1000.0, -1000.0, 1e-30])

relu = each(lambda op, x: maximum(x, 0))
softplus = each(lambda op, x: where(plain(x) > 50, x, log(exp(x) + 1)))


def cast(op: Cast, x: Array) -> Array:
    return np.array([np.dtype(op.dtype).type(plain(x[i])) for i in np.ndindex(x.shape)]).reshape(x.shape)


def functions() -> list[Case]:
    """The rows that every function of one tensor has."""
    rows: list[Case] = []
    ops: list[tuple[Any, Any, Any]] = [
        (Relu(), relu, distinct),
        (Sigmoid(), each(lambda op, x: sigmoid(x)), real),
        (Softplus(), softplus, real),
        (Tanh(), each(lambda op, x: tanh(x)), real),
        (Exp(), each(lambda op, x: exp(x)), real),
        (Log(), each(lambda op, x: log(x)), positive),
        (Sqrt(), each(lambda op, x: sqrt(x)), positive),
        (Neg(), each(lambda op, x: -x), real),
    ]
    for op, naive, numbers in ops:
        rows += [
            Case(op, [numbers(N, 3, 4)], naive),
            Case(op, [numbers()], naive, "0-d"),
            Case(op, [numbers(N, 0)], naive, "empty"),
            Case(op, [SPECIAL], naive, "special", smooth=False),
        ]
    return rows


CASES = [
    *functions(),
    Case(Relu(), [integers(N, 3)], relu, "integers"),
    Case(Neg(), [integers(N, 3)], each(lambda op, x: -x), "integers"),
    Case(Cast("float64"), [real(N, 3)], cast, "to float64"),
    Case(Cast("float32"), [fixed([0.5, -2.0, 3.25])], cast, "to float32", smooth=False),
    Case(Cast("int64"), [fixed([0.5, -0.5, 2.9, -2.9])], cast, "to int64", smooth=False),
    Case(Cast("bool"), [fixed([0.0, -0.0, 0.5, np.nan])], cast, "to bool", smooth=False),
    Case(Cast("float32"), [integers(N, 3)], cast, "from int64", smooth=False),
]
