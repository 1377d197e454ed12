"""Transposed convolution with the channels last.

Where windows lie side by side, each position of the input gives a window of the result: one row of a matrix product.
With stride 1 it is a convolution with the taps in reverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np

from tinygraph.kernels.channels_last import Routine, convolution
from tinygraph.kernels.channels_last.blocks import Block, teams
from tinygraph.kernels.channels_last.epilogue import PLAIN, Epilogue, Finisher
from tinygraph.kernels.channels_last.product import Product
from tinygraph.kernels.channels_last.program import Call, Program
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.im2col import sharing
from tinygraph.kernels.packed import packed
from tinygraph.kernels.scratch import Array, carve, room
from tinygraph.kernels.workers import shares

_FEW_POSITIONS = 128  # for a worker; then they divide the rows of the windows


def is_side_by_side(g: Geometry) -> bool:
    """Whether windows cover the result without gaps, overlap or padding."""
    covered = tuple(n * s for n, s in zip(g.out, g.stride, strict=True))
    dense = g.kernel == g.stride and all(d == 1 or k == 1 for d, k in zip(g.dilation, g.kernel, strict=True))
    return g.groups == 1 and dense and not g.is_padded and covered == g.sizes


def reverse(g: Geometry) -> Geometry | None:
    """The convolution that a transposed one with stride 1 is; None for others."""
    if any(s != 1 for s in g.stride):
        return None
    reach = [(k - 1) * d for k, d in zip(g.kernel, g.dilation, strict=True)]
    padding = tuple((r - front, r - behind) for r, (front, behind) in zip(reach, g.padding, strict=True))
    if any(min(pair) < 0 for pair in padding):
        return None
    return replace(g, channels=g.filters, filters=g.channels, sizes=g.out, out=g.sizes, padding=padding)


def reversed_weight(g: Geometry, weight: Array) -> Array:
    """The weight [K, C / groups, *kernel] of a transposed convolution, for `reverse`: [C, K / groups, *kernel]."""
    by_group: Array = np.flip(weight, tuple(range(2, weight.ndim))).reshape(g.groups, -1, *weight.shape[1:])
    return by_group.swapaxes(1, 2).reshape(g.channels, -1, *g.kernel)


def fits(g: Geometry) -> bool:
    """Whether there is a routine for the transpose of a convolution."""
    return is_side_by_side(g) or reverse(g) is not None


def transposed(g: Geometry, workers: int, weight: Array, epilogue: Epilogue, fast: bool) -> Routine | SideBySide:
    """The routine for the transpose of a convolution that `fits`; the arguments are those of `convolution`."""
    if is_side_by_side(g):
        return SideBySide(g, workers, weight, epilogue)
    turned = reverse(g)
    assert turned is not None
    return convolution(turned, workers, reversed_weight(g, weight), epilogue, fast)


class SideBySide:
    """y = transpose of w * x, plus b, for a kernel as large as the stride, finished by an epilogue.

    Args:
        g: the convolution whose transpose it is, see `is_side_by_side`.
        workers: threads that it may use.
        weight: [filters, channels, *kernel], which never changes.
        epilogue: what is done to the results.
    """

    algorithm = "gemm"

    def __init__(self, g: Geometry, workers: int, weight: Array, epilogue: Epilogue = PLAIN) -> None:
        self.g = g
        rows, *others = g.kernel
        self.finisher = Finisher(epilogue, g.channels, g.dtype)
        workers = sharing(g, workers)
        row = prod(g.out[1:]) * (g.filters + 2 * prod(others) * g.channels)
        divided = g.batch * g.positions < workers * _FEW_POSITIONS and rows >= workers
        found = teams(g.batch, g.out[0], row * g.dtype.itemsize, 1 if divided else workers)
        taps = shares(rows, workers if divided else 1)
        self.teams = [(blocks, range(rows)[part]) for blocks in found for part in taps]
        largest = max(prod(block.shape) for blocks in found for block in blocks) * prod(g.out[1:])
        self.product = (largest, prod(others) * g.channels)
        self.workspace = self.slice_workspace = room(g.dtype, *[self.product] * len(self.teams))
        by_row = [np.moveaxis(weight[:, :, tap], 1, -1) for tap in range(rows)]  # [filters, *others, channels]
        self.products = [Product(part.reshape(g.filters, -1), largest, partial(packed, part)) for part in by_row]
        self.held = sum(product.held for product in self.products)
        self.reads_slices = not any(product.has_vectors for product in self.products)

    def run(self, x: Array, b: Array | None, residual: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [N, *sizes, C] of x [N, *out, K]; rows of both may be parts of longer ones."""
        self.program(x, b, residual, y, workspace)()

    def program(self, x: Array, b: Array | None, residual: Array | None, y: Array, workspace: Array) -> Program:
        """The same for arrays that stay where they are."""
        memory = carve(workspace, self.g.dtype, *[self.product] * len(self.teams))
        by_window = self._by_window(y)
        added = None if residual is None else self._by_window(residual)
        calls = [
            self._calls(*team, x, b, added, by_window, scratch)
            for team, scratch in zip(self.teams, memory, strict=True)
        ]
        return Program([calls])

    def _by_window(self, y: Array) -> Array:
        """[N, *sizes, C] as [N, first of out, first of kernel, *others of out, *others of kernel, C]."""
        g = self.g
        pairs = [n for pair in zip(g.out, g.kernel, strict=True) for n in pair]
        axes = len(g.out)
        order = (0, 1, 2, *range(3, 2 * axes + 1, 2), *range(4, 2 * axes + 1, 2), 2 * axes + 1)
        return y.reshape(g.batch, *pairs, g.channels).transpose(order)

    def _calls(
        self,
        blocks: Sequence[Block],
        taps: Sequence[int],
        x: Array,
        b: Array | None,
        residual: Array | None,
        y: Array,
        scratch: Array,
    ) -> list[Call]:
        calls: list[Call] = []
        for block in blocks:
            matrix = x[block.images, block.rows].reshape(-1, self.g.filters)
            product = scratch[: len(matrix)]
            for tap in taps:
                place = block.images, block.rows, tap
                target = y[place]
                windows = product.reshape(target.shape)
                calls += self.products[tap].calls(matrix, product)
                calls += self.finisher.calls(windows, b, None if residual is None else residual[place])
                calls.append(partial(np.copyto, target, windows))
        return calls
