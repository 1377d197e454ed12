"""Pooling with the channels last: the windows' maxima (or sums) along the first spatial axis, then the next.

Along the first axis whole rows are combined, along the others runs of all channels: a block of rows of the result
at a time, and threads share the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.channels_last.blocks import Block, teams, worth
from tinygraph.kernels.channels_last.program import Call, Program
from tinygraph.kernels.pooling import Run, reducing, reducing_rows, runs
from tinygraph.kernels.scratch import Array, carve, room


class Pooling:
    """Pooling of [N, *sizes, C] to [N, *counts, C], prepared.

    Args:
        shape: [N, C, *sizes], nothing of it 0.
        counts: windows on each spatial axis.
        kernel, stride, dilation: on each spatial axis.
        front: padding before the first element of each.
        dtype: of the elements.
        workers: threads that may be used.
        combine: np.maximum, np.minimum or np.add.
        neutral: what changes nothing that it is combined with.
        divisors: [*counts], what the results are divided by, if they are.

    Attributes:
        between: what one row of a block is before each axis but the first: padded along that axis, so that all
            of its windows have the same taps and are combined at once.
        inside: where the numbers are in that.
        plans: the windows of each axis but the first.
        teams: what each thread does: blocks of rows, and the windows of the first axis for them.
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
        workers: int,
        combine: Any,
        neutral: float,
        divisors: Array | None = None,
    ) -> None:
        self.divisors = None if divisors is None else divisors[..., np.newaxis]
        samples, channels, *sizes = shape
        self.dtype, self.kernel, self.combine, self.neutral = dtype, kernel[-1], combine, neutral
        first, *others = zip(sizes, counts, kernel, stride, dilation, front, strict=True)
        self.between: list[tuple[int, ...]] = []
        self.inside: list[slice] = []
        self.plans: list[list[Run]] = []
        for axis, (size, count, k, s, d, before) in enumerate(others, 1):
            padded = max((count - 1) * s + (k - 1) * d + 1, before + size)
            self.between.append((*counts[1:axis], padded, *sizes[axis + 1 :], channels))
            self.inside.append(slice(before, before + size))
            self.plans.append(runs(padded, count, k, s, d, 0))
        # Windows that overlap are picked from those of all elements, see `reducing_rows`.
        self.picked = bool(others) and 1 < stride[-1] < kernel[-1]
        shapes = self.between + self.between[-1:] * self.picked
        row = stride[0] * prod(sizes[1:]) * channels + sum(map(prod, shapes)) + prod(counts[1:]) * channels
        found = teams(samples, counts[0], row * dtype.itemsize, worth(prod(shape), workers))
        self.teams = [[(block, _windows(first, block)) for block in team] for team in found]
        self.rows = max(prod(block.shape) for team in found for block in team)
        self.scratch = tuple((self.rows, *shape) for shape in shapes)
        self.workspace = room(dtype, *self.scratch * len(found))

    def run(self, x: Array, y: Array, workspace: Array) -> None:
        """Pools x into y, uninitialised; rows of both may be parts of longer ones."""
        self.program(x, y, workspace)()

    def program(self, x: Array, y: Array, workspace: Array) -> Program:
        """The same for arrays that stay where they are."""
        memory = list(carve(workspace, self.dtype, *self.scratch * len(self.teams)))
        count = len(self.scratch)
        return Program(
            [[self._calls(team, x, y, memory[i * count : (i + 1) * count]) for i, team in enumerate(self.teams)]]
        )

    def _calls(
        self, team: Sequence[tuple[Block, list[Run]]], x: Array, y: Array, scratch: Sequence[Array]
    ) -> list[Call]:
        calls: list[Call] = []
        for axis, (part, inside) in enumerate(zip(scratch, self.inside, strict=False), 1):
            borders = [
                part[(slice(None),) * axis + (place,)] for place in (slice(inside.start), slice(inside.stop, None))
            ]
            calls += [partial(border.fill, self.neutral) for border in borders if border.size]
        for block, windows in team:
            target = y[block.images, block.rows]
            calls += self._pooling(x[block.images], target, windows, scratch)
            if self.divisors is not None:
                calls.append(partial(np.divide, target, self.divisors[block.rows], out=target))
        return calls

    def _pooling(self, x: Array, y: Array, windows: Sequence[Run], scratch: Sequence[Array]) -> list[Call]:
        """What pools images [n, *sizes, C] into some rows of the result."""
        n, rows = y.shape[:2]
        between = [part[: n * rows].reshape(n, rows, *part.shape[1:]) for part in scratch]
        calls: list[Call] = []
        plan = windows
        for axis, (part, inside, following) in enumerate(zip(between, self.inside, self.plans, strict=False), 1):
            calls += reducing(self.combine, x, part[(slice(None),) * (axis + 1) + (inside,)], axis, plan)
            x, plan = part, following
        if self.picked:
            return calls + reducing_rows(self.combine, x, y, between[-1], y.ndim - 2, plan, self.kernel)
        return calls + reducing(self.combine, x, y, y.ndim - 2, plan)


def _windows(axis: tuple[int, ...], block: Block) -> list[Run]:
    """The windows of the first axis for the rows of a block."""
    size, _, kernel, stride, dilation, front = axis
    return runs(size, block.shape[1], kernel, stride, dilation, front - block.rows.start * stride)
