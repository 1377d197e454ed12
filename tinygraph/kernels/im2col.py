"""Convolution as matrix products of columns, block by block, see columns.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tinygraph.kernels.columns import Axis, Block, Columns, Correlation, Filling
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.scratch import Array, Bound, Index, carve, room
from tinygraph.kernels.workers import shares, together

# Weights of more numbers are packed by all workers.
_LARGE_WEIGHT = 1 << 16
# Fewer multiply-adds are done before another thread has begun.
_WORTH_SHARING = 1 << 19


def sharing(g: Geometry, workers: int) -> int:
    """How many workers a convolution is worth."""
    return workers if g.batch * g.filters * g.positions * g.depth >= _WORTH_SHARING else 1


def correlation(g: Geometry) -> Correlation:
    """A convolution as a correlation."""
    axes = zip(g.sizes, g.out, g.stride, g.kernel, g.dilation, g.padding, strict=True)
    return Correlation(
        g.batch,
        g.groups,
        g.channels // g.groups,
        g.filters // g.groups,
        tuple(Axis(n, o, s, k, d, -front) for n, o, s, k, d, (front, _) in axes),
        g.dtype,
    )


def grouped(x: Array, groups: int) -> Array:
    """[N, C, *] as [N, groups, C / groups, *]."""
    return x.reshape(len(x), groups, -1, *x.shape[2:])


class Products:
    """Blocks of a correlation: columns, products with the weight, their sum.

    Args:
        c: the correlation.
        workers: see Columns.
        channels_first: see Columns.
        direct: whether the products can be written where the result belongs.

    Attributes:
        scratch: shapes of the memory that each worker needs.
    """

    def __init__(self, c: Correlation, workers: int, channels_first: bool, direct: bool) -> None:
        self.c = c
        self.columns = columns = Columns(c, workers, channels_first)
        self.direct = direct and not columns.joined
        self.whole = (slice(None),) * (len(c.axes) - 1)
        side = c.groups * c.filters * columns.positions
        terms = columns.products if columns.products > 1 else 0
        self.scratch = (*columns.shapes, (terms * side,), (0,) if self.direct else (side,))
        self.parts = [columns.blocks[part] for part in shares(len(columns.blocks), workers)]

    def bind(self, blocks: Sequence[Block], memory: Sequence[Array]) -> list[Step]:
        """How some blocks are computed with memory of the shapes `scratch`."""
        columns = self.columns
        frame, gathered, terms, sides = memory
        steps = []
        for before, block in zip([None, *blocks], blocks, strict=False):
            filling = columns.bind(block, before, frame, gathered)
            products = columns.side(block, terms, columns.products) if columns.products > 1 else None
            side = None if self.direct else columns.side(block, sides)
            by_image = None if side is None else columns.images_of(side, block)
            steps.append(Step(filling, products, side, by_image, (block.images, ..., block.rows, *self.whole)))
        return steps


@dataclass(frozen=True)
class Step:
    """A block of a correlation: columns, products with the weight, their sum.

    Attributes:
        filling: makes the columns.
        products: memory of those that are added up; None if there is one.
        side: memory of the result [images or 1, groups, filters, positions]; None if it can be made in its place.
        by_image: the same memory, as it stands in the result.
        place: of the result.
    """

    filling: Filling
    products: Array | None
    side: Array | None
    by_image: Array | None
    place: Index

    def run(self, x: Array, matrices: Array, b: Array | None, y: Array) -> None:
        """Computes a part of y [batch, groups, filters, *out].

        Args:
            x: [batch, groups, channels, *sizes].
            matrices: the weight, [products, groups, filters, depth].
            b: [groups, filters, 1], or None.
            y: the result.
        """
        self.filling.fill(x)
        target = y[self.place]
        side = target.reshape(*target.shape[:3], -1) if self.side is None else self.side
        if self.products is None:
            np.matmul(matrices[0], self.filling.views[0], out=side)
        else:
            for matrix, view, product in zip(matrices, self.filling.views, self.products, strict=True):
                np.matmul(matrix, view, out=product)
            np.add.reduce(self.products, 0, out=side)
        if b is not None:
            side += b
        if self.by_image is not None:
            target[...] = self.by_image


def run_steps(steps: Sequence[Step], x: Array, matrices: Array, b: Array | None, y: Array) -> None:
    """One step after the other."""
    for step in steps:
        step.run(x, matrices, b, y)


class Im2col:
    """y = w * x + b for any geometry."""

    algorithm = "im2col"

    def __init__(self, g: Geometry, workers: int = 1) -> None:
        self.g = g
        self.workers = sharing(g, workers)
        self.products = products = Products(correlation(g), self.workers, channels_first=True, direct=True)
        self.packed = (0,) if products.columns.channels_first else (g.filters * g.depth,)
        self.scratch = (self.packed, *products.scratch * len(products.parts))
        self.workspace = room(g.dtype, *self.scratch)
        self.bound = Bound(self._bind)

    def run(self, x: Array, w: Array, b: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [batch, filters, *out], C-contiguous."""
        g = self.g
        packed, parts = self.bound(workspace)
        x, y = grouped(x, g.groups), grouped(y, g.groups)
        bias = None if b is None else b.reshape(g.groups, -1, 1)
        matrices = self._matrices(w, packed)
        together([partial(run_steps, steps, x, matrices, bias, y) for steps in parts])

    def _bind(self, workspace: Array) -> tuple[Array, list[list[Step]]]:
        packed, *memory = carve(workspace, self.g.dtype, *self.scratch)
        products = self.products
        return packed, [products.bind(blocks, memory[4 * i : 4 * i + 4]) for i, blocks in enumerate(products.parts)]

    def _matrices(self, w: Array, memory: Array) -> Array:
        """The weight as [products, groups, filters, depth], in the order of the columns' depth."""
        g, columns = self.g, self.products.columns
        if columns.channels_first:
            return g.matrix(w)[np.newaxis]
        channels = g.channels // g.groups
        packed = memory.reshape(columns.products, g.filters, *columns.taps, channels)

        def pack(filters: slice) -> None:
            for number, place, tap in columns.every_tap():
                target: Index = (number, filters, *place)
                source: Index = (filters, slice(None), *tap)
                packed[target] = w[source]

        together([partial(pack, part) for part in shares(g.filters, packers(w, self.workers))])
        return packed.reshape(columns.products, g.groups, -1, columns.depth)


def packers(w: Array, workers: int) -> int:
    """How many workers the packing of a weight is worth."""
    return workers if w.size >= _LARGE_WEIGHT else 1


class Pointwise:
    """y = w x + b at every position: kernel 1, no padding."""

    algorithm = "gemm"

    def __init__(self, g: Geometry, workers: int = 1) -> None:
        self.g = g
        self.gathered = (0,) if g.is_dense else (g.batch, g.channels, *g.out)
        self.workspace = room(g.dtype, self.gathered)
        workers = sharing(g, workers)
        self.images = shares(g.batch, workers) if g.batch >= workers else [slice(0, g.batch)]
        self.filters = shares(g.filters // g.groups, workers // len(self.images) if g.is_dense else 1)

    def run(self, x: Array, w: Array, b: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [batch, filters, *out], C-contiguous."""
        g = self.g
        (gathered,) = carve(workspace, g.dtype, self.gathered)
        y, w = g.matrices(y), g.matrix(w)
        b = None if b is None else b.reshape(g.groups, -1, 1)
        if not g.is_dense:
            steps = [slice(None, None, s) for s in g.stride]
            x = x[(slice(None), slice(None), *steps)]

        def run(images: slice, filters: slice) -> None:
            part = x[images]
            if not g.is_dense:
                gathered[images] = part
                part = gathered[images]
            out = y[images, :, filters]
            np.matmul(w[:, filters], part.reshape(len(part), g.groups, g.depth, g.positions), out=out)
            if b is not None:
                out += b[:, filters]

        together([partial(run, images, filters) for images in self.images for filters in self.filters])
