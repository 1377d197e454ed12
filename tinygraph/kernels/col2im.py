"""Transposed convolution as matrix products whose columns are added back to where they belong.

The transpose of im2col.py: the weight matrix [depth, filters] times a block of the input
[filters, positions] is a block of columns; every column is a window of the result, and windows
overlap by addition.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.kernels.geometry import Array, Geometry, carve, room
from tinygraph.kernels.im2col import Columns

_Slices = tuple[slice, ...]


class Col2im:
    """y = transpose of w * x, plus b, for any geometry."""

    algorithm = "col2im"

    def __init__(self, g: Geometry) -> None:
        self.g = g
        blocks = Columns(g)
        self.images = blocks.images
        self.columns = blocks.columns
        self.rows = [slice(top, min(top + blocks.rows, g.out[0])) for top in range(0, g.out[0], blocks.rows)]
        self.row = blocks.row
        self.targets = [_targets(g, rows) for rows in self.rows]
        self.workspace = room(g.dtype, self.columns)

    def run(self, x: Array, w: Array, b: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [batch, channels, *sizes], C-contiguous, from x [batch, filters, *out]."""
        g = self.g
        (scratch,) = carve(workspace, g.dtype, self.columns)
        matrix = g.matrix(w).swapaxes(1, 2)
        x = x.reshape(g.batch, g.groups, g.filters // g.groups, g.positions)
        y[...] = 0 if b is None else b.reshape(-1, *(1,) * len(g.sizes))
        for first in range(0, g.batch, self.images):
            images = slice(first, min(first + self.images, g.batch))
            for rows, targets in zip(self.rows, self.targets, strict=True):
                block = x[images, :, :, rows.start * self.row : rows.stop * self.row]
                size = block.shape[0] * g.groups * g.depth * block.shape[3]
                columns = scratch[:size].reshape(block.shape[0], g.groups, g.depth, block.shape[3])
                np.matmul(matrix, block, out=columns)
                windows = columns.reshape(block.shape[0], g.channels, *g.kernel, rows.stop - rows.start, *g.out[1:])
                for source, target in targets:
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
        matrix = x.reshape(g.batch, g.groups, g.filters // g.groups, g.positions)
        y = y.reshape(g.batch, g.groups, g.depth, g.positions)
        np.matmul(g.matrix(w).swapaxes(1, 2), matrix, out=y)
        if b is not None:
            y += b.reshape(g.groups, -1, 1)
