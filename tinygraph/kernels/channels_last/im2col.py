"""Convolution with the channels last: products of windows, as rows of a matrix, and the weight, a block at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygraph.kernels.channels_last.blocks import Block, teams
from tinygraph.kernels.channels_last.epilogue import PLAIN, Epilogue, Finisher
from tinygraph.kernels.channels_last.frame import Frame, framed
from tinygraph.kernels.channels_last.product import GroupedProduct, PackedProduct, Product, finished, packing, prepared
from tinygraph.kernels.channels_last.program import Call, Program
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.im2col import sharing
from tinygraph.kernels.packed import packed
from tinygraph.kernels.scratch import Array, Bound, Index, carve, room
from tinygraph.kernels.workers import shares

# NumPy packs a weight for each block: there should be enough positions for that.
_FEWEST_POSITIONS = 192
# Where workers would have fewer positions each, and the weight is not small, they divide the filters; with kernels
# that read a packed weight, fewer positions are enough.
_FEW_POSITIONS = 128
_FEW_IF_PACKED = 64
_SMALL_WEIGHT = 1 << 16


@dataclass(frozen=True)
class Filling:
    """How windows become rows of a matrix, as views of scratch memory.

    Attributes:
        frame: the part of x [N, *sizes, C] that is met, unless the columns are copied from x itself.
        windows: what they meet of the frame, [n, rows, *out, *taps, groups, 1], each element what stands side by side;
            or where they are in x.
        columns: where they go, with the same axes; from the input directly with C in place of the last two.
        matrix: the same memory, [groups, positions, depth].
    """

    frame: Frame | None
    windows: Array | Index
    columns: Array
    matrix: Array

    def calls(self, x: Array) -> list[Call]:
        """What makes the matrix."""
        first, (rest,) = self.divided(x, 1)
        return first + rest

    def divided(self, x: Array, workers: int) -> tuple[list[Call], list[list[Call]]]:
        """The same in two phases: for one worker, then for several."""
        first = [] if self.frame is None else self.frame.calls(x)
        source: Array = x[self.windows].reshape(self.columns.shape) if isinstance(self.windows, tuple) else self.windows
        rows = [(slice(None), row) for row in shares(self.columns.shape[1], workers)]
        rest: list[list[Call]] = [[partial(np.copyto, self.columns[row], source[row])] for row in rows]
        return first, rest


class Im2col:
    """y = w * x + b, finished by an epilogue.

    Args:
        g: the convolution.
        workers: threads that it may use.
        weight: [filters, channels / groups, *kernel], which never changes.
        epilogue: what is done to the results.
    """

    def __init__(self, g: Geometry, workers: int, weight: Array, epilogue: Epilogue = PLAIN) -> None:
        self.g, self.epilogue = g, epilogue
        self.finisher = Finisher(epilogue, g.filters, g.dtype)
        self.algorithm = "gemm" if g.is_pointwise else "im2col"
        self.workers = workers = sharing(g, workers)
        positions = g.batch * g.positions
        few = _FEW_POSITIONS if packing(g.dtype, positions, g.depth, g.filters) is None else _FEW_IF_PACKED
        self.divided = workers > 1 and g.groups == 1 and positions < workers * few and weight.size > _SMALL_WEIGHT
        self.filters = shares(g.filters, workers if self.divided else 1)
        self.direct = g.is_dense and g.groups == 1
        row = prod(g.out[1:])
        bytes_of_row = row * (g.groups * g.depth + g.filters) * g.dtype.itemsize
        fewest = -(-_FEWEST_POSITIONS // row)
        self.teams = teams(g.batch, g.out[0], bytes_of_row, 1 if self.divided else workers, fewest)
        blocks = [block for team in self.teams for block in team]
        largest = max(prod(block.shape) for block in blocks) * row
        self.products: list[Product | PackedProduct | GroupedProduct]
        if g.groups == 1:
            by_tap = np.moveaxis(weight, (1, 0), (-2, -1))  # [*kernel, channels, filters]
            parts = [by_tap[..., f] for f in self.filters]
            self.products = [prepared(part, largest, workers, partial(packed, part)) for part in parts]
        else:
            by_group = weight.reshape(g.groups, -1, *weight.shape[1:])
            by_tap = np.moveaxis(by_group, (2, 1), (-2, -1))  # [groups, *kernel, channels, filters]
            self.products = [GroupedProduct(by_tap, partial(packed, by_tap))]
        self.held = sum(product.held for product in self.products)
        if not self.divided and (epilogue.residual or not isinstance(self.products[0], PackedProduct)):
            self.held += self.finisher.held
        frame = 0 if g.is_pointwise else max(prod(self._frame(block)) for block in blocks)
        columns = 0 if self.direct else largest * g.groups * g.depth
        rows = [(product.scratch,) for product in self.products]
        self.scratch = ((frame,), (columns,), *rows) * len(self.teams)
        self.workspace = room(g.dtype, *self.scratch)
        # Whole rows that are no block of memory are finished before they go there.
        self.results = () if self.divided else ((largest, g.filters),) * len(self.teams)
        self.reads_slices = not any(product.has_vectors for product in self.products)
        self.slice_workspace = self.workspace + room(g.dtype, *self.results) if self.reads_slices else None
        self.bound = Bound(self._bind)

    def run(self, x: Array, b: Array | None, residual: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [N, *out, K] of x [N, *sizes, C].

        Rows of both may be parts of longer ones; where those of y are, it needs `slice_workspace`.
        """
        self.program(x, b, residual, y, workspace)()

    def program(self, x: Array, b: Array | None, residual: Array | None, y: Array, workspace: Array) -> Program:
        """The same for arrays that stay where they are."""
        flat = y.reshape(-1, self.g.filters)
        added = None if residual is None else residual.reshape(flat.shape)
        if self.direct:
            x = x.reshape(-1, self.g.channels)
        bound = self.bound(workspace)
        if self.divided:
            return Program(self._divided(x, b, added, flat, *bound[0]))
        apart: Sequence[Array | None] = [None] * len(self.teams)
        finishes = b is not None or self.epilogue != PLAIN
        if not flat.flags.c_contiguous and finishes:
            apart = list(carve(workspace[self.workspace :], self.g.dtype, *self.results))
        (product,) = self.products
        phase = []
        for team, (fillings, (scratch,)), results in zip(self.teams, bound, apart, strict=True):
            calls: list[Call] = []
            for block, filling in zip(team, fillings, strict=True):
                place = self._place(block)
                made, more = flat[place], None if added is None else added[place]
                target = made if results is None else results[: len(made)]
                calls += [] if filling is None else filling.calls(x)
                matrix = self._matrix(x, place, filling)
                calls += finished(product, self.finisher, matrix, target, b, more, scratch)
                calls += [] if target is made else [partial(np.copyto, made, target)]
            phase.append(calls)
        return Program([phase])

    def _divided(
        self,
        x: Array,
        b: Array | None,
        residual: Array | None,
        y: Array,
        fillings: Sequence[Filling | None],
        scratch: Sequence[Array],
    ) -> list[list[list[Call]]]:
        """Each worker computes some filters, of all blocks."""
        phases: list[list[list[Call]]] = []
        for block, filling in zip(*self.teams, fillings, strict=True):
            place = self._place(block)
            if filling is not None:
                first, rest = filling.divided(x, self.workers)
                phases += [[first], rest]
            matrix = self._matrix(x, place, filling)
            phases.append([])
            for product, part, memory in zip(self.products, self.filters, scratch, strict=True):
                target, bias = y[place, part], None if b is None else b[part]
                added = None if residual is None else residual[place, part]
                phases[-1].append(finished(product, self.finisher, matrix, target, bias, added, memory))
        return phases

    def _matrix(self, x: Array, place: slice, filling: Filling | None) -> Array:
        """What a block's results are products of."""
        if filling is None:
            part: Array = x[place]
            return part
        return filling.matrix if self.g.groups > 1 else filling.matrix[0]

    def _place(self, block: Block) -> slice:
        """Where its positions are among all."""
        row = prod(self.g.out[1:])
        start = (block.images.start * self.g.out[0] + block.rows.start) * row
        return slice(start, start + prod(block.shape) * row)

    def _frame(self, block: Block) -> tuple[int, ...]:
        """The part of the padded input that a block's windows meet, [n, *sizes, channels]."""
        images, rows = block.shape
        return images, *self.g.reach((rows, *self.g.out[1:])), self.g.channels

    def _bind(self, workspace: Array) -> list[tuple[list[Filling | None], list[Array]]]:
        memory = carve(workspace, self.g.dtype, *self.scratch)
        bound = []
        for team in self.teams:
            frame, columns = next(memory), next(memory)
            fillings = [None if self.direct else self._filling(block, frame, columns) for block in team]
            bound.append((fillings, [next(memory) for _ in self.products]))
        return bound

    def _filling(self, block: Block, frame: Array, columns: Array) -> Filling:
        g = self.g
        n, rows = block.shape
        counts = (rows, *g.out[1:])
        positions = n * prod(counts)
        matrix = columns[: g.groups * positions * g.depth].reshape(g.groups, positions, g.depth)
        starts = [-front for front, _ in g.padding]
        starts[0] += block.rows.start * g.stride[0]
        if g.is_pointwise:
            ends = [a + (c - 1) * s + 1 for a, c, s in zip(starts, counts, g.stride, strict=True)]
            steps = [slice(a, e, s) for a, e, s in zip(starts, ends, g.stride, strict=True)]
            return Filling(None, (block.images, *steps), self._taken(matrix, (n, *counts)), matrix)
        shape = self._frame(block)
        memory = frame[: prod(shape)].reshape(shape)
        image, *lines, channel = memory.strides
        taps, run = list(g.kernel), g.channels // g.groups
        if g.groups == 1 and g.dilation[-1] == 1:  # those along the last axis stand side by side
            run *= taps.pop()
        windows = as_strided(
            memory,
            (n, *counts, *taps, g.groups, run),
            (
                image,
                *(line * s for line, s in zip(lines, g.stride, strict=True)),
                *(line * d for line, d, _ in zip(lines, g.dilation, taps, strict=False)),
                channel * (g.channels // g.groups),
                channel,
            ),
            writeable=False,
        )
        # NumPy copies large elements much faster than short runs of small ones.
        whole = np.dtype((np.void, run * g.dtype.itemsize))
        part = framed(memory, block.images, starts, g.sizes)
        return Filling(part, windows.view(whole), self._taken(matrix, (n, *counts, *taps)).view(whole), matrix)

    def _taken(self, matrix: Array, shape: Sequence[int]) -> Array:
        """What goes to a matrix, [*shape, groups, numbers that stand side by side]."""
        return np.moveaxis(matrix.reshape(self.g.groups, *shape, -1), 0, -2)
