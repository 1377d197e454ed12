"""Transposed convolution as one correlation for each phase of the stride.

Positions of the result that leave the same remainder when divided by the stride meet the same
taps: as far as they are concerned, a transposed convolution is a correlation with stride 1 and
those taps, flipped. With stride 1 there is one phase. Nothing is added into memory twice.

Source: Dumoulin and Visin 2016, A guide to convolution arithmetic for deep learning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import gcd, prod

import numpy as np

from tinygraph.kernels.columns import Axis, Correlation
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.im2col import Products, Step, grouped, packers, run_steps, sharing
from tinygraph.kernels.scratch import Array, Bound, Index, carve, room
from tinygraph.kernels.workers import shares, together


@dataclass(frozen=True)
class _Line:
    """One axis of a phase: every stride-th position of the result, and the taps that they meet."""

    target: slice
    taps: tuple[int, ...]
    axis: Axis


def _lines(size: int, out: int, kernel: int, stride: int, dilation: int, front: int) -> Iterator[_Line]:
    """The phases of an axis of the result with `size` positions, from `out` positions.

    Position p meets window i at tap t if p = i stride + t dilation - front.
    """
    for first in range(min(stride, size)):
        # From the last, so that later taps lie further on.
        taps = tuple(t for t in reversed(range(kernel)) if (first + front - t * dilation) % stride == 0)
        step = dilation // gcd(dilation, stride)
        start = (first + front - taps[0] * dilation) // stride if taps else 0
        target = slice(first, size, stride)
        yield _Line(target, taps, Axis(out, len(range(size)[target]), 1, len(taps), step, start))


class _Phase:
    """A phase, prepared; `products` is None if no tap meets its positions."""

    def __init__(self, g: Geometry, lines: Sequence[_Line], workers: int) -> None:
        self.target: Index = (..., *(line.target for line in lines))
        self.kernel = tuple(line.taps for line in lines)
        self.products: Products | None = None
        self.packed = (0,)
        if all(self.kernel):
            channels, filters = g.filters // g.groups, g.channels // g.groups
            axes = tuple(line.axis for line in lines)
            c = Correlation(g.batch, g.groups, channels, filters, axes, g.dtype)
            whole = all(line.target.step == 1 for line in lines)
            self.products = Products(c, workers, channels_first=False, direct=whole)
            self.packed = (prod(c.taps) * g.filters * filters,)

    def bind(self, worker: int, memory: Sequence[Array]) -> list[Step]:
        """What a worker does, with memory that is used for other phases too."""
        if self.products is None or worker >= len(self.products.parts):
            return []
        return self.products.bind(self.products.parts[worker], memory)


class Phases:
    """y = transpose of w * x, plus b, for any geometry."""

    algorithm = "phases"

    def __init__(self, g: Geometry, workers: int = 1) -> None:
        self.g = g
        self.workers = sharing(g, workers)
        axes = zip(g.sizes, g.out, g.kernel, g.stride, g.dilation, (front for front, _ in g.padding), strict=True)
        self.phases = [_Phase(g, lines, self.workers) for lines in product(*(_lines(*axis) for axis in axes))]
        needed = [phase.products.scratch for phase in self.phases if phase.products]
        # The phases of a worker use the same memory one after the other.
        largest = [(max((prod(shapes[i]) for shapes in needed), default=0),) for i in range(4)]
        self.scratch = (*(phase.packed for phase in self.phases), *largest * self.workers)
        self.workspace = room(g.dtype, *self.scratch)
        self.bound = Bound(self._bind)

    def run(self, x: Array, w: Array, b: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [batch, channels, *sizes], C-contiguous, from x [batch, filters, *out]."""
        g = self.g
        packed, parts = self.bound(workspace)
        x, y, w = grouped(x, g.groups), grouped(y, g.groups), w.reshape(g.groups, -1, *w.shape[1:])
        bias = None if b is None else b.reshape(g.groups, -1, 1)
        rows = shares(w.shape[1], packers(w, self.workers))
        together([partial(self._pack, w, part, packed) for part in rows])
        targets = [y[phase.target] for phase in self.phases]
        together([partial(self._compute, steps, x, packed, bias, targets) for steps in parts])
        for phase, target in zip(self.phases, targets, strict=True):
            if phase.products is None:
                target[...] = 0 if b is None else b.reshape(g.groups, -1, *(1,) * len(g.sizes))

    def _bind(self, workspace: Array) -> tuple[list[Array], list[list[list[Step]]]]:
        """The packed weights, and for each worker the steps of each phase."""
        arrays = list(carve(workspace, self.g.dtype, *self.scratch))
        packed, memory = arrays[: len(self.phases)], arrays[len(self.phases) :]
        parts = []
        for worker in range(self.workers):
            own = memory[4 * worker : 4 * worker + 4]
            parts.append([phase.bind(worker, own) for phase in self.phases])
        return packed, parts

    def _pack(self, w: Array, rows: slice, packed: Sequence[Array]) -> None:
        """Writes some filters of the weight [groups, filters, channels, *kernel] where the phases read them."""
        for phase, memory in zip(self.phases, packed, strict=True):
            if phase.products:
                columns = phase.products.columns
                shape = (columns.products, self.g.groups, *columns.taps, *w.shape[1:3])
                matrix = memory.reshape(shape)
                for number, place, tap in columns.every_tap():
                    tap = tuple(taps[t] for taps, t in zip(phase.kernel, tap, strict=True))
                    target: Index = (number, slice(None), *place, rows)
                    source: Index = (slice(None), rows, slice(None), *tap)
                    matrix[target] = w[source]

    def _compute(
        self, parts: Sequence[list[Step]], x: Array, packed: Sequence[Array], b: Array | None, targets: Sequence[Array]
    ) -> None:
        for phase, steps, weight, target in zip(self.phases, parts, packed, targets, strict=True):
            if phase.products:
                columns = phase.products.columns
                matrices = weight.reshape(columns.products, self.g.groups, columns.depth, -1).swapaxes(-1, -2)
                run_steps(steps, x, matrices, b, target)


class PointwiseTranspose:
    """y = transpose of w times x, plus b, at every position: kernel 1, stride 1, no padding."""

    algorithm = "gemm"
    workspace = 0

    def __init__(self, g: Geometry, workers: int = 1) -> None:
        self.g = g
        workers = sharing(g, workers)
        self.images = shares(g.batch, workers) if g.batch >= workers else [slice(0, g.batch)]
        self.channels = shares(g.channels // g.groups, workers // len(self.images))

    def run(self, x: Array, w: Array, b: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [batch, channels, *sizes], C-contiguous, from x [batch, filters, *out]."""
        g = self.g
        y = y.reshape(g.batch, g.groups, g.depth, g.positions)
        x, matrix = g.matrices(x), g.matrix(w).swapaxes(1, 2)
        b = None if b is None else b.reshape(g.groups, -1, 1)

        def run(images: slice, channels: slice) -> None:
            out = y[images, :, channels]
            np.matmul(matrix[:, channels], x[images], out=out)
            if b is not None:
                out += b[:, channels]

        together([partial(run, images, channels) for images in self.images for channels in self.channels])
