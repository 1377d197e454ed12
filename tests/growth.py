"""How the time of something grows with the size of a graph."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 6
SLACK = 2


def assert_linear(fn: Callable[[Any], Any], small: Any, large: Any, factor: int = 4) -> None:
    """Fails if a `factor` times larger argument takes more than `factor` * SLACK times as long.

    The best times of several rounds count, so that a busy machine doesn't fail it; whatever is
    quadratic is off by another `factor`.
    """
    best_small = best_large = float("inf")
    for _ in range(ROUNDS):
        best_small = min(best_small, _seconds(fn, small))
        best_large = min(best_large, _seconds(fn, large))
        if best_large < factor * SLACK * best_small:
            return
    raise AssertionError(f"{factor} times the size takes {best_large / best_small:.1f} times as long")


def _seconds(fn: Callable[[Any], Any], argument: Any) -> float:
    gc.collect()
    gc.disable()
    try:
        begin = time.process_time()
        fn(argument)
        return time.process_time() - begin
    finally:
        gc.enable()
