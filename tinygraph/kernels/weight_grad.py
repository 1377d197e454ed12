"""The gradient of a convolution's weight as matrix products of columns, block by block, see columns.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import numpy as np

from tinygraph.kernels.columns import Block, Columns, Correlation
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.im2col import correlation, grouped, sharing
from tinygraph.kernels.scratch import Array, Bound, Index, carve, room
from tinygraph.kernels.workers import shares, together

# The gradient of a weight of more numbers is divided by channels, if each worker gets some.
_LARGE_WEIGHT = 1 << 16
_CHANNELS_OF_A_WORKER = 8


@dataclass(frozen=True)
class _Part:
    """What one worker does of a weight gradient: some blocks for some channels."""

    channels: slice
    columns: Columns
    blocks: Sequence[Block]


class WeightGrad:
    """w = the sum over images and positions of g times the columns of x.

    A small weight's gradient is summed by each worker over some of the images, transposed: the
    products are faster so. A large one's would take long to transpose and to add up; there each
    worker takes some of the channels.
    """

    algorithm = "im2col"

    def __init__(self, g: Geometry, workers: int = 1) -> None:
        self.g = g
        c = correlation(g)
        self.by_channels = g.filters * g.depth >= _LARGE_WEIGHT and c.channels >= _CHANNELS_OF_A_WORKER * workers
        self.parts = list(_parts(c, sharing(g, workers), self.by_channels))
        self.scratch = [shape for part in self.parts for shape in _scratch(part)]
        self.workspace = room(g.dtype, *self.scratch)
        self.bound = Bound(self._bind)

    def run(self, x: Array, cotangent: Array, w: Array, workspace: Array) -> None:
        """Computes w [filters, channels / groups, *kernel], C-contiguous."""
        g = self.g
        x, cotangent, w = grouped(x, g.groups), grouped(cotangent, g.groups), w.reshape(g.groups, -1, *w.shape[1:])
        sums = self.bound(workspace)
        together([partial(part.run, x, cotangent, w) for part in sums])
        if not self.by_channels:
            first, *others = sums
            for other in others:
                first.total += other.total
            first.store(w)

    def _bind(self, workspace: Array) -> list[_Sum]:
        memory = list(carve(workspace, self.g.dtype, *self.scratch))
        return [_Sum(part, not self.by_channels, *memory[6 * i : 6 * i + 6]) for i, part in enumerate(self.parts)]


def _parts(c: Correlation, workers: int, by_channels: bool) -> Iterator[_Part]:
    if by_channels:
        for channels in shares(c.channels, workers):
            part = replace(c, channels=channels.stop - channels.start)
            columns = Columns(part, 1, channels_first=True, terms=_weight(part))
            yield _Part(channels, columns, columns.blocks)
    else:
        columns = Columns(c, workers, channels_first=True, terms=_weight(c))
        for blocks in shares(len(columns.blocks), workers):
            yield _Part(slice(None), columns, columns.blocks[blocks])


def _weight(c: Correlation) -> int:
    """Numbers of the weight."""
    return c.groups * c.filters * c.channels * prod(c.taps)


def _scratch(part: _Part) -> Iterator[tuple[int, ...]]:
    """Columns, a side of the products, the products of a block, their sum, and the sum of all blocks."""
    columns, c = part.columns, part.columns.c
    weight, images = _weight(c), 1 if columns.joined else columns.blocks[0].size
    yield from columns.shapes
    yield (c.groups * c.filters * columns.positions,)
    yield (images * weight if images > 1 else 0,)
    yield (weight if len(part.blocks) > 1 else 0,)
    yield (weight,)


class _Sum:
    """A part's sum of products, in scratch memory of the shapes `_scratch`."""

    def __init__(
        self,
        part: _Part,
        transposed: bool,
        frame: Array,
        gathered: Array,
        sides: Array,
        products: Array,
        sums: Array,
        total: Array,
    ) -> None:
        self.columns = columns = part.columns
        self.channels, self.transposed = part.channels, transposed
        c = columns.c
        matrix = (c.groups, columns.depth, c.filters) if transposed else (c.groups, c.filters, columns.depth)
        self.total = total.reshape(columns.products, *matrix)
        self.steps = []
        for before, block in zip([None, *part.blocks], part.blocks, strict=False):
            filling = columns.bind(block, before, frame, gathered)
            side = columns.side(block, sides)
            target = self.total if before is None else sums.reshape(self.total.shape)
            terms = target[:, np.newaxis]
            if len(side) > 1:
                terms = products[: len(side) * total.size].reshape(columns.products, len(side), *matrix)
            self.steps.append((block, filling, side, columns.images_of(side, block), terms, target))

    def run(self, x: Array, cotangent: Array, w: Array) -> None:
        """Computes `total`, and its part of w if it has channels of its own.

        Args:
            x: [batch, groups, channels, *sizes].
            cotangent: [batch, groups, filters, *out].
            w: [groups, filters, channels, *kernel].
        """
        x = x[:, :, self.channels]
        for block, filling, memory, by_image, terms, target in self.steps:
            source = cotangent[block.images, :, :, block.rows]
            if self.columns.joined or not source[0, 0, 0].flags.c_contiguous:
                by_image[...] = source
                side = memory
            else:
                side = source.reshape(*source.shape[:3], -1)
            filling.fill(x)
            for view, term in zip(filling.views, terms, strict=True):
                if self.transposed:
                    np.matmul(view, side.swapaxes(-1, -2), out=term)
                else:
                    np.matmul(side, view.swapaxes(-1, -2), out=term)
            if len(memory) > 1:
                np.add.reduce(terms, 1, out=target)
            if target is not self.total:
                self.total += target
        if not self.transposed:
            self.store(w)

    def store(self, w: Array) -> None:
        """Writes `total` where it belongs."""
        columns, c = self.columns, self.columns.c
        inner = (c.channels, *columns.taps) if columns.channels_first else (*columns.taps, c.channels)
        if self.transposed:
            sums = np.moveaxis(self.total.reshape(columns.products, c.groups, *inner, c.filters), -1, 2)
        else:
            sums = self.total.reshape(columns.products, c.groups, c.filters, *inner)
        if not columns.channels_first:
            sums = np.moveaxis(sums, -1, 3)
        for number, place, tap in columns.every_tap():
            target: Index = (slice(None), slice(None), self.channels, *tap)
            source: Index = (number, *(slice(None),) * 3, *place)
            w[target] = sums[source]
