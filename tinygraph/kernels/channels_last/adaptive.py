"""Means over windows of any sizes with the channels last: sums along one spatial axis after the other.

A sum is the product of a row of ones and a matrix whose columns are all that stands behind the axis. As the axes are
summed apart, a number is added to few others, so that rounding errors stay small.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.scratch import Array, carve, room


class Adaptive:
    """Means of [N, *sizes, C] as [N, *counts, C], prepared.

    Args:
        shape: [N, C, *sizes], nothing of it 0.
        windows: (first element, end) of each window of each spatial axis.
        elements: of each window, [*counts].
        dtype: of the elements.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(
        self,
        shape: Sequence[int],
        windows: Sequence[Sequence[tuple[int, int]]],
        elements: Array,
        dtype: np.dtype[Any],
    ) -> None:
        samples, channels, *sizes = shape
        self.dtype, self.windows, self.elements = dtype, windows, elements[..., None].astype(dtype)
        # Each axis as [what stands before it, its own, what stands behind it], before it is summed.
        counts = elements.shape
        self.steps = [
            (samples * prod(counts[:axis]), size, prod(sizes[axis + 1 :]) * channels) for axis, size in enumerate(sizes)
        ]
        self.ones = np.ones((1, max(sizes)), dtype)
        self.workspace = room(dtype, *self.steps[1:])

    def run(self, x: Array, y: Array, workspace: Array) -> None:
        """Computes y, C-contiguous, of x."""
        results = [*carve(workspace, self.dtype, *self.steps[1:]), y]
        for step, windows, sums in zip(self.steps, self.windows, results, strict=True):
            lines, target = x.reshape(step), sums.reshape(step[0], len(windows), step[2])
            for number, (start, end) in enumerate(windows):
                np.matmul(self.ones[:, : end - start], lines[:, start:end], out=target[:, number : number + 1])
            x = sums
        np.divide(y, self.elements, out=y)
