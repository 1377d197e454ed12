"""Convolution with 3 x 3 kernels by Winograd's minimal filtering: fewer products for a few more digits of error.

A tile of m x m results is made of (m + 2)^2 numbers of the input. Input and weight are transformed so that
one product for each of those numbers is enough:

    y = A^T [sum over channels of (G w G^T) * (B^T d B)] A,

(m + 2)^2 products for each tile, channel and filter instead of 9 m^2: 2.25 times fewer for m = 2, 4 times for m = 4.

The products are matrix products of all tiles and channels, one for each of the (m + 2)^2 places. The transforms are
matrix products too, along one axis at a time: of lines as they stand in the frame, then of what their tiles meet,
which is copied for that in runs of all channels.

Errors in single precision, input and weight of variance 1, maps of 28 x 28, against double precision, in units of
2^-23 times the standard deviation of the results (root of the mean square, largest of 50,000):

| channels | im2col | m = 2 | m = 4 |
|---|---|---|---|
| 64 | 2.1, 15 | 2.2, 12 | 9.2, 88 |
| 128 | 2.9, 22 | 3.0, 22 | 12.7, 120 |
| 256 | 3.0, 16 | 4.2, 23 | 17.7, 163 |
| 512 | 3.0, 16 | 5.8, 38 | 24.5, 255 |

With the points 0, 1, -1, 2, -2 instead of those below, those of m = 4 are 1.5 and 2.5 times as large.

Sources: Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks; Barabasz et al. 2020, Error Analysis
and Improving the Accuracy of Winograd Convolution for Deep Neural Networks (the points). The matrices are made from
the points by the method of Toom and Cook.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygraph.kernels.channels_last.blocks import Block
from tinygraph.kernels.channels_last.epilogue import PLAIN, Epilogue, Finisher
from tinygraph.kernels.channels_last.frame import Frame, framed
from tinygraph.kernels.channels_last.grouped import block_diagonal, merged
from tinygraph.kernels.channels_last.product import Make, PackedProduct, packing
from tinygraph.kernels.channels_last.program import Call, Program
from tinygraph.kernels.channels_last.weights import transformed
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.im2col import sharing
from tinygraph.kernels.packed import packed
from tinygraph.kernels.scratch import Array, Bound, carve, room
from tinygraph.kernels.workers import shares

_TAPS = 3
# Where the polynomials are evaluated, beside infinity. The second is 1: see Outlet.bias.
_POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 1.0, -1.0, 0.5, -2.0)}
# The two sides of a band's products should stay in the second-level cache (1 to 2 MiB), ...
_BAND_BYTES = 5 << 18
# ... but where the weight is much larger, it is the one that should not be read too often.
_WEIGHTS_OF_BAND = 2
# OpenBLAS packs matrices whose product takes more multiply-adds, which costs as much as the product when tiles are few.
_UNPACKED = 1_000_000
_FEWEST_FILTERS = 32
# Weights of more bytes are divided among the workers, rather than read by each.
_LARGE_WEIGHT = 3 << 20

# Nanoseconds of one worker for a multiply-add, and for each number copied to columns, made or packed, by im2col; for a
# multiply-add, each number of the transformed input, of the transformed result and of the weight, by Winograd's.
_IM2COL = (0.026, 0.25, 0.5, 0.2)
# What groups add to the first two, for one filter and for one channel of a group.
_IM2COL_OF_GROUPS = (0.25, 2.0)
_WINOGRAD = (0.026, 1.0, 0.65, 0.25)
# What is less accurate has to be faster by this factor.
_GAIN = 1.1


def pays(g: Geometry, workers: int) -> int:
    """The tile with which a convolution is done fastest, 4 or 2; 0 if im2col is faster or it cannot be done so."""
    if not applies(g):
        return 0
    positions, weights = g.batch * g.positions, g.channels // merged(g).groups * g.filters
    products, columns = g.filters * g.depth * positions, g.groups * g.depth * positions
    work = (products, columns, g.filters * positions, g.filters * g.depth)
    best, least = 0, sum(n * cost for n, cost in zip(work, _IM2COL, strict=True))
    if g.groups > 1:
        of_filter, of_channel = _IM2COL_OF_GROUPS
        least += (of_filter * products / g.filters + of_channel * columns / g.channels) * g.groups
    for tile in (2, 4):
        places = (tile + _TAPS - 1) ** 2
        tiles = g.batch * prod(-(-n // tile) for n in g.out) * places
        work = (tiles * weights, tiles * g.channels, tiles * g.filters, places * weights)
        found = sum(n * cost for n, cost in zip(work, _WINOGRAD, strict=True))
        if found * _GAIN < least:
            best, least = tile, found
    return best


def applies(g: Geometry) -> bool:
    """Whether a convolution is one of those that can be done in this way."""
    plain = g.kernel == (_TAPS, _TAPS) and g.stride == g.dilation == (1, 1)
    return plain and g.dtype in (np.float32, np.float64)


def matrices(tile: int) -> tuple[Array, Array, Array]:
    """A^T [tile, t], G [t, 3] and B^T [t, t], t = tile + 2, in float64."""
    points = np.array(_POINTS[tile])
    size = len(points) + 1
    others = [np.delete(points, k) for k in range(len(points))]
    scales = [np.prod(point - other) for point, other in zip(points, others, strict=True)]
    results, weights, inputs = np.zeros((tile, size)), np.zeros((size, _TAPS)), np.zeros((size, size))
    results[:, :-1] = np.vander(points, tile, increasing=True).T
    weights[:-1] = np.vander(points, _TAPS, increasing=True) / np.array(scales)[:, np.newaxis]
    results[-1, -1] = weights[-1, -1] = 1
    for row, other in zip(inputs, others, strict=False):
        row[:-1] = np.poly(other)[::-1]
    inputs[-1] = np.poly(points)[::-1]
    return results, weights, inputs


def _product(matrix: Array, x: Array, y: Array) -> Call:
    """y [..., m, numbers] = matrix [m, t] @ x [..., t, numbers], in parts that OpenBLAS takes as they are."""
    numbers = x.shape[-1]
    least = -(-numbers * matrix.size // _UNPACKED)
    parts = next((n for n in range(least, 2 * least) if numbers % n == 0), 1)
    x, y = (a.reshape(*a.shape[:-1], parts, -1).swapaxes(-3, -2) for a in (x, y))
    return partial(np.matmul, matrix, x, out=y)


def _part(band: Block, images: slice, rows: slice) -> Block:
    """Some images and rows of a band, counted from its first."""
    return Block(_moved(images, band.images.start), _moved(rows, band.rows.start))


def _moved(places: slice, by: int) -> slice:
    return slice(places.start + by, places.stop + by)


@dataclass(frozen=True)
class Intake:
    """How a band of the input is transformed, as views of scratch memory.

    Attributes:
        frame: the part of the input [N, height, width, C] that the tiles meet.
        lines: what the rows of tiles meet, [n, rows, t, numbers].
        along: the same transformed, with the same axes.
        windows: what the tiles meet of that, [t, t, n, rows, tiles, C].
        gathered: where that goes.
        columns: the same as [t, numbers], or a matrix for each line, [t, n, rows, t, numbers].
        transformed: where it goes transformed, with the same axes.
    """

    frame: Frame
    lines: Array
    along: Array
    windows: Array
    gathered: Array
    columns: Array
    transformed: Array

    def calls(self, x: Array, matrix: Array) -> list[Call]:
        """What transforms its part of x with B^T."""
        return [
            *self.frame.calls(x),
            _product(matrix, self.lines, self.along),
            partial(np.copyto, self.gathered, self.windows),
            _product(matrix, self.columns, self.transformed),
        ]


@dataclass(frozen=True)
class Outlet:
    """How some filters of a band of the output are made, as views of scratch memory.

    Attributes:
        weight: [t t, parts, C, filters of a part]; what is packed is in one part.
        tiles: the band of the input, transformed, [t t, 1, tiles, C], or [t t, groups, tiles, C / groups].
        products: [t t, parts, tiles, filters of a part].
        packed: memory for packed tiles.
        rows: the memory of the products, [t, numbers].
        across: transformed on one axis, [m, t, numbers].
        lines: and on both, [m, m, numbers].
        bias: what the bias is added to, [tiles, filters].
        filters: which.
        pieces: of the results: where they stand, and for the output which rows, columns and shape.
    """

    weight: Array | PackedProduct
    tiles: Array
    products: Array
    packed: Array
    rows: Array
    across: Array
    lines: Array
    bias: Array
    filters: slice
    pieces: Sequence[tuple[Array, tuple[slice, ...], tuple[int, ...]]]

    def calls(self, matrix: Array, b: Array | None, residual: Array | None, y: Array, finisher: Finisher) -> list[Call]:
        """What computes its part of y [N, *out, K] with A^T."""
        # All results of a tile have the weight 1 in one product: that of the point 1 on both axes.
        bias = None if b is None else b[self.filters]
        found: list[Call]
        if isinstance(self.weight, PackedProduct):
            found = [partial(self.rows.fill, 0)]
            found += [] if bias is None else [partial(np.copyto, self.bias, bias)]
            found += self.weight.stacked(self.tiles[:, 0], self.products[:, 0], self.packed)
        else:
            found = [partial(np.matmul, self.tiles, self.weight, out=self.products)]
            found += [] if bias is None else [partial(np.add, self.bias, bias, out=self.bias)]
        found.append(_product(matrix, self.rows, self.across.reshape(len(matrix), -1)))
        found.append(_product(matrix, self.across, self.lines))
        if residual is not None:
            for piece, place, shape in self.pieces:
                found.append(partial(np.add, piece, residual[place].reshape(shape), out=piece))
        found += finisher.bounding(self.lines.reshape(-1))
        return found + [partial(np.copyto, y[place].reshape(shape), piece) for piece, place, shape in self.pieces]


class Winograd:
    """y = w * x + b for kernels of 3 x 3, stride 1, dilation 1 and a weight that never changes; groups may be merged.

    Args:
        g: the convolution; of float32 or float64.
        workers: threads that it may use.
        weight: [filters, channels / groups, 3, 3].
        tile: results of a tile on each axis, 4 or 2.
        epilogue: what is done to the results.
    """

    def __init__(self, g: Geometry, workers: int, weight: Array, tile: int = 4, epilogue: Epilogue = PLAIN) -> None:
        groups, g = g.groups, merged(g)
        self.g, self.tile = g, tile
        self.finisher = Finisher(epilogue, g.filters, g.dtype)
        self.algorithm = f"winograd{tile}"
        self.reads_slices = True
        self.size = tile + _TAPS - 1
        self.tiles = tuple(-(-n // tile) for n in g.out)
        self.workers = workers = sharing(g, workers)
        at, gw, bt = matrices(tile)
        self.results, self.inputs = at.astype(g.dtype), bt.astype(g.dtype)
        self.bands = list(self._bands(1))
        large = self._bytes_of_weight > _LARGE_WEIGHT and len(self.bands) < 2 * workers
        self.divided = large and workers > 1 and g.groups == 1
        if not self.divided:
            self.bands = list(self._bands(workers))
        self.filters = shares(g.filters, workers if self.divided else 1)
        self.weights = [self._transformed(weight, groups, part, gw) for part in self.filters]
        self.held = sum(w.held if isinstance(w, PackedProduct) else w.nbytes for w in self.weights)
        self.teams = [self.bands] if self.divided else [self.bands[s] for s in shares(len(self.bands), workers)]
        self.scratch = tuple(self._shapes())
        self.workspace = self.slice_workspace = room(g.dtype, *self.scratch)
        self.bound = Bound(self._bind)

    def run(self, x: Array, b: Array | None, residual: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [N, *out, K] of x [N, *sizes, C]; rows of both may be parts of longer ones."""
        self.program(x, b, residual, y, workspace)()

    def program(self, x: Array, b: Array | None, residual: Array | None, y: Array, workspace: Array) -> Program:
        """The same for arrays that stay where they are."""
        arguments = self.results, b, residual, y, self.finisher
        teams = [
            [
                ([intake.calls(x, self.inputs) for intake in intakes], [o.calls(*arguments) for o in outlets])
                for intakes, outlets in team
            ]
            for team in self.bound(workspace)
        ]
        if self.divided:
            return Program([phase for pair in teams[0] for phase in pair])
        return Program(
            [[[call for pair in team for part in pair for calls in part for call in calls] for team in teams]]
        )

    def _transformed(self, weight: Array, groups: int, filters: slice, matrix: Array) -> Array | PackedProduct:
        """The weight of some filters, for `Outlet`."""
        g, count = self.g, filters.stop - filters.start
        tiles = max(prod(band.shape) for band in self.bands) * self.tiles[1]
        found = packing(g.dtype, tiles, g.channels, count) if g.groups == 1 else None
        parts = g.groups
        if g.groups == 1 and found is None:
            parts = _parts(count, max(_UNPACKED // (tiles * g.channels), _FEWEST_FILTERS))
        name = self.algorithm, groups, filters.start, filters.stop, parts

        def make() -> Array:
            return transformed(block_diagonal(weight, groups, g.groups)[filters], matrix, parts, self.workers)

        if found is None:
            return packed(weight, name, make)

        def keep(how: Hashable, make: Make) -> Array:
            return packed(weight, (*name, how), make)

        shape = self.size**2, g.channels, count
        return PackedProduct(found, shape, lambda: make().reshape(shape), tiles, self.workers, keep)

    @property
    def _bytes_of_weight(self) -> int:
        """Those of the transformed weight."""
        g = self.g
        return self.size**2 * g.channels // g.groups * g.filters * g.dtype.itemsize

    def _bands(self, workers: int) -> Iterator[Block]:
        """All bands, at least one for each worker if there are so many."""
        g, (rows, columns) = self.g, self.tiles
        of_tile = self.size**2 * (g.channels + g.filters) * g.dtype.itemsize
        most = max(_BAND_BYTES, self._bytes_of_weight // _WEIGHTS_OF_BAND)
        fitting = max(most // (of_tile * columns), 1)
        images = min(max(fitting // rows, 1), -(-g.batch // workers))
        bands = -(-rows // fitting)
        if g.batch < workers:  # as many for each of them
            bands = min(-(-bands // workers) * workers, rows)
        for n in shares(g.batch, -(-g.batch // images)):
            for r in shares(rows, bands):
                yield Block(n, r)

    def _frame(self, band: Block) -> tuple[int, int, int, int]:
        """What the tiles of a band meet: images, lines, columns, channels."""
        images, rows = band.shape
        return images, rows * self.tile + _TAPS - 1, self.tiles[1] * self.tile + _TAPS - 1, self.g.channels

    def _shapes(self) -> Iterator[tuple[int]]:
        """Scratch memory: for each team tiles transformed; for each of its workers two pieces used in turn."""
        g, size, tile, columns = self.g, self.size, self.tile, self.tiles[1]
        for team in self.teams:
            tiles = max(prod(band.shape) for band in team) * columns
            frames = [self._frame(band) for band in team]
            frame = max(map(prod, frames))
            along = max(prod(band.shape) * size * prod(shape[2:]) for band, shape in zip(team, frames, strict=True))
            yield (size**2 * tiles * g.channels,)
            for part in self.filters:
                results = (part.stop - part.start) * tiles
                yield (max(frame, size**2 * tiles * g.channels, size**2 * results, tile * tile * results),)
                yield (max(along, tile * size * results, tiles * g.channels),)

    def _bind(self, workspace: Array) -> list[list[tuple[list[Intake], list[Outlet]]]]:
        memory = carve(workspace, self.g.dtype, *self.scratch)
        bound = []
        for team in self.teams:
            tiles = next(memory)
            pairs = [(next(memory), next(memory)) for _ in self.filters]
            bound.append([self._bind_band(band, tiles, pairs) for band in team])
        return bound

    def _bind_band(
        self, band: Block, memory: Array, pairs: Sequence[tuple[Array, Array]]
    ) -> tuple[list[Intake], list[Outlet]]:
        g, size = self.g, self.size
        images, rows = band.shape
        shape = size, size, images, rows, self.tiles[1] * g.channels
        transformed = memory[: prod(shape)].reshape(shape)
        if images > rows:
            divisions = [(n, slice(0, rows)) for n in shares(images, len(pairs))]
        else:
            divisions = [(slice(0, images), r) for r in shares(rows, len(pairs))]
        intakes = [
            self._intake(_part(band, n, r), *pair, transformed[:, :, n, r])
            for pair, (n, r) in zip(pairs, divisions, strict=False)
        ]
        tiles = transformed.reshape(size**2, -1, g.groups, g.channels // g.groups).swapaxes(1, 2)
        outlets = [
            self._outlet(band, part, weight, *pair, tiles)
            for pair, part, weight in zip(pairs, self.filters, self.weights, strict=True)
        ]
        return intakes, outlets

    def _intake(self, band: Block, first: Array, second: Array, transformed: Array) -> Intake:
        size, tile, columns = self.size, self.tile, self.tiles[1]
        shape = self._frame(band)
        (n, rows), (across, channels) = band.shape, shape[2:]
        frame = first[: prod(shape)].reshape(shape)
        (front, _), (ahead, _) = self.g.padding
        starts = band.rows.start * tile - front, -ahead
        image, line, column, channel = frame.strides
        met = as_strided(
            frame, (n, rows, size, across * channels), (image, tile * line, line, channel), writeable=False
        )
        made = second[: size * n * rows * across * channels].reshape(size, n, rows, across * channels)
        axis, image, line, _ = made.strides
        windows = as_strided(
            made,
            (size, size, n, rows, columns, channels),
            (column, axis, image, line, tile * column, channel),
            writeable=False,
        )
        gathered = first[: windows.size].reshape(windows.shape)
        taken: Array = gathered.reshape(transformed.shape)
        if transformed.flags.c_contiguous:
            taken, transformed = taken.reshape(size, -1), transformed.reshape(size, -1)
        else:  # some rows of a band
            taken, transformed = np.moveaxis(taken, 0, -2), np.moveaxis(transformed, 0, -2)
        return Intake(
            framed(frame, band.images, starts, self.g.sizes),
            met,
            np.moveaxis(made, 0, 2),
            windows,
            gathered,
            taken,
            transformed,
        )

    def _outlet(
        self, band: Block, filters: slice, weight: Array | PackedProduct, first: Array, second: Array, tiles: Array
    ) -> Outlet:
        size, tile = self.size, self.tile
        (n, rows), columns, count = band.shape, self.tiles[1], tiles.shape[2]
        k = filters.stop - filters.start
        products = first[: size**2 * count * k].reshape(size**2, count, k)
        parts = 1 if isinstance(weight, PackedProduct) else weight.shape[1]
        by_part = products.reshape(size**2, count, parts, -1).swapaxes(1, 2)
        across = second[: tile * size * count * k].reshape(tile, size, -1)
        lines = first[: tile**2 * count * k].reshape(tile, tile, -1)
        results = lines.reshape(tile, tile, n, rows, columns, k).transpose(2, 3, 1, 4, 0, 5)  # n, row, i, column, j, k
        height, width = self.g.out
        pieces = []
        for (r, i), (c, j) in product(
            _whole_and_rest(band.rows, tile, height), _whole_and_rest(slice(0, columns), tile, width)
        ):
            part = results[:, _moved(r, -band.rows.start), :i, c, :j]
            place = (
                band.images,
                slice(r.start * tile, r.start * tile + (r.stop - r.start) * i),
                slice(c.start * tile, c.start * tile + (c.stop - c.start) * j),
                filters,
            )
            pieces.append((part, place, part.shape))
        return Outlet(
            weight,
            tiles,
            by_part,
            second,
            products.reshape(size, -1),
            across,
            lines,
            products[size + 1],
            filters,
            pieces,
        )


def _parts(filters: int, most: int) -> int:
    """Into how many parts of one size filters are divided; `most` of them in each if they can be divided so."""
    return next((n for n in range(max(filters // most, 1), filters // 16 + 1) if filters % n == 0), 1)


def _whole_and_rest(tiles: slice, tile: int, size: int) -> list[tuple[slice, int]]:
    """Tiles that lie on 0..size with all of their lines, and one that does with some: which, and how many lines."""
    whole = min(tiles.stop, size // tile)
    found = [(slice(tiles.start, whole), tile)] if whole > tiles.start else []
    return found + ([(slice(whole, whole + 1), size % tile)] if whole < tiles.stop else [])
