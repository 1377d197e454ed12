"""What is done to results while they are still in the cache: a bias, a residual, an activation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from tinygraph.kernels.channels_last.program import Call
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

    Attributes:
        held: bytes of the row that is made of a bias.
    """

    def __init__(self, epilogue: Epilogue, filters: int, dtype: np.dtype[Any]) -> None:
        self._biases = Bound(repeated)
        self.held = max(_ROW // filters, 1) * filters * dtype.itemsize
        self._bounds = [
            (ufunc, _constant(bound, dtype))
            for ufunc, bound in ((np.maximum, epilogue.low), (np.minimum, epilogue.high))
            if bound is not None
        ]

    def calls(self, y: Array, bias: Array | None, residual: Array | None) -> list[Call]:
        """What finishes y [..., K] in place, or some of its filters."""
        found: list[Call] = []
        if bias is not None:
            found += self._biased(y, bias, y)
        if residual is not None:
            found.append(partial(np.add, y, residual, out=y))
        return found + self.bounding(y)

    def beginning(self, y: Array, bias: Array | None, residual: Array | None) -> list[Call]:
        """What fills y [..., K], or some of its filters, with all that is added to the results; bounds come after."""
        if residual is None:
            return [partial(np.copyto, y, 0 if bias is None else bias)]
        return [partial(np.copyto, y, residual)] if bias is None else self._biased(residual, bias, y)

    def bounding(self, y: Array) -> list[Call]:
        """What brings y [..., K], or some of its filters, between the bounds."""
        if y.flags.c_contiguous:
            flat = y.reshape(-1)
            return [call for ufunc, row in self._bounds for call in along(ufunc, flat, row, 1, flat)]
        width = y.shape[-1] if y.shape[-1] <= _ROW else 1
        return [partial(ufunc, y, row[:width], out=y) for ufunc, row in self._bounds]

    def _biased(self, x: Array, bias: Array, y: Array) -> list[Call]:
        """What makes y = x + bias."""
        if x.flags.c_contiguous and y.flags.c_contiguous:
            return along(np.add, x.reshape(-1), self._biases(bias), len(bias), y.reshape(-1))
        return [partial(np.add, x, bias, out=y)]


@cache
def _constant(number: float, dtype: np.dtype[Any]) -> Array:
    """A row of one number."""
    return np.full(_ROW, number, dtype)


def repeated(vector: Array) -> Array:
    """The vector as often as it makes a row of many numbers."""
    return np.tile(vector, max(_ROW // len(vector), 1))


def along(ufunc: np.ufunc, x: Array, row: Array, period: int, y: Array) -> list[Call]:
    """What makes y = ufunc(x, row), for contiguous numbers and a row that is repeated as often as needed.

    Args:
        ufunc: of two arrays.
        x: flat.
        row: repeats itself after `period` numbers.
        period: divides the number of x.
        y: flat; it may be x.
    """
    fewest = -(-x.size // row.size)
    count = next((n for n in range(fewest, 4 * fewest) if x.size % (n * period) == 0), 0)
    if count:  # one call
        row = row[: x.size // count]
    whole = x.size - x.size % row.size
    calls: list[Call] = []
    if whole:
        rows = -1, row.size
        calls.append(partial(ufunc, x[:whole].reshape(rows), row, out=y[:whole].reshape(rows)))
    if whole < x.size:
        calls.append(partial(ufunc, x[whole:], row[: x.size - whole], out=y[whole:]))
    return calls
