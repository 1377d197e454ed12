"""Pooling axis by axis: the windows' maxima (or sums) along the first spatial axis, then the next.

A window of 3 x 3 takes 2 + 2 operations on slices instead of 8, the first axis is done on whole
rows, and nothing is padded: windows that reach over the rim meet fewer slices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.blocks import Block, block_shape, blocks
from tinygraph.kernels.channels_last.program import Call, make
from tinygraph.kernels.scratch import Array, carve, room
from tinygraph.kernels.workers import shares, together

_BLOCK = 1 << 20  # bytes; threads that do less at a time wait for one another too often


@dataclass(frozen=True)
class Run:
    """Neighbouring windows of an axis that have the same taps on the input.

    Attributes:
        windows: which windows.
        taps: for each tap, the input elements that the windows meet.
    """

    windows: slice
    taps: tuple[slice, ...]


def runs(size: int, count: int, kernel: int, stride: int, dilation: int, front: int) -> list[Run]:
    """The windows of an axis in as few runs as possible.

    Args:
        size: elements of the axis.
        count: windows.
        kernel: taps of a window.
        stride: between windows.
        dilation: between taps.
        front: padding before the first element.
    """

    def taps(window: int) -> tuple[int, int]:
        start = window * stride - front
        first = max(0, -(start // dilation))
        last = min(kernel - 1, (size - 1 - start) // dilation)
        return first, last + 1

    found = []
    for (first, end), windows in groupby(range(count), taps):
        numbers = list(windows)
        starts = [numbers[0] * stride - front + tap * dilation for tap in range(first, end)]
        reach = (len(numbers) - 1) * stride + 1
        slices = tuple(slice(start, start + reach, stride) for start in starts)
        found.append(Run(slice(numbers[0], numbers[-1] + 1), slices))
    return found


def reducing(combine: Any, x: Array, y: Array, axis: int, plan: Sequence[Run]) -> list[Call]:
    """What combines, by a ufunc, the elements of x that each window has along an axis; y gets the results."""
    front = (slice(None),) * axis
    calls: list[Call] = []
    for run in plan:
        target = y[(*front, run.windows)]
        first, *rest = [x[(*front, tap)] for tap in run.taps]
        if not rest:
            calls.append(partial(np.copyto, target, first))
        for tap in rest:
            calls.append(partial(combine, first, tap, out=target))
            first = target
    return calls


def reducing_rows(
    combine: Any, x: Array, y: Array, scratch: Array, axis: int, plan: Sequence[Run], kernel: int
) -> list[Call]:
    """The same for contiguous arrays, an axis with short rows or none behind it, and kernels of 2 or more.

    The array is taken as one long row and every element is combined with those behind it, windows
    or not, in `scratch`: long contiguous operations are faster than half as many short strided ones.
    The windows are picked out afterwards, and the few that reach over the rim are done by themselves.
    """
    calls = reducing(combine, x, y, axis, [run for run in plan if len(run.taps) < kernel])
    front = (slice(None),) * axis
    row, result, step = x.reshape(-1), scratch.reshape(-1), prod(x.shape[axis + 1 :])
    for run in plan:
        if len(run.taps) == kernel:
            combined, start = row, run.taps[0].start
            for tap in run.taps[1:]:
                gap = (tap.start - start) * step
                end = row.size - gap
                calls.append(partial(combine, combined[:end], row[gap:], out=result[:end]))
                combined = result
            calls.append(partial(np.copyto, y[(*front, run.windows)], scratch[(*front, run.taps[0])]))
    return calls


class Separable:
    """Pooling of [N, C, *sizes] to [N, C, *counts], prepared.

    Args:
        shape: [N, C, *sizes].
        counts: windows on each spatial axis.
        kernel, stride, dilation: on each spatial axis.
        front: padding before the first element of each.
        dtype: of the elements.
        workers: threads that may be used.

    Attributes:
        axes: (size, count, kernel, stride, dilation, front) of each spatial axis.
        dtype: of the elements.
        parts: the blocks that each thread does, one after the other.
        block: shape of the largest.
        scratch: bytes that `pool_block` needs.
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(
        self,
        shape: Sequence[int],
        counts: Sequence[int],
        kernel: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        front: Sequence[int],
        dtype: np.dtype[Any],
        workers: int = 1,
    ) -> None:
        samples, channels, *sizes = shape
        self.axes = list(zip(sizes, counts, kernel, stride, dilation, front, strict=True))
        self.plans = [runs(*axis) for axis in self.axes]
        size = prod(sizes) * dtype.itemsize
        most = min(_BLOCK, samples * channels * size // workers)
        found = list(blocks(samples, channels, size, most))
        self.parts = [found[part] for part in shares(len(found), workers)]
        self.block = block_shape(samples, channels, size, most)
        self.kernel = kernel[-1]
        # What lies between two axes, and the last row of `reducing_rows`.
        self.between = [(*self.block, *counts[:done], *sizes[done:]) for done in range(1, len(sizes))]
        self.between.append((*self.block, *counts[:-1], sizes[-1]))
        self.dtype = dtype
        self.scratch = room(dtype, *self.between)
        self.workspace = self.scratch * len(self.parts)

    def run(
        self, combine: Any, x: Array, y: Array, workspace: Array, finish: Callable[[Array], object] | None = None
    ) -> None:
        """Pools x into y.

        Args:
            combine: np.maximum, np.minimum or np.add.
            x: the input.
            y: the result, uninitialised.
            workspace: bytes.
            finish: what is done to each block of the result while it is in the cache.
        """

        def part(found: Sequence[Block], memory: Array) -> None:
            for block in found:
                self.pool_block(combine, x[block], y[block], memory)
                if finish:
                    finish(y[block])

        together([partial(part, found, workspace[i * self.scratch :]) for i, found in enumerate(self.parts)])

    def pool_block(self, combine: Any, x: Array, y: Array, workspace: Array) -> None:
        """Pools one block."""
        samples, channels = x.shape[:2]
        scratch = carve(workspace, self.dtype, *self.between)
        *between, rows = [part[:samples, :channels] for part in scratch]
        for axis, (plan, target) in enumerate(zip(self.plans, between, strict=False), 2):
            make(reducing(combine, x, target, axis, plan))
            x = target
        if self.kernel > 2 and x.flags.c_contiguous and rows.flags.c_contiguous:
            make(reducing_rows(combine, x, y, rows, x.ndim - 1, self.plans[-1], self.kernel))
        else:
            make(reducing(combine, x, y, x.ndim - 1, self.plans[-1]))
