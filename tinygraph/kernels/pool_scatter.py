"""The gradient of max and min pooling, tap by tap: each window's number goes to the element that won it."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from tinygraph.kernels.pooling import Separable
from tinygraph.kernels.scratch import Array, carve, room


class Scatter:
    """The gradient of the pooling of [N, C, *sizes] to [N, C, *counts], prepared.

    Args:
        pool: the pooling.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(self, pool: Separable) -> None:
        self.pool = pool
        self.taps = [tuple(zip(*tap, strict=True)) for tap in product(*(_meetings(*axis) for axis in pool.axes))]
        self.disjoint = all(stride > (kernel - 1) * dilation for _, _, kernel, stride, dilation, _ in pool.axes)
        self.shape = (*pool.block, *(count for _, count, *_ in pool.axes))
        self.workspace = (
            room(pool.dtype, self.shape, self.shape) + room(np.dtype(bool), self.shape, self.shape) + pool.workspace
        )

    def run(self, better: Any, x: Array, g: Array, dx: Array, workspace: Array) -> bool:
        """Scatters g to where the windows of x have their winners.

        Args:
            better: np.maximum or np.minimum.
            x: the array that was pooled.
            g: one number for each window.
            dx: the result, uninitialised.
            workspace: bytes.

        Returns:
            Whether it is done; False if x has NaN, which are equal to nothing, or g infinite
            numbers, which times 0 are not 0.
        """
        y, share = carve(workspace, self.pool.dtype, self.shape, self.shape)
        workspace = workspace[room(self.pool.dtype, self.shape, self.shape) :]
        undecided, hit = carve(workspace, np.dtype(bool), self.shape, self.shape)
        workspace = workspace[room(np.dtype(bool), self.shape, self.shape) :]
        for block in self.pool.blocks:
            inner = tuple(slice(n) for n in x[block].shape[:2])
            won = y[inner]
            self.pool.pool_block(better, x[block], won, workspace)
            if np.isnan(won).any() or not np.isfinite(g[block]).all():
                return False
            self._scatter(x[block], g[block], dx[block], won, share[inner], undecided[inner], hit[inner])
        return True

    def _scatter(self, x: Array, g: Array, dx: Array, won: Array, share: Array, undecided: Array, hit: Array) -> None:
        dx[...] = 0
        undecided[...] = True
        for regions in self.taps:
            windows, elements = ((..., *region) for region in regions)
            found, part = hit[windows], share[windows]
            np.equal(x[elements], won[windows], out=found)
            np.logical_and(found, undecided[windows], out=found)
            np.logical_xor(undecided[windows], found, out=undecided[windows])
            np.multiply(g[windows], found, out=part)
            if self.disjoint:
                dx[elements] = part
            else:
                dx[elements] += part


def _meetings(size: int, count: int, kernel: int, stride: int, dilation: int, front: int) -> list[tuple[slice, slice]]:
    """For each tap of an axis: the windows that have it on the input, and the elements that they meet there."""
    found = []
    for tap in range(kernel):
        offset = tap * dilation - front
        first = max(0, -(offset // stride))
        last = min(count - 1, (size - 1 - offset) // stride)
        start = first * stride + offset
        if first <= last:
            found.append((slice(first, last + 1), slice(start, last * stride + offset + 1, stride)))
    return found
