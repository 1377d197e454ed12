"""Columns of a correlation: for each window the numbers that it meets, as the side of a matrix product.

The plain way (im2col) makes a column of all taps of a window, so that one product is the result,
but copies every number as often as there are taps. Where channels are many, the taps of the first
spatial axis are left out: the columns hold whole lines, and a product for each of those taps reads
the same columns some lines further on. That copies a third as much for a kernel of 3 x 3; the
products are added up while they are in the cache.

Threads that work on different blocks wait for one another whenever Python runs between NumPy calls.
So the calls are few, and the views that they work on are made once for a piece of scratch memory.

Source: Chellapilla, Puri and Simard 2006, High Performance Convolutional Neural Networks for
Document Processing (im2col).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.scratch import Array, Index

# Columns and products of a block should stay in the second-level cache of a core (1 to 2 MiB).
_BLOCK_BYTES = 3 << 19
# Products of fewer positions spend their time on reading the weights again: images are put side by side.
_FEW_POSITIONS = 256
_FEWEST_POSITIONS = 64


@dataclass(frozen=True)
class Axis:
    """One spatial axis: at tap t, window o meets the input at o * stride + t * step + start."""

    size: int
    count: int
    stride: int
    taps: int
    step: int
    start: int

    @property
    def reach(self) -> int:
        """Positions from the first to the last that any window meets."""
        return (self.count - 1) * self.stride + (self.taps - 1) * self.step + 1

    def part(self, windows: slice) -> Axis:
        """The same for some of the windows."""
        return replace(self, count=windows.stop - windows.start, start=self.start + windows.start * self.stride)


@dataclass(frozen=True)
class Correlation:
    """y[n, g, f, o] = sum over c, t of w[g, f, c, t] x[n, g, c, o stride + t step + start], zeros beside x.

    Attributes:
        batch: images n.
        groups: independent parts g of the channels.
        channels: input channels c of each group.
        filters: output channels f of each group.
        axes: the spatial axes.
        dtype: of all arrays.
    """

    batch: int
    groups: int
    channels: int
    filters: int
    axes: tuple[Axis, ...]
    dtype: np.dtype[Any]

    @property
    def taps(self) -> tuple[int, ...]:
        """Taps on each axis."""
        return tuple(axis.taps for axis in self.axes)

    @property
    def out(self) -> tuple[int, ...]:
        """Windows on each axis."""
        return tuple(axis.count for axis in self.axes)

    @property
    def keeps_lines(self) -> bool:
        """Whether to leave out the taps of the first axis: if that saves more copies than it costs additions."""
        first, *rest = self.taps
        saved = (first - 1) * prod(rest) * self.channels
        return saved > first * self.filters and prod(self.out) >= _FEWEST_POSITIONS


@dataclass(frozen=True)
class Block:
    """Some whole images, or some rows (windows along the first axis) of one image."""

    images: slice
    rows: slice
    axes: tuple[Axis, ...]

    @property
    def size(self) -> int:
        """How many images."""
        return int(self.images.stop - self.images.start)

    @property
    def positions(self) -> int:
        """How many windows of one image."""
        return prod(axis.count for axis in self.axes)


@dataclass(frozen=True)
class Filling:
    """How a block of the input becomes columns, as views of scratch memory.

    Attributes:
        index: the part of the input that the windows reach.
        zeros: memory to be set to zero before it, if any.
        inside: where that part goes; None if the windows reach no further than the input.
        windows: what the taps meet there.
        target: where those numbers go, with as many axes.
        views: the columns, [images or 1, groups, depth, positions] for each product.
        windows_of: the windows of a part that goes nowhere else.
    """

    index: Index
    zeros: Array | None
    inside: Array | None
    windows: Array | None
    target: Array
    views: list[Array]
    windows_of: Callable[[Array], Array]

    def fill(self, x: Array) -> None:
        """Makes the columns of x [batch, groups, channels, *sizes]."""
        part = x[self.index]
        if self.inside is None:
            self.target[...] = self.windows_of(part)
            return
        if self.zeros is not None:
            self.zeros.fill(0)
        self.inside[...] = part
        self.target[...] = self.windows


def _even(count: int, most: int) -> int:
    """The size of parts of a count, nearly all of one size and none above `most`."""
    return -(-count // -(-count // max(most, 1)))


class Columns:
    """The columns of a correlation, a block at a time.

    Args:
        c: the correlation.
        workers: how many blocks are done at the same time; at least that many are made if there is enough to do.
        channels_first: the depth of the columns is [channels, *taps], as in a weight, and not [*taps, channels].
        terms: numbers that stand beside a block's columns in the cache, for each of its images.

    Attributes:
        products: how many products make the result: taps of the first axis, or 1.
        taps: those that are in the depth.
        depth: numbers of a column.
        joined: the images of a block lie side by side in a single product; else each has its own.
        blocks: all of them.
        shapes: of the scratch memory that `fill` needs, flat.
    """

    def __init__(self, c: Correlation, workers: int, channels_first: bool, terms: int = 0) -> None:
        self.c = c
        first, *rest = c.axes
        self.keeps_lines = c.keeps_lines
        self.channels_first = channels_first and not self.keeps_lines
        self.products = first.taps if self.keeps_lines else 1
        self.taps = c.taps[1:] if self.keeps_lines else c.taps
        self.depth = c.channels * prod(self.taps)
        self.row = prod(c.out[1:])
        # Lines that a tap meets lie `stride` apart: those of one remainder stand together.
        self.beyond = (first.taps - 1) * first.step // first.stride if self.keeps_lines else 0
        self.remainders = min(first.stride, (first.taps - 1) * first.step + 1) if self.keeps_lines else 1
        results = c.filters * (1 + self.products)
        bytes_of_row = c.groups * (self.depth * self.remainders + results) * self.row * c.dtype.itemsize
        bytes_of_row += terms * c.dtype.itemsize // first.count
        few = 1 if self.keeps_lines else -(-_FEW_POSITIONS // self.row)
        fitting = max(_BLOCK_BYTES // bytes_of_row, few, 1)
        rows = min(fitting, first.count, max(few, -(-c.batch * first.count // workers)))
        images = _even(-(-c.batch // workers), fitting // first.count) if rows == first.count else 1
        rows = _even(first.count, rows)
        self.joined = not self.keeps_lines and images > 1 and prod(c.out) < _FEW_POSITIONS
        self.blocks = [
            Block(slice(i, min(i + images, c.batch)), part, (first.part(part), *rest))
            for i in range(0, c.batch, images)
            for part in (slice(r, min(r + rows, first.count)) for r in range(0, first.count, rows))
        ]
        largest = self.blocks[0]
        self.positions = images * largest.positions
        frame = images * c.groups * c.channels * prod(self._frame(largest))
        columns = images * c.groups * self.depth * self._lines(largest) * self.row
        self.shapes = (0 if self._inside(largest) and len(self.blocks) == 1 else frame,), (columns,)

    def _lines(self, block: Block) -> int:
        """Lines of a block's columns."""
        return self.remainders * (block.axes[0].count + self.beyond)

    def _frame(self, block: Block) -> tuple[int, ...]:
        """Spatial sizes of what a block's windows reach."""
        first, *rest = (axis.reach for axis in block.axes)
        if self.keeps_lines:
            first = block.axes[0].stride * (block.axes[0].count + self.beyond)
        return first, *rest

    def _inside(self, block: Block) -> bool:
        """Whether that lies on the input."""
        frame = zip(self._frame(block), block.axes, strict=True)
        return all(axis.start >= 0 and axis.start + reach <= axis.size for reach, axis in frame)

    def bind(self, block: Block, before: Block | None, frame: Array, memory: Array) -> Filling:
        """How a block of the input becomes columns that lie in some memory.

        Args:
            block: which.
            before: the block that the memory is used for just before, if any.
            frame: scratch memory of the first of `shapes`.
            memory: of the second.
        """
        c, n, lines = self.c, block.size, block.axes[0].count
        reach = self._frame(block)
        met_ends = [(max(a.start, 0), min(a.start + size, a.size)) for size, a in zip(reach, block.axes, strict=True)]
        met = [slice(first, max(first, end)) for first, end in met_ends]
        zeros = inside = source = None
        if not self._inside(block):
            framed = frame[: n * c.groups * c.channels * prod(reach)].reshape(n, c.groups, c.channels, *reach)
            at = [slice(m.start - a.start, m.stop - a.start) for m, a in zip(met, block.axes, strict=True)]
            within: Index = (..., *at)
            inside = framed[within]
            # Memory that a block with the same borders has used has zeros there.
            zeros = framed if before is None or before.rows != block.rows else None
            source = self._windows(framed, block)
        columns = memory[: n * c.groups * self.depth * self._lines(block) * self.row]
        target = self._by_image(columns, n, self._shape(block))
        matrices = columns.reshape(1 if self.joined else n, c.groups, self.depth, -1)
        starts = [0]
        if self.keeps_lines:
            first = c.axes[0]
            for tap in range(1, first.taps):
                ahead, remainder = divmod(tap * first.step, first.stride)
                starts.append((remainder * (lines + self.beyond) + ahead) * self.row)
        width = block.positions if self.keeps_lines else matrices.shape[-1]
        views = [matrices[..., start : start + width] for start in starts]
        index: Index = (block.images, ..., *met)
        return Filling(index, zeros, inside, source, target, views, partial(self._windows, block=block))

    def _shape(self, block: Block) -> tuple[int, ...]:
        """Taps and windows of a block's columns."""
        first, out = block.axes[0].count, self.c.out[1:]
        lines = (self.remainders, first + self.beyond) if self.keeps_lines else (first,)
        return (*self.taps, *lines, *out)

    def _windows(self, framed: Array, block: Block) -> Array:
        """What each tap meets, as a view [n, groups, channels, *taps, *lines, *out]."""
        first, *rest = block.axes
        line, *along = framed.strides[3:]
        tap_steps = [step * axis.step for step, axis in zip(along, rest, strict=True)]
        if not self.keeps_lines:
            tap_steps.insert(0, line * first.step)
        steps = (line, line * first.stride) if self.keeps_lines else (line * first.stride,)
        window_steps = [step * axis.stride for step, axis in zip(along, rest, strict=True)]
        return np.lib.stride_tricks.as_strided(
            framed,
            (*framed.shape[:3], *self._shape(block)),
            (*framed.strides[:3], *tap_steps, *steps, *window_steps),
            writeable=False,
        )

    def _by_image(self, columns: Array, n: int, shape: tuple[int, ...]) -> Array:
        """Columns, as a flat array, seen as [n, groups, channels, *taps, *lines, *out]."""
        groups, channels = self.c.groups, self.c.channels
        taps, lines = shape[: len(self.taps)], shape[len(self.taps) :]
        inner = (channels, *taps) if self.channels_first else (*taps, channels)
        if self.joined:
            view = np.moveaxis(columns.reshape(groups, *inner, n, *lines), 1 + len(inner), 0)
        else:
            view = columns.reshape(n, groups, *inner, *lines)
        return view if self.channels_first else np.moveaxis(view, 1 + len(inner), 2)

    def side(self, block: Block, memory: Array, *outer: int) -> Array:
        """Memory as results of the block, or several of them: [*outer, images or 1, groups, filters, *]."""
        c = self.c
        n = 1 if self.joined else block.size
        size = prod(outer) * block.size * c.groups * c.filters * block.positions
        return memory[:size].reshape(*outer, n, c.groups, c.filters, -1)

    def images_of(self, side: Array, block: Block) -> Array:
        """Results of a block as [n, groups, filters, rows, *out]."""
        c = self.c
        out = [axis.count for axis in block.axes]
        if not self.joined:
            return side.reshape(block.size, c.groups, c.filters, *out)
        return np.moveaxis(side.reshape(c.groups, c.filters, block.size, *out), 2, 0)

    def every_tap(self) -> Iterator[tuple[int, tuple[int, ...], tuple[int, ...]]]:
        """Each tap: its product, its place in the depth, and itself."""
        for tap in np.ndindex(*self.c.taps):
            yield (tap[0], tap[1:], tap) if self.keeps_lines else (0, tap, tap)
