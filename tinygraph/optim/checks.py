"""Whether the arguments of optimizers, schedules and clipping are numbers in their range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygraph.errors import UsageError

_WHOLE = (int, np.integer)
_REAL = (*_WHOLE, float, np.floating)


def check_number(owner: str, name: str, value: Any, low: float = 0.0, below: float = math.inf) -> None:
    """Raises UsageError unless the value is a finite number with low <= value < below."""
    if not isinstance(value, _REAL) or not low <= value < below:
        limit = "" if below == math.inf else f" and less than {below:g}"
        raise UsageError(f"{owner}: {name} is {value!r}; give a number of at least {low:g}{limit}")


def check_positive(owner: str, name: str, value: Any) -> None:
    """Raises UsageError unless the value is a finite number above 0."""
    if not isinstance(value, _REAL) or not 0 < value < math.inf:
        raise UsageError(f"{owner}: {name} is {value!r}; give a number above 0")


def check_count(owner: str, name: str, value: Any) -> None:
    """Raises UsageError unless the value is a whole number of at least 1."""
    if not isinstance(value, _WHOLE) or value < 1:
        raise UsageError(f"{owner}: {name} is {value!r}; give a whole number of at least 1")
