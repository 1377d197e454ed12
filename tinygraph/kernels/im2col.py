"""Convolution and its weight gradient as matrix products of columns, block by block.

A column holds the numbers of one window, so that a block of columns [depth, positions] times
the weight matrix [filters, depth] is a block of the result. Source: Chellapilla, Puri and
Simard 2006, High Performance Convolutional Neural Networks for Document Processing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygraph.kernels.geometry import Geometry, put_into_border, windows
from tinygraph.kernels.scratch import Array, carve, room

# The columns of a block are written and read once: they should still be in the L2 cache
# (1 to 2 MiB a core) when the matrix product reads them.
_COLUMN_BYTES = 1 << 20
# Below so many columns a matrix product spends its time on reading the weights again.
_FEWEST_COLUMNS = 256


class Blocks:
    """How a convolution's columns are divided: some rows of one image, or some whole images.

    Columns are [products, groups, depth, positions]. Each image has a product of its own; images
    that are too small for one lie side by side in a single product.
    """

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.row = g.positions // g.out[0]
        wanted = max(_COLUMN_BYTES // (g.groups * g.depth * g.dtype.itemsize), _FEWEST_COLUMNS)
        self.rows = min(max(wanted // self.row, 1), g.out[0])
        self.images = min(max(wanted // g.positions, 1), g.batch) if self.rows == g.out[0] else 1
        self.joined = self.images > 1 and g.positions < _FEWEST_COLUMNS
        self.padded = (self.images, g.channels, *g.padded) if g.is_padded else (0,)
        self.columns = (self.images * g.groups * g.depth * self.rows * self.row,)
        self.sides = (self.images * g.filters * g.positions,) if self.joined else (0,)

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        """The images and rows of each block."""
        batch, height = self.g.batch, self.g.out[0]
        for first in range(0, batch, self.images):
            for top in range(0, height, self.rows):
                yield slice(first, min(first + self.images, batch)), slice(top, min(top + self.rows, height))

    def part(self, y: Array, images: slice, rows: slice) -> Array:
        """What a block makes or reads of y [batch, groups, filters / groups, positions]."""
        return y[images, :, :, rows.start * self.row : rows.stop * self.row]

    def side(self, part: Array, scratch: Array) -> Array:
        """Room for such a part as one side of the products: itself, or scratch of shape `sides`."""
        if not self.joined:
            return part
        n, groups, filters, positions = part.shape
        return scratch[: part.size].reshape(1, groups, filters, n * positions)

    def images_of(self, side: Array, part: Array) -> Array:
        """A side of the products, image by image as in the part."""
        if not self.joined:
            return side
        n, groups, filters, positions = part.shape
        return np.moveaxis(side.reshape(groups, filters, n, positions), 2, 0)

    def windows(self, columns: Array, images: slice, rows: slice) -> Array:
        """Columns, as a flat array, window by window: [n, channels, *kernel, rows, ...]."""
        g = self.g
        n, out = images.stop - images.start, (rows.stop - rows.start, *g.out[1:])
        if not self.joined:
            return columns.reshape(n, g.channels, *g.kernel, *out)
        return np.moveaxis(columns.reshape(g.channels, *g.kernel, n, *out), 1 + len(out), 0)

    def matrices(self, columns: Array, images: slice) -> Array:
        """Columns, as a flat array, as [products, groups, depth, positions]."""
        products = 1 if self.joined else images.stop - images.start
        return columns.reshape(products, self.g.groups, self.g.depth, -1)

    def fill(self, x: Array, padded: Array, columns: Array) -> Iterator[tuple[slice, slice, Array]]:
        """Block after block, its images and rows and the columns of x there.

        Args:
            x: [batch, channels, *sizes].
            padded: scratch of that shape.
            columns: scratch of that shape.
        """
        g = self.g
        view = x
        for images, rows in self:
            if rows.start == 0:
                block = x[images]
                if g.is_padded:
                    put_into_border(block, g.padding, padded[: len(block)])
                    block = padded[: len(block)]
                view = windows(block, g)
            part = view[(slice(None),) * (2 + len(g.kernel)) + (rows,)]
            filled = columns[: part.size]
            self.windows(filled, images, rows)[...] = part
            yield images, rows, self.matrices(filled, images)


class Im2col:
    """y = w * x + b for any geometry."""

    algorithm = "im2col"

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.blocks = blocks = Blocks(g)
        self.scratch = (blocks.padded, blocks.columns, blocks.sides)
        self.workspace = room(g.dtype, *self.scratch)

    def run(self, x: Array, w: Array, b: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [batch, filters, *out], C-contiguous."""
        g = self.g
        padded, filled, sides = carve(workspace, g.dtype, *self.scratch)
        matrix, y = g.matrix(w), g.matrices(y)
        bias = None if b is None else b.reshape(g.groups, -1, 1)
        for images, rows, columns in self.blocks.fill(x, padded, filled):
            part = self.blocks.part(y, images, rows)
            product = self.blocks.side(part, sides)
            np.matmul(matrix, columns, out=product)
            if bias is not None:
                product += bias
            if product is not part:
                part[...] = self.blocks.images_of(product, part)


class Im2colWeightGrad:
    """w = the sum over images and positions of g times the columns of x."""

    algorithm = "im2col"

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.blocks = blocks = Blocks(g)
        products = 1 if blocks.joined else blocks.images
        self.scratch = (blocks.padded, blocks.columns, blocks.sides, (products, *g.matrix_shape))
        self.workspace = room(g.dtype, *self.scratch)

    def run(self, x: Array, cotangent: Array, w: Array, workspace: Array) -> None:
        """Computes w [filters, channels / groups, *kernel], C-contiguous."""
        g = self.g
        padded, filled, sides, products = carve(workspace, g.dtype, *self.scratch)
        w, cotangent = g.matrix(w), g.matrices(cotangent)
        w[...] = 0
        for images, rows, columns in self.blocks.fill(x, padded, filled):
            part = self.blocks.part(cotangent, images, rows)
            side = self.blocks.side(part, sides)
            if side is not part:
                self.blocks.images_of(side, part)[...] = part
            out = products[: len(side)]
            np.matmul(side, columns.swapaxes(2, 3), out=out)
            for product in out:
                w += product


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
        y = g.matrices(y)
        np.matmul(g.matrix(w), matrix, out=y)
        if b is not None:
            y += b.reshape(g.groups, -1, 1)
