"""Rows of ops/clip.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Case, N, distinct, each, fixed, integers, maximum, minimum
from tinygraph.ops.clip import Clip

SPECIAL = fixed([0.0, -0.0, 6.0, np.inf, -np.inf, np.nan, 1000.0, -1000.0, 1e-30])


@each
def clip(op: Clip, x: Any) -> Any:
    y = x if op.low is None else maximum(x, op.low)
    return y if op.high is None else minimum(y, op.high)


CASES = [
    Case(Clip(-0.7, 1.1), [distinct(N, 3, 4)], clip),
    Case(Clip(0, 6), [distinct(N, 3, 4)], clip, "relu6"),
    Case(Clip(low=0.3), [distinct(N, 5)], clip, "from below"),
    Case(Clip(high=-0.3), [distinct(N, 5)], clip, "from above"),
    Case(Clip(1.0, -1.0), [distinct(N, 5)], clip, "no interval"),
    Case(Clip(-1.0, np.inf), [distinct()], clip, "0-d"),
    Case(Clip(-1.0, 1.0), [distinct(N, 0)], clip, "empty"),
    Case(Clip(0.0, 6.0), [SPECIAL], clip, "special", smooth=False),
    Case(Clip(-2, 3), [integers(N, 9)], clip, "integers"),
    Case(Clip(high=200), [fixed(np.array([0, 199, 200, 201, 255], np.uint8))], clip, "unsigned"),
]
