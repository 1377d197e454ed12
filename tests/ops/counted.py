"""Numbers that count the operations done with them, so that FLOPs are counted and not believed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Tally:
    """What a naive loop did.

    Attributes:
        flops: arithmetic operations; exp, log, tanh and sigmoid count as the convention has it.
        macs: additions of a product that was made for them, one by one.
    """

    flops: int = 0
    macs: int = 0

    def counting(self, array: np.ndarray) -> np.ndarray:
        """The array with every number replaced by one that counts here."""
        counted = np.empty(array.shape, object)
        for index in np.ndindex(array.shape):
            counted[index] = Counted(array[index], self)
        return counted


class Counted:
    """A number whose arithmetic and comparisons are counted. `float(x)` takes it out of the count."""

    __slots__ = ("product", "tally", "value")

    def __init__(self, value: Any, tally: Tally, product: bool = False) -> None:
        self.value = value
        self.tally = tally
        self.product = product

    def _binary(self, other: Any, operation: Callable[[Any, Any], Any], product: bool = False) -> Counted:
        self.tally.flops += 1
        return Counted(operation(self.value, plain(other)), self.tally, product)

    def __add__(self, other: Any) -> Counted:
        self.tally.macs += self.product or (isinstance(other, Counted) and other.product)
        return self._binary(other, lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Counted:
        return self._binary(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Counted:
        return self._binary(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Counted:
        return self._binary(other, lambda a, b: a * b, product=True)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Counted:
        return self._binary(other, lambda a, b: a / b)

    def __rtruediv__(self, other: Any) -> Counted:
        return self._binary(other, lambda a, b: b / a)

    def __pow__(self, other: Any) -> Counted:
        return self.function(lambda a: a ** plain(other), 4)

    def __neg__(self) -> Counted:
        return self.function(lambda a: -a, 1)

    def _compare(self, other: Any, operation: Callable[[Any, Any], Any]) -> bool:
        self.tally.flops += 1
        return bool(operation(self.value, plain(other)))

    def __lt__(self, other: Any) -> bool:
        return self._compare(other, lambda a, b: a < b)

    def __le__(self, other: Any) -> bool:
        return self._compare(other, lambda a, b: a <= b)

    def __gt__(self, other: Any) -> bool:
        return self._compare(other, lambda a, b: a > b)

    def __ge__(self, other: Any) -> bool:
        return self._compare(other, lambda a, b: a >= b)

    def __eq__(self, other: object) -> bool:
        return self._compare(other, lambda a, b: a == b)

    def __ne__(self, other: object) -> bool:
        return self._compare(other, lambda a, b: a != b)

    __hash__ = None  # type: ignore[assignment]  # equality is counted: these are no keys

    def __float__(self) -> float:
        return float(self.value)

    def __trunc__(self) -> int:
        return math.trunc(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def function(self, of: Callable[[Any], Any], operations: int) -> Counted:
        """of(x), counted as that many operations."""
        self.tally.flops += operations
        return Counted(of(self.value), self.tally)


def plain(x: Any) -> Any:
    """The number itself, without the counting."""
    return x.value if isinstance(x, Counted) else x


def _function(x: Any, of: Callable[[Any], Any], operations: int) -> Any:
    return x.function(of, operations) if isinstance(x, Counted) else of(x)


def exp(x: Any, operations: int = 4) -> Any:
    """E ** x: 4 operations; softmax, which counts 5 in all, counts it as 1."""
    return _function(x, np.exp, operations)


def log(x: Any, operations: int = 4) -> Any:
    """The natural logarithm: 4 operations, or as many as the op's convention gives it."""
    return _function(x, np.log, operations)


def sqrt(x: Any) -> Any:
    """The square root: 1 operation."""
    return _function(x, np.sqrt, 1)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent: 4 operations."""
    return _function(x, np.tanh, 4)


def sigmoid(x: Any) -> Any:
    """1 / (1 + e ** -x): 4 operations."""
    return _function(x, lambda v: 1 / (1 + np.exp(-v)), 4)


def erf(x: Any) -> Any:
    """The error function: 4 operations."""
    return _function(x, math.erf, 4)


def trigonometric(x: Any, of: Callable[[Any], Any]) -> Any:
    """A sine, hyperbolic cosine and so on, or its inverse: 4 operations."""
    return _function(x, of, 4)


def maximum(a: Any, b: Any) -> Any:
    """The larger one; NaN if either is: 1 operation."""
    return _choose(a, b, np.maximum)


def minimum(a: Any, b: Any) -> Any:
    """The smaller one; NaN if either is: 1 operation."""
    return _choose(a, b, np.minimum)


def where(condition: Any, a: Any, b: Any) -> Any:
    """The first if the condition holds, else the second: 1 operation."""
    return _choose(a, b, lambda p, q: p if condition else q)


def _choose(a: Any, b: Any, choice: Callable[[Any, Any], Any]) -> Any:
    tally = next((x.tally for x in (a, b) if isinstance(x, Counted)), None)
    result = choice(plain(a), plain(b))
    if tally is None:
        return result
    tally.flops += 1
    return Counted(result, tally)
