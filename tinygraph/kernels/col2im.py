"""Transposed convolution as matrix products whose columns are added back to where they belong.

The transpose of im2col.py: the weight matrix [depth, filters] times a block of the input
[filters, positions] is a block of columns; every column is a window of the result, and windows
overlap by addition.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.im2col import Blocks
from tinygraph.kernels.scratch import Array, carve, room

_Slices = tuple[slice, ...]


class Col2im:
    """y = transpose of w * x, plus b, for any geometry."""

    algorithm = "col2im"

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.blocks = blocks = Blocks(g)
        self.targets = {rows.start: _targets(g, rows) for _, rows in blocks}
        self.scratch = (blocks.columns, blocks.sides)
        self.workspace = room(g.dtype, *self.scratch)

    def run(self, x: Array, w: Array, b: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [batch, channels, *sizes], C-contiguous, from x [batch, filters, *out]."""
        g, blocks = self.g, self.blocks
        scratch, sides = carve(workspace, g.dtype, *self.scratch)
        matrix, x = g.matrix(w).swapaxes(1, 2), g.matrices(x)
        y[...] = 0 if b is None else b.reshape(-1, *(1,) * len(g.sizes))
        for images, rows in blocks:
            part = blocks.part(x, images, rows)
            side = blocks.side(part, sides)
            if side is not part:
                blocks.images_of(side, part)[...] = part
            columns = scratch[: part.size // g.filters * g.groups * g.depth]
            np.matmul(matrix, side, out=blocks.matrices(columns, images))
            windows = blocks.windows(columns, images, rows)
            for source, target in self.targets[rows.start]:
                y[(images, slice(None), *target)] += windows[(slice(None), slice(None), *source)]


def _targets(g: Geometry, rows: slice) -> list[tuple[tuple[Any, ...], _Slices]]:
    """For each tap: where its numbers stand in the columns of some rows, and where they are added."""
    found = []
    ranges = [(rows.start, rows.stop), *((0, n) for n in g.out[1:])]
    for tap in np.ndindex(*g.kernel):
        axes = zip(tap, ranges, g.sizes, g.stride, g.padding, g.dilation, strict=True)
        pairs = [_meet(first, last, t * d - front, s, size) for t, (first, last), size, s, (front, _), d in axes]
        if None not in pairs:
            sources, targets = zip(*pairs, strict=True)
            found.append(((*tap, *sources), targets))
    return found


def _meet(first: int, last: int, offset: int, stride: int, size: int) -> tuple[slice, slice] | None:
    """Which of the windows first..last put a tap at `offset` inside 0..size, and where; None if none does."""
    begin = max(first, -(offset // stride))
    end = min(last, (size - 1 - offset) // stride + 1)
    if begin >= end:
        return None
    at = begin * stride + offset
    return slice(begin - first, end - first), slice(at, at + (end - begin - 1) * stride + 1, stride)


class PointwiseTranspose:
    """y = transpose of w times x, plus b, at every position: kernel 1, stride 1, no padding."""

    algorithm = "gemm"
    workspace = 0

    def __init__(self, g: Geometry) -> None:
        self.g = g

    def run(self, x: Array, w: Array, b: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [batch, channels, *sizes], C-contiguous, from x [batch, filters, *out]."""
        g = self.g
        y = y.reshape(g.batch, g.groups, g.depth, g.positions)
        np.matmul(g.matrix(w).swapaxes(1, 2), g.matrices(x), out=y)
        if b is not None:
            y += b.reshape(g.groups, -1, 1)
