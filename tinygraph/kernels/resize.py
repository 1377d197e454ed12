"""Axes resized by their taps: plainly, and prepared."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.interpolation import Taps
from tinygraph.kernels.scratch import Array, carve, room
from tinygraph.kernels.workers import shares, together

_WORTH_SHARING = 1 << 16  # numbers; fewer are done before another thread has begun
_BLOCK = 1 << 18  # bytes of the largest array on the way: with the others beside it, it stays in the cache


def gather(x: Array, axis: int, taps: Taps) -> Array:
    """The axis resized: a weighted sum of the numbers at the taps."""
    if taps.weight is None:
        return x.take(taps.index[:, 0], axis)
    along = (-1, *(1,) * (x.ndim - 1 - axis))
    weights = taps.weight.astype(x.dtype)
    y: Array = x.take(taps.index[:, 0], axis) * weights[:, 0].reshape(along)
    for k in range(1, weights.shape[1]):
        y += x.take(taps.index[:, k], axis) * weights[:, k].reshape(along)
    return y


def scatter(g: Array, axis: int, taps: Taps, size: int) -> Array:
    """The transpose of `gather`: each number added to its taps, by their weights, on an axis of `size`."""
    shares = np.moveaxis(g, axis, 0)
    x = np.zeros((size, *shares.shape[1:]), g.dtype)
    weight = np.where(taps.outside, 0.0, 1.0)[:, None] if taps.weight is None else taps.weight
    for share, places, weights in zip(shares, taps.index, weight.astype(g.dtype), strict=True):
        for place, w in zip(places, weights, strict=True):
            if w:
                x[place] += share * w
    return np.moveaxis(x, 0, axis)


def fill_outside(y: Array, axes: Sequence[int], tables: Sequence[Taps], value: float) -> None:
    """Puts a value wherever a number is taken from outside along any of the axes."""
    for axis, table in zip(axes, tables, strict=True):
        if table.outside.any():
            y[(slice(None),) * axis + (table.outside,)] = value


class Resized:
    """Axes of contiguous arrays resized one after the other, prepared; a few images at a time, which stay in the cache.

    Args:
        shape: of the array.
        dtype: of the array; floating, but where no taps have weights.
        axes: that are resized, ascending.
        tables: their taps; nothing lies outside.
        workers: threads that may be used.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(
        self, shape: Sequence[int], dtype: np.dtype[Any], axes: Sequence[int], tables: Sequence[Taps], workers: int
    ) -> None:
        self.dtype = dtype
        self.images = prod(shape[: axes[0]])
        self.sizes = tuple(shape[axes[0] :])
        stages, sizes = [], list(self.sizes)
        for axis, table in reversed(list(zip(axes, tables, strict=True))):
            at = axis - axes[0]
            stages.append(stage(sizes[at], prod(sizes[at + 1 :]), dtype, table))
            sizes[at] = len(table.index)
            stages[-1].rows = prod(sizes[:at])
        self.stages, self.results = stages, tuple(sizes)
        largest = max(prod(self.sizes), *(s.rows * s.count * s.inner for s in stages))
        self.parts = shares(self.images, workers if self.images * largest >= _WORTH_SHARING else 1)
        self.step = max(1, min(self.images, _BLOCK // (largest * dtype.itemsize)))
        between = [(self.step, s.rows * s.count * s.inner) for s in stages[:-1]]
        self.shapes = (*between, (max(s.scratch * s.rows for s in stages) * self.step,))
        self.workspace = room(dtype, *self.shapes * len(self.parts))

    def run(self, x: Array, y: Array, workspace: Array) -> None:
        """Resizes x into y."""
        memory = list(carve(workspace, self.dtype, *self.shapes * len(self.parts)))
        count = len(self.shapes)
        sources, results = x.reshape(self.images, *self.sizes), y.reshape(self.images, *self.results)
        together(
            [
                partial(self._part, sources[part], results[part], memory[i * count : (i + 1) * count])
                for i, part in enumerate(self.parts)
            ]
        )

    def _part(self, sources: Array, results: Array, memory: Sequence[Array]) -> None:
        *between, scratch = memory
        for first in range(0, len(sources), self.step):
            part, whole = sources[first : first + self.step], results[first : first + self.step]
            count = len(whole)
            for made, target in zip(self.stages, [*(b[:count] for b in between), whole], strict=True):
                target = target.reshape(count * made.rows, made.count, made.inner)
                made.run(part.reshape(count * made.rows, made.size, made.inner), target, scratch)
                part = target


class Stage:
    """One axis of arrays [rows, size, inner] resized by gathering the numbers at each tap.

    Attributes:
        scratch: numbers of scratch memory for each row.
    """

    rows = 1

    def __init__(self, size: int, inner: int, dtype: np.dtype[Any], table: Taps) -> None:
        self.size, self.inner, self.count = size, inner, len(table.index)
        self.index = [np.ascontiguousarray(column) for column in table.index.T]
        self.weights = None if table.weight is None else [w[:, None].astype(dtype) for w in table.weight.T]
        self.scratch = self.count * inner if self.weights else 0

    def run(self, x: Array, y: Array, scratch: Array) -> None:
        """Computes y [rows, count, inner]."""
        # Indices lie within the axis; told to clip, NumPy writes them in place without a copy.
        x.take(self.index[0], 1, y, "clip")
        if self.weights is None:
            return
        y *= self.weights[0]
        term = scratch[: y.size].reshape(y.shape)
        for places, weight in zip(self.index[1:], self.weights[1:], strict=True):
            x.take(places, 1, term, "clip")
            np.multiply(term, weight, out=term)
            y += term


class Repeated(Stage):
    """Each number `factor` times."""

    def __init__(self, size: int, inner: int, dtype: np.dtype[Any], table: Taps) -> None:
        super().__init__(size, inner, dtype, table)
        self.factor = self.count // size

    def run(self, x: Array, y: Array, scratch: Array) -> None:
        """Computes y [rows, count, inner]."""
        for phase in range(self.factor):
            y[:, phase :: self.factor] = x


class Periodic(Stage):
    """Every `factor`-th number has its taps at the same distance, and of the same weights; the ends are repeated.

    Attributes:
        phases: for each phase, the distance and the weight of each tap.
        front, behind: how far taps reach beyond the ends.
    """

    def __init__(
        self, size: int, inner: int, dtype: np.dtype[Any], table: Taps, phases: Sequence[Sequence[tuple[int, Any]]]
    ) -> None:
        super().__init__(size, inner, dtype, table)
        self.phases = phases
        distances = [distance for phase in phases for distance, _ in phase]
        self.front, self.behind = max(0, -min(distances)), max(0, *distances)
        self.length = size + self.front + self.behind
        self.scratch = (self.length + size) * inner

    def run(self, x: Array, y: Array, scratch: Array) -> None:
        """Computes y [rows, count, inner]."""
        rows, size, inner = x.shape
        wide = scratch[: rows * self.length * inner].reshape(rows, self.length, inner)
        term = scratch[wide.size : wide.size + x.size].reshape(x.shape)
        wide[:, : self.front] = x[:, :1]
        wide[:, self.front : self.front + size] = x
        wide[:, self.front + size :] = x[:, -1:]
        for number, phase in enumerate(self.phases):
            target = y[:, number :: len(self.phases)]
            for k, (distance, weight) in enumerate(phase):
                start = self.front + distance
                np.multiply(wide[:, start : start + size], weight, out=term if k else target)
                if k:
                    target += term


def stage(size: int, inner: int, dtype: np.dtype[Any], table: Taps) -> Stage:
    """The fastest way to resize an axis."""
    count = len(table.index)
    if count % size == 0:
        factor = count // size
        if table.weight is None:
            if np.array_equal(table.index[:, 0], np.arange(count) // factor):
                return Repeated(size, inner, dtype, table)
        else:
            phases = [_phase(table.index[p::factor], table.weight[p::factor].astype(dtype)) for p in range(factor)]
            if all(phases):
                return Periodic(size, inner, dtype, table, phases)
    return Stage(size, inner, dtype, table)


def _phase(index: Array, weight: Array) -> list[tuple[int, Any]]:
    """Distance and weight of each tap if all rows have the same, but for the ends; else nothing."""
    size = len(index)
    middle = size // 2
    distances = index[middle] - middle
    same = np.array_equal(index, np.clip(np.arange(size)[:, None] + distances, 0, size - 1))
    return list(zip(distances.tolist(), weight[0], strict=True)) if same and (weight == weight[0]).all() else []
