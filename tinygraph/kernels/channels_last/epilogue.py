"""What is done to results while they are still in the cache: a bias, a residual, an activation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygraph.kernels.scratch import Array


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
