"""Local response normalization, a few rows of all channels at a time."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.blocks import block_shape
from tinygraph.kernels.scratch import Array, carve, room


class LrnByRows:
    """y = x / (k + factor * sum of x^2 over a window of channels) ** beta, prepared.

    Args:
        shape: [N, C, H, *] of x.
        dtype: of x.
        size: channels of the window, the odd one above.
        factor: what the sum is multiplied by.
        beta: the power.
        k: what is added.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(
        self, shape: Sequence[int], dtype: np.dtype[Any], size: int, factor: float, beta: float, k: float
    ) -> None:
        self.samples, self.channels, self.height, *rest = shape
        self.dtype = dtype
        self.size, self.factor, self.beta, self.k = size, factor, beta, k
        _, self.rows = block_shape(1, self.height, self.channels * prod(rest) * dtype.itemsize)
        # The squares lie between channels of zeros, as far as the windows reach.
        self.scratch = (self.channels + size - 1, self.rows, *rest), (self.channels, self.rows, *rest)
        self.workspace = room(dtype, *self.scratch)

    def run(self, x: Array, y: Array, workspace: Array) -> None:
        """Normalizes x into y, uninitialised, with scratch memory of `workspace` bytes."""
        squares, sums = carve(workspace, self.dtype, *self.scratch)
        below = (self.size - 1) // 2
        squares[:below] = 0
        squares[below + self.channels :] = 0
        for sample in range(self.samples):
            for row in range(0, self.height, self.rows):
                part = x[sample, :, row : row + self.rows]
                rows = part.shape[1]
                self._block(part, y[sample, :, row : row + rows], squares[:, :rows], sums[:, :rows])

    def _block(self, x: Array, y: Array, squares: Array, sums: Array) -> None:
        channels, below = self.channels, (self.size - 1) // 2
        middle = squares[below : below + channels]
        np.multiply(x, x, out=middle)
        total = squares[:channels]
        for first in range(1, self.size):
            total = np.add(total, squares[first : first + channels], out=sums)
        np.multiply(total, self.factor, out=sums)
        sums += self.k
        if self.beta == 0.75:  # two square roots cost a third of a power
            np.sqrt(sums, out=middle)
            np.sqrt(middle, out=sums)
            sums *= middle
        else:
            np.power(sums, self.beta, out=sums)
        np.divide(x, sums, out=y)
