"""Convolution with 3 x 3 kernels by Winograd's minimal filtering: fewer products for a few more digits of error.

A tile of m x m results is made of (m + 2)^2 numbers of the input. Input and weight are transformed so that
one product for each of those numbers is enough:

    y = A^T [sum over channels of (G w G^T) * (B^T d B)] A,

(m + 2)^2 products for each tile, channel and filter instead of 9 m^2: 2.25 times fewer for m = 2, 4 times for m = 4.

The products are matrix products of all tiles and channels, one for each of the (m + 2)^2 places. The transforms are
matrix products too, along one axis at a time, which is why the layouts change on the way: the input is gathered
channels last, so that whatever is copied or transformed lies in long runs, and the last product lays the m results of
a line side by side, so that whole lines go to the output. The weight lies in parts of few filters: OpenBLAS takes
small matrices as they are, and packs large ones first, which costs as much as the product when tiles are few.

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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.im2col import sharing
from tinygraph.kernels.scratch import Array, Bound, carve, room
from tinygraph.kernels.workers import shares, together

_TAPS = 3
# Where the polynomials are evaluated, beside infinity. The second is 1: see Outlet.bias.
_POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 1.0, -1.0, 0.5, -2.0)}
# Filters of a part of the weight.
_FILTERS = 32
# OpenBLAS packs matrices whose product takes more multiply-adds.
_UNPACKED = 1_000_000
# The two sides of a band's products should stay in the second-level cache (1 to 2 MiB), ...
_BAND_BYTES = 15 << 16
# ... but where the weight is much larger, it is the one that should not be read too often.
_WEIGHTS_OF_BAND = 2
# Weights of more bytes are divided among the workers, rather than read by each.
_LARGE_WEIGHT = 1 << 20

# Cost of a call in microseconds, and in nanoseconds of one worker of im2col's multiply-adds, numbers copied into
# columns, results and weights; of Winograd's multiply-adds, transformed numbers and weights. Measured in float32.
_CALL = 20.0
_IM2COL = (0.037, 2.8, 0.56, 0.035)
_WINOGRAD = (0.0255, 1.0, 0.23)
# Runs of fewer channels are copied no faster.
_FEWEST_CHANNELS = 16
# What is less accurate has to be faster by this factor.
_GAIN = 1.1


def applies(g: Geometry) -> bool:
    """Whether a convolution is one of those that can be done in this way."""
    plain = g.kernel == (_TAPS, _TAPS) and g.stride == g.dilation == (1, 1) and g.groups == 1
    return plain and g.dtype in (np.float32, np.float64)


def pays(g: Geometry, workers: int) -> int:
    """The tile with which a convolution is done fastest, 4 or 2; 0 if im2col is faster or it cannot be done so."""
    if not applies(g):
        return 0
    workers = sharing(g, workers)
    positions = g.batch * g.positions
    work = (g.filters * g.depth * positions, g.channels * positions, g.filters * positions, g.filters * g.depth)
    best, least = 0, _microseconds(work, _IM2COL, workers)
    for tile in (2, 4):
        places = (tile + _TAPS - 1) ** 2
        tiles = g.batch * prod(-(-n // tile) for n in g.out)
        sides = max(g.channels, _FEWEST_CHANNELS) + max(g.filters, _FEWEST_CHANNELS)
        weights = g.channels * g.filters
        found = _microseconds((places * tiles * weights, places * tiles * sides, places * weights), _WINOGRAD, workers)
        if found * _GAIN < least:
            best, least = tile, found
    return best


def _microseconds(work: Sequence[int], costs: Sequence[float], workers: int) -> float:
    return _CALL + sum(n * cost for n, cost in zip(work, costs, strict=True)) / (1000 * workers)


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


@dataclass(frozen=True)
class Band:
    """Some rows of tiles of some images."""

    images: slice
    rows: slice

    @property
    def shape(self) -> tuple[int, int]:
        """How many images and rows."""
        return self.images.stop - self.images.start, self.rows.stop - self.rows.start

    def part(self, images: slice, rows: slice) -> Band:
        """Some of them, counted from the first."""
        return Band(_moved(images, self.images.start), _moved(rows, self.rows.start))


def _moved(places: slice, by: int) -> slice:
    return slice(places.start + by, places.stop + by)


def _overlap(start: int, count: int, size: int) -> slice:
    """Which of `count` places, the first of which lies at `start`, are among 0..size; an empty slice for none."""
    first = min(max(-start, 0), count)
    return slice(first, max(first, min(size - start, count)))


@dataclass(frozen=True)
class Intake:
    """How a band of the input is transformed, as views of scratch memory.

    Attributes:
        index: the part of the input [batch, channels, height, width] that the tiles meet.
        inside: where it goes, with the axes of the input.
        borders: what lies around it.
        windows: what the tiles meet on each line, [t, images, lines, tiles, channels].
        gathered: where that goes.
        lines: the same transformed, [t, numbers].
        tiles: what the tiles meet of that, [t, images, rows, t, numbers].
        transformed: where both transforms of it go, with the same axes, as do the lines' numbers.
    """

    index: tuple[slice, ...]
    inside: Array
    borders: Sequence[Array]
    windows: Array
    gathered: Array
    lines: Array
    tiles: Array
    transformed: Array

    def run(self, x: Array, matrix: Array) -> None:
        """Transforms its part of x with B^T."""
        for border in self.borders:
            border.fill(0)
        self.inside[...] = x[self.index]
        self.gathered[...] = self.windows
        np.matmul(matrix, self.gathered.reshape(len(matrix), -1), out=self.lines)
        np.matmul(matrix, self.tiles, out=self.transformed)


@dataclass(frozen=True)
class Outlet:
    """How some filters of a band of the output are made, as views of scratch memory.

    Attributes:
        weight: [t t, parts, filters, channels].
        tiles: the band of the input, transformed, [t t, 1, channels, tiles].
        products: [t t, parts, filters, tiles].
        columns: the same transformed on the first axis, [m, t, filters and tiles].
        lines: the result [m, filters and tiles, m].
        bias: what the bias is added to, [filters, tiles].
        filters: which.
        places: for each line of a tile, where its numbers are and where they belong.
    """

    weight: Array
    tiles: Array
    products: Array
    columns: Array
    lines: Array
    bias: Array
    filters: slice
    places: Sequence[tuple[Array, tuple[slice, ...]]]

    def run(self, matrix: Array, transposed: Array, b: Array | None, y: Array) -> None:
        """Computes its part of y [batch, filters, *out] with A^T, also given as a contiguous A."""
        np.matmul(self.weight, self.tiles, out=self.products)
        if b is not None:
            # All results of a tile have the weight 1 in this product: that of the point 1 on both axes.
            np.add(self.bias, b[self.filters, np.newaxis], out=self.bias)
        size = len(transposed)
        np.matmul(matrix, self.products.reshape(size, -1), out=self.columns.reshape(len(matrix), -1))
        np.matmul(self.columns.swapaxes(1, 2), transposed, out=self.lines)
        for lines, place in self.places:
            y[place] = lines


class Winograd:
    """y = w * x + b for kernels of 3 x 3, stride 1, dilation 1, one group and a weight that never changes.

    Args:
        g: the convolution; of float32 or float64.
        workers: threads that it may use.
        weight: [filters, channels, 3, 3].
        tile: results of a tile on each axis, 4 or 2.
    """

    def __init__(self, g: Geometry, workers: int, weight: Array, tile: int = 4) -> None:
        self.g, self.tile = g, tile
        self.algorithm = f"winograd{tile}"
        self.size = size = tile + _TAPS - 1
        self.tiles = tuple(-(-n // tile) for n in g.out)
        self.workers = sharing(g, workers)
        at, gw, bt = matrices(tile)
        self.results, self.inputs = at.astype(g.dtype), bt.astype(g.dtype)
        self.transposed = np.ascontiguousarray(self.results.T)
        parts = -(-g.filters // _FILTERS)
        self.part = -(-g.filters // parts)
        wide = np.zeros((parts * self.part, g.channels, _TAPS, _TAPS))
        wide[: g.filters] = weight
        wide = np.moveaxis(gw @ wide @ gw.T, (2, 3), (0, 1)).reshape(size * size, parts, self.part, g.channels)
        self.weight = np.ascontiguousarray(wide.swapaxes(2, 3), g.dtype).swapaxes(2, 3)
        self.bands = list(self._bands(1))
        few = len(self.bands) < 2 * self.workers and parts > 1
        self.divided = self.workers > 1 and few and self.weight.nbytes > _LARGE_WEIGHT
        if not self.divided:
            self.bands = list(self._bands(self.workers))
        self.parts = shares(parts, self.workers if self.divided else 1)
        self.teams = [self.bands] if self.divided else [self.bands[s] for s in shares(len(self.bands), self.workers)]
        self.scratch = tuple(self._shapes())
        self.workspace = room(g.dtype, *self.scratch)
        self.bound = Bound(self._bind)

    def run(self, x: Array, w: Array, b: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [batch, filters, *out], C-contiguous. The weight w is the one already known."""
        steps = self.bound(workspace)
        if not self.divided:
            together([partial(self._run, team, x, b, y) for team in steps])
            return
        for intakes, outlets in steps[0]:
            together([partial(intake.run, x, self.inputs) for intake in intakes])
            together([partial(outlet.run, self.results, self.transposed, b, y) for outlet in outlets])

    def _run(self, team: Sequence[tuple[list[Intake], list[Outlet]]], x: Array, b: Array | None, y: Array) -> None:
        for intakes, outlets in team:
            for intake in intakes:
                intake.run(x, self.inputs)
            for outlet in outlets:
                outlet.run(self.results, self.transposed, b, y)

    def _bands(self, workers: int) -> Iterator[Band]:
        """All bands, at least one for each worker if there are so many."""
        g, (rows, columns) = self.g, self.tiles
        of_tile = self.size**2 * (g.channels + g.filters) * g.dtype.itemsize
        fitting = max(_BAND_BYTES, self.weight.nbytes // _WEIGHTS_OF_BAND) // of_tile
        fitting = max(min(fitting, _UNPACKED // (self.part * g.channels)) // columns, 1)
        images = min(max(fitting // rows, 1), -(-g.batch // workers))
        bands = -(-rows // fitting)
        if g.batch < workers:  # as many for each of them
            bands = min(-(-bands // workers) * workers, rows)
        for n in shares(g.batch, -(-g.batch // images)):
            for r in shares(rows, bands):
                yield Band(n, r)

    def _frame(self, band: Band) -> tuple[int, int, int, int]:
        """What the tiles of a band meet: images, lines, columns, channels."""
        images, rows = band.shape
        return images, rows * self.tile + _TAPS - 1, self.tiles[1] * self.tile + _TAPS - 1, self.g.channels

    def _shapes(self) -> Iterator[tuple[int]]:
        """Scratch memory: for each team tiles transformed, for each of its workers two pieces used in turn."""
        g, size, tile, columns = self.g, self.size, self.tile, self.tiles[1]
        for team in self.teams:
            frames = [self._frame(band) for band in team]
            frame, lines = max(map(prod, frames)), max(n * count for n, count, _, _ in frames)
            tiles = max(prod(band.shape) for band in team) * columns
            gathered = size * lines * columns * g.channels
            yield (size**2 * tiles * g.channels,)
            for parts in self.parts:
                results = (parts.stop - parts.start) * self.part * tiles
                yield (max(frame, gathered, size**2 * results),)
                yield (max(gathered, tile * size * results),)

    def _bind(self, workspace: Array) -> list[list[tuple[list[Intake], list[Outlet]]]]:
        memory = carve(workspace, self.g.dtype, *self.scratch)
        bound = []
        for team in self.teams:
            tiles = next(memory)
            pairs = [(next(memory), next(memory)) for _ in self.parts]
            bound.append([self._bind_band(band, tiles, pairs) for band in team])
        return bound

    def _bind_band(
        self, band: Band, memory: Array, pairs: Sequence[tuple[Array, Array]]
    ) -> tuple[list[Intake], list[Outlet]]:
        g, size = self.g, self.size
        images, rows = band.shape
        transformed = memory[: size**2 * images * rows * self.tiles[1] * g.channels]
        by_row = transformed.reshape(size, size, images, rows, -1)
        if images > rows:
            divisions = [(n, slice(0, rows)) for n in shares(images, len(pairs))]
        else:
            divisions = [(slice(0, images), r) for r in shares(rows, len(pairs))]
        intakes = [
            self._intake(band.part(n, r), a, b, by_row[:, :, n, r])
            for (a, b), (n, r) in zip(pairs, divisions, strict=False)
        ]
        tiles = transformed.reshape(size**2, 1, -1, g.channels).swapaxes(2, 3)
        return intakes, [self._outlet(band, p, a, b, tiles) for (a, b), p in zip(pairs, self.parts, strict=True)]

    def _intake(self, band: Band, first: Array, second: Array, transformed: Array) -> Intake:
        size, tile, columns = self.size, self.tile, self.tiles[1]
        n, lines, across, channels = shape = self._frame(band)
        frame = first[: prod(shape)].reshape(shape)
        (front, _), (ahead, _) = self.g.padding
        top, left = band.rows.start * tile - front, -ahead
        # The lines and columns of the frame that lie on the input.
        inner, within = _overlap(top, lines, self.g.sizes[0]), _overlap(left, across, self.g.sizes[1])
        borders = [
            frame[:, : inner.start],
            frame[:, inner.stop :],
            frame[:, inner, : within.start],
            frame[:, inner, within.stop :],
        ]
        image, line, column, channel = frame.strides
        windows = as_strided(
            frame, (size, n, lines, columns, channels), (column, image, line, tile * column, channel), writeable=False
        )
        gathered = second[: windows.size].reshape(windows.shape)
        along = first[: windows.size].reshape(size, n, lines, columns * channels)
        axis, image, line, number = along.strides
        tiles = as_strided(
            along,
            (size, n, band.shape[1], size, columns * channels),
            (axis, image, tile * line, line, number),
            writeable=False,
        )
        return Intake(
            (band.images, slice(None), _moved(inner, top), _moved(within, left)),
            frame[:, inner, within].transpose(0, 3, 1, 2),
            [border for border in borders if border.size],
            windows,
            gathered,
            along.reshape(size, -1),
            tiles,
            transformed.transpose(1, 2, 3, 0, 4),
        )

    def _outlet(self, band: Band, parts: slice, first: Array, second: Array, tiles: Array) -> Outlet:
        g, size, tile = self.g, self.size, self.tile
        (n, rows), count = band.shape, tiles.shape[-1]
        weight = self.weight[:, parts]
        padded = weight.shape[1] * self.part
        filters = slice(parts.start * self.part, min(parts.stop * self.part, g.filters))
        known = filters.stop - filters.start
        products = first[: size**2 * padded * count].reshape(size**2, weight.shape[1], self.part, count)
        columns = second[: tile * size * padded * count].reshape(tile, size, -1)
        lines = first[: tile * tile * padded * count].reshape(tile, -1, tile)
        height, width = g.out
        whole = lines.reshape(tile, padded, n, rows, -1)[:, :known, ..., :width].swapaxes(1, 2)
        places = []
        for i, line in enumerate(whole):
            place = slice(band.rows.start * tile + i, min(band.rows.stop * tile, height), tile)
            places.append((line[:, :, : len(range(height)[place])], (band.images, filters, place)))
        bias = products[size + 1].reshape(padded, count)[:known]
        return Outlet(weight, tiles, products, columns, lines, bias, filters, places)
