"""Rows of ops/lp_pool.py: the p-norm of each window."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.cases.lrn import window_sum
from tests.ops.cases.pool import CEIL, DILATED, LINE, RESNET, SOLID, counts, like, windows
from tests.ops.counted import Counted
from tests.ops.harness import Array, Case, N, distinct, fixed, sqrt
from tinygraph.ops.lp_pool import LpPool


def absolute(x: Any) -> Any:
    """|x|: 1 operation."""
    return x.function(abs, 1) if isinstance(x, Counted) else abs(x)


def lp_pool(op: LpPool, x: Array) -> Array:
    y = np.empty((*x.shape[:2], *counts(op, x)), x.dtype)
    for n, c in np.ndindex(*x.shape[:2]):
        for index, places in windows(op, x.shape[2:]):
            taps = [x[n, c][place] if place else like(x, 0.0) for place in places]
            powers = [tap * tap if op.p == 2 else absolute(tap) if op.p == 1 else absolute(tap) ** op.p for tap in taps]
            total = window_sum(powers)
            y[n, c][index] = total if op.p == 1 else sqrt(total) if op.p == 2 else total ** (1 / op.p)
    return y


ZEROS = fixed(np.array([[[[0.0, 0, 1], [0, 0, 2], [3, 4, 5]]]]))

CASES = [
    Case(LpPool((2, 2)), [distinct(N, 2, 3, 3)], lp_pool, "2x2"),
    Case(LpPool(**RESNET), [distinct(N, 2, 5, 4)], lp_pool, "3x3 stride 2 padding 1"),
    Case(LpPool(**RESNET, p=1), [distinct(1, 2, 5, 4)], lp_pool, "p is 1"),
    Case(LpPool(**RESNET, p=3), [distinct(1, 2, 5, 4)], lp_pool, "p is 3"),
    Case(LpPool(**CEIL), [distinct(1, 2, 6, 6)], lp_pool, "ceil"),
    Case(LpPool(**DILATED, p=4), [distinct(2, 1, 6, 5)], lp_pool, "dilated"),
    Case(LpPool(**LINE), [distinct(2, 1, 6)], lp_pool, "1-D"),
    Case(LpPool(**SOLID), [distinct(1, 2, 3, 3, 4)], lp_pool, "3-D"),
    Case(
        LpPool((3, 2), stride=(3, 2), p=3),
        [distinct(N, 2, 3, 2)],
        lp_pool,
        "global",
        reference=False,  # onnx.reference has no GlobalLpPool
    ),
    Case(LpPool((2, 2)), [ZEROS], lp_pool, "zeros", smooth=False),
]
