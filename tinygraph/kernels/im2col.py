"""Convolution and its weight gradient as matrix products of columns, block by block.

A column holds the numbers of one window, so that a block of columns [depth, positions] times
the weight matrix [filters, depth] is a block of the result. Source: Chellapilla, Puri and
Simard 2006, High Performance Convolutional Neural Networks for Document Processing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygraph.kernels.geometry import Array, Geometry, carve, put_into_border, room, windows

# The columns of a block are written and read once: they should still be in the L2 cache
# (1 to 2 MiB a core) when the matrix product reads them.
_COLUMN_BYTES = 1 << 20
# Below so many columns a matrix product spends its time on reading the weights again.
_FEWEST_COLUMNS = 256


class Columns:
    """The blocks of a convolution's columns: of some rows of one image, or of some whole images."""

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.row = g.positions // g.out[0]
        wanted = max(_COLUMN_BYTES // (g.groups * g.depth * g.dtype.itemsize), _FEWEST_COLUMNS)
        self.rows = min(max(wanted // self.row, 1), g.out[0])
        self.images = min(max(wanted // g.positions, 1), g.batch) if self.rows == g.out[0] else 1
        self.padded = (self.images, g.channels, *g.padded) if g.is_padded else (0,)
        self.columns = (self.images * g.groups * g.depth * self.rows * self.row,)

    def blocks(self, x: Array, padded: Array, columns: Array) -> Iterator[tuple[slice, slice, Array]]:
        """Fills the columns block after block.

        Args:
            x: [batch, channels, *sizes].
            padded: scratch of shape `self.padded`.
            columns: scratch of shape `self.columns`.

        Yields:
            images, positions, and their columns [images, groups, depth, positions].
        """
        g = self.g
        for first in range(0, g.batch, self.images):
            block = x[first : first + self.images]
            if g.is_padded:
                put_into_border(block, g.padding, padded[: len(block)])
                block = padded[: len(block)]
            view = windows(block, g)
            axis = view.ndim - len(g.out)
            for top in range(0, g.out[0], self.rows):
                part = view[(slice(None),) * axis + (slice(top, top + self.rows),)]
                filled = columns[: part.size]
                filled.reshape(part.shape)[...] = part
                positions = slice(top * self.row, (top + part.shape[axis]) * self.row)
                yield slice(first, first + len(block)), positions, filled.reshape(len(block), g.groups, g.depth, -1)


class Im2col:
    """y = w * x + b for any geometry."""

    algorithm = "im2col"

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.columns = Columns(g)
        self.workspace = room(g.dtype, self.columns.padded, self.columns.columns)

    def run(self, x: Array, w: Array, b: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [batch, filters, *out], C-contiguous."""
        g = self.g
        scratch = carve(workspace, g.dtype, self.columns.padded, self.columns.columns)
        matrix = g.matrix(w)
        bias = None if b is None else b.reshape(g.groups, -1, 1)
        y = y.reshape(g.batch, g.groups, g.filters // g.groups, g.positions)
        for images, positions, columns in self.columns.blocks(x, *scratch):
            block = y[images, :, :, positions]
            np.matmul(matrix, columns, out=block)
            if bias is not None:
                block += bias


class Im2colWeightGrad:
    """w = the sum over images and positions of g times the columns of x."""

    algorithm = "im2col"

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.columns = Columns(g)
        self.product = (self.columns.images, g.groups, g.filters // g.groups, g.depth)
        self.workspace = room(g.dtype, self.columns.padded, self.columns.columns, self.product)

    def run(self, x: Array, cotangent: Array, w: Array, workspace: Array) -> None:
        """Computes w [filters, channels / groups, *kernel], C-contiguous."""
        g = self.g
        *scratch, product = carve(workspace, g.dtype, self.columns.padded, self.columns.columns, self.product)
        cotangent = cotangent.reshape(g.batch, g.groups, g.filters // g.groups, g.positions)
        w = g.matrix(w)
        w[...] = 0
        for images, positions, columns in self.columns.blocks(x, *scratch):
            block = cotangent[images, :, :, positions]
            out = product[: len(block)]
            np.matmul(block, columns.swapaxes(2, 3), out=out)
            for image in out:
                w += image


class Pointwise:
    """y = w x + b at every position: kernel 1, no padding."""

    algorithm = "gemm"

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.gathered = (0,) if g.is_dense else (g.batch, g.channels, *g.out)
        self.workspace = room(g.dtype, self.gathered)

    def run(self, x: Array, w: Array, b: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [batch, filters, *out], C-contiguous."""
        g = self.g
        if not g.is_dense:
            (gathered,) = carve(workspace, g.dtype, self.gathered)
            steps = [slice(None, None, s) for s in g.stride]
            gathered[...] = x[(slice(None), slice(None), *steps)]
            x = gathered
        matrix = x.reshape(g.batch, g.groups, g.depth, g.positions)
        y = y.reshape(g.batch, g.groups, g.filters // g.groups, g.positions)
        np.matmul(g.matrix(w), matrix, out=y)
        if b is not None:
            y += b.reshape(g.groups, -1, 1)
