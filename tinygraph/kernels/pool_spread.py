"""The gradient of average pooling: each window's share is added to all its elements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.scratch import Array, Index, carve, room
from tinygraph.kernels.workers import shares, together

_WORTH_SHARING = 1 << 16  # elements; fewer are done before another thread has begun


class Spread:
    """dx = the sum over windows of g / divisor at their elements, prepared.

    Args:
        shape: [N, C, *sizes] of dx.
        axes: (size, count, kernel, stride, dilation, front) of each spatial axis.
        divisors: for each window, [*counts].
        workers: threads that may be used.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(
        self,
        shape: Sequence[int],
        axes: Sequence[tuple[int, int, int, int, int, int]],
        divisors: Array,
        workers: int,
    ) -> None:
        self.divisors = divisors
        self.shares = (*shape[:2], *(count for _, count, *_ in axes))
        self.workspace = room(divisors.dtype, self.shares)
        self.taps: list[tuple[Index, Index]] = []
        for tap in product(*(_meetings(*axis) for axis in axes)):
            windows, elements = zip(*tap, strict=True)
            self.taps.append(((..., *windows), (..., *elements)))
        self.samples = shares(shape[0], workers if prod(shape) >= _WORTH_SHARING else 1)

    def run(self, g: Array, dx: Array, workspace: Array) -> None:
        """Computes dx."""
        (memory,) = carve(workspace, self.divisors.dtype, self.shares)

        def part(samples: slice) -> None:
            share, target = memory[samples], dx[samples]
            np.divide(g[samples], self.divisors, out=share)
            target[...] = 0
            for windows, elements in self.taps:
                target[elements] += share[windows]

        together([partial(part, samples) for samples in self.samples])


def _meetings(size: int, count: int, kernel: int, stride: int, dilation: int, front: int) -> list[tuple[Any, Any]]:
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
