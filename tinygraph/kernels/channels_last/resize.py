"""Spatial axes resized with the channels last: a block of rows of the result at a time, shared among threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.channels_last.blocks import Block, teams, worth
from tinygraph.kernels.interpolation import Taps
from tinygraph.kernels.resize import Resized
from tinygraph.kernels.scratch import Array, carve, room
from tinygraph.kernels.workers import together

_PASSES = 4  # arrays as large as the result that a block takes: beside it, what is resized on the way, and terms


@dataclass(frozen=True)
class Part:
    """Some rows of the result.

    Attributes:
        block: which ones, of which images.
        source: the rows of the input that they are made of.
        routine: which makes those of one image.
    """

    block: Block
    source: slice
    routine: Resized


class Resizing:
    """Spatial axes of maps [N, *sizes, C] resized, prepared.

    Args:
        shape: [N, C, *sizes], nothing of it 0.
        axes: that are resized, ascending; 0 is the first spatial one.
        tables: their taps; nothing lies outside.
        dtype: of the maps; floating, but where no taps have weights.
        workers: threads that may be used.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(
        self, shape: Sequence[int], axes: Sequence[int], tables: Sequence[Taps], dtype: np.dtype[Any], workers: int
    ) -> None:
        samples, channels, *sizes = shape
        result = list(sizes)
        for axis, table in zip(axes, tables, strict=True):
            result[axis] = len(table.index)
        row = prod(result[1:]) * channels * dtype.itemsize * _PASSES
        found = teams(samples, result[0], row, worth(samples * channels * prod(result), workers))

        def part(block: Block) -> Part:
            rows, cut = block.rows, list(tables)
            if axes[0] == 0:
                taken = tables[0].index[rows]
                rows = slice(int(taken.min()), int(taken.max()) + 1)
                cut[0] = _cut(tables[0], block.rows, rows.start)
            source = (rows.stop - rows.start, *sizes[1:], channels)
            return Part(block, rows, Resized(source, dtype, axes, cut, 1))

        self.teams = [[part(block) for block in team] for team in found]
        self.scratch = [(max(p.routine.workspace for p in team),) for team in self.teams]
        self.workspace = room(np.dtype(np.uint8), *self.scratch)

    def run(self, x: Array, y: Array, workspace: Array) -> None:
        """Computes y, C-contiguous, of x."""
        memory = carve(workspace, np.dtype(np.uint8), *self.scratch)
        together([partial(_run, *team, x, y) for team in zip(self.teams, memory, strict=True)])


def _run(team: Sequence[Part], workspace: Array, x: Array, y: Array) -> None:
    for part in team:
        for n in range(part.block.images.start, part.block.images.stop):
            part.routine.run(x[n, part.source], y[n, part.block.rows], workspace)


def _cut(table: Taps, rows: slice, first: int) -> Taps:
    """The taps of some rows of the result, on an input that begins at its row `first`."""
    weight = None if table.weight is None else table.weight[rows]
    return replace(table, index=table.index[rows] - first, weight=weight, outside=table.outside[rows])
