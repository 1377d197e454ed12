"""What is done to results while they are still in the cache: a bias, a residual, an activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.kernels.scratch import Array, Bound

# NumPy is fastest on two arrays of one shape, or rows of so many numbers: shorter ones, and scalars, go through
# buffers of 8192 numbers, or through loops without vector instructions.
_ROW = 1 << 14


@dataclass(frozen=True)
class Epilogue:
    """y becomes min(max(y + bias + residual, low), high).

    Attributes:
        residual: whether there is one: an array like y.
        low, high: bounds of an activation such as ReLU or ReLU6; None for none.
    """

    residual: bool = False
    low: float | None = None
    high: float | None = None

    @property
    def suffix(self) -> str:
        """For the name of an algorithm."""
        bounded = self.low is not None or self.high is not None
        return "+residual" * self.residual + ("+relu" if self.low == 0 else "+clip") * bounded

    def finish(self, y: Array, bias: Array | None, residual: Array | None) -> None:
        """Finishes y [positions, K] in place."""
        if bias is not None:
            np.add(y, bias, out=y)
        self.move(y, residual, y)

    def move(self, x: Array, residual: Array | None, y: Array) -> None:
        """Writes x, finished, into y of the same shape. They may be one array."""
        if residual is not None:
            np.add(x, residual, out=y)
            x = y
        if self.low is not None:
            np.maximum(x, self.low, out=y)
            x = y
        if self.high is not None:
            np.minimum(x, self.high, out=y)
            x = y
        if x is not y:
            np.copyto(y, x)


PLAIN = Epilogue()


class Finisher:
    """An epilogue for large blocks [positions, K]: the bias and the bounds are repeated along rows of many numbers.

    Args:
        epilogue: what is done.
        filters: K.
        dtype: of the blocks.
    """

    def __init__(self, epilogue: Epilogue, filters: int, dtype: np.dtype[Any]) -> None:
        self._biases = Bound(repeated)
        self._bounds = [
            (ufunc, np.full(_ROW, bound, dtype))
            for ufunc, bound in ((np.maximum, epilogue.low), (np.minimum, epilogue.high))
            if bound is not None
        ]

    def finish(self, y: Array, bias: Array | None, residual: Array | None) -> None:
        """Finishes a contiguous y [positions, K] in place."""
        flat = y.reshape(-1)
        if bias is not None:
            along(np.add, flat, self._biases(bias), flat)
        if residual is not None:
            np.add(y, residual, out=y)
        self.bound(flat)

    def bound(self, flat: Array) -> None:
        """Brings contiguous numbers between the bounds."""
        for ufunc, row in self._bounds:
            along(ufunc, flat, row, flat)


def repeated(vector: Array) -> Array:
    """The vector as often as it makes a row of many numbers."""
    return np.tile(vector, max(_ROW // len(vector), 1))


def along(ufunc: np.ufunc, x: Array, row: Array, y: Array) -> None:
    """y = ufunc(x, row), for contiguous numbers and a row that is repeated as often as needed; y may be x."""
    whole = x.size - x.size % row.size
    if whole:
        ufunc(x[:whole].reshape(-1, row.size), row, out=y[:whole].reshape(-1, row.size))
    if whole < x.size:
        ufunc(x[whole:], row[: x.size - whole], out=y[whole:])
