"""Depthwise convolution with the channels last: rows of the input, shifted and multiplied by the weight of a tap.

A row of the result is W * K numbers side by side, and what a tap adds to it is a piece of a row of the input times
the tap's weight, repeated along it. np.einsum does the multiply-adds of all taps of a block in one call, in runs as
long as the repeated weight.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygraph.kernels.channels_last.blocks import Block, teams
from tinygraph.kernels.channels_last.epilogue import PLAIN, Epilogue, Finisher
from tinygraph.kernels.channels_last.frame import Frame, framed
from tinygraph.kernels.channels_last.program import Call, Program
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.scratch import Array, Bound, carve, room

# Runs of fewer numbers are slow, those of many more do not stay in the first-level cache.
_RUN = 512
# Fewer multiply-adds are done before another thread has begun.
_WORTH_SHARING = 3 << 18
# With more filters for each channel, columns and matrix products are faster.
_FILTERS_OF_CHANNEL = 4


def pays(g: Geometry) -> bool:
    """Whether this is the fastest routine for a convolution."""
    return g.groups == g.channels > 1 and g.filters <= _FILTERS_OF_CHANNEL * g.channels


class Depthwise:
    """y = w * x + b with a group for each channel, finished by an epilogue.

    Args:
        g: the convolution; groups are as many as channels.
        workers: threads that it may use.
        weight: [filters, 1, *kernel], which never changes.
        epilogue: what is done to the results.
    """

    algorithm = "depthwise"
    reads_slices = True
    slice_workspace = None

    def __init__(self, g: Geometry, workers: int, weight: Array, epilogue: Epilogue = PLAIN) -> None:
        if len(g.out) == 1:
            g, weight = _flat(g), weight[:, :, np.newaxis]
        self.g = g
        self.finisher = Finisher(epilogue, g.filters, g.dtype)
        self.times = _times(g) if g.stride[-1] == 1 else 1
        # [*kernel, run], contiguous: np.einsum takes the axes in an order that depends on it.
        self.weight = np.tile(np.ascontiguousarray(np.moveaxis(weight[:, 0], 0, -1)), self.times)
        self.held = self.weight.nbytes
        row = (prod(self._frame(1, 1)) + prod(g.out[1:]) * g.filters) * g.dtype.itemsize
        if g.batch * g.positions * g.filters * g.depth < _WORTH_SHARING:
            workers = 1
        self.teams = teams(g.batch, g.out[0], row, workers)
        self.scratch = ((max(prod(self._frame(*block.shape)) for team in self.teams for block in team),),)
        self.workspace = room(g.dtype, *self.scratch * len(self.teams))
        self.bound = Bound(self._bind)

    def run(self, x: Array, b: Array | None, residual: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [N, *out, K], C-contiguous, of x [N, *sizes, C], whose rows may be parts of longer ones."""
        self.program(x, b, residual, y, workspace)()

    def program(self, x: Array, b: Array | None, residual: Array | None, y: Array, workspace: Array) -> Program:
        """The same for arrays that stay where they are."""
        g = self.g
        x = x.reshape(g.batch, *g.sizes, g.channels, 1)
        y = y.reshape(g.batch, *g.out, g.filters)
        residual = None if residual is None else residual.reshape(y.shape)
        phase = []
        for team, fillings in zip(self.teams, self.bound(workspace), strict=True):
            calls: list[Call] = []
            for block, (frame, windows) in zip(team, fillings, strict=True):
                place = block.images, block.rows
                target = y[place]
                calls += frame.calls(x)
                calls.append(self._products(windows, target.reshape(*self._runs(block), -1)))
                calls += self.finisher.calls(target, b, None if residual is None else residual[place])
            phase.append(calls)
        return Program([phase])

    def _products(self, windows: Array, runs: Array) -> Call:
        """What multiplies windows by the weight, summed over the taps."""
        kept = range(runs.ndim - 1)
        taps, run = range(len(kept), windows.ndim - 1), windows.ndim - 1
        return partial(np.einsum, windows, [*kept, *taps, run], self.weight, [*taps, run], [*kept, run], out=runs)

    def _frame(self, images: int, rows: int) -> tuple[int, ...]:
        """The part of the padded input that a block's windows meet, [n, *sizes, K]."""
        return images, *self.g.reach((rows, *self.g.out[1:])), self.g.filters

    def _bind(self, workspace: Array) -> list[list[tuple[Frame, Array]]]:
        memory = carve(workspace, self.g.dtype, *self.scratch * len(self.teams))
        return [[self._filling(block, part) for block in team] for team, part in zip(self.teams, memory, strict=True)]

    def _filling(self, block: Block, memory: Array) -> tuple[Frame, Array]:
        """A block of the input, [n, *sizes, C, filters of a channel], and windows of it.

        These are what the taps meet, [n, *lines of the result, runs, *kernel, run].
        """
        g, shape = self.g, self._frame(*block.shape)
        frame = memory[: prod(shape)].reshape(shape)
        starts = [-front for front, _ in g.padding]
        starts[0] += block.rows.start * g.stride[0]
        image, *lines, number = frame.strides
        steps = [line * s for line, s in zip(lines, g.stride, strict=True)]
        taps = [line * d for line, d in zip(lines, g.dilation, strict=True)]
        windows = as_strided(
            frame,
            (*self._runs(block), *g.kernel, self.times * g.filters),
            (image, *steps[:-1], steps[-1] * self.times, *taps, number),
            writeable=False,
        )
        part = framed(frame, block.images, starts, g.sizes)
        by_channel = part.inside.reshape(*part.inside.shape[:-1], g.channels, g.filters // g.channels)
        return replace(part, inside=by_channel), windows

    def _runs(self, block: Block) -> tuple[int, ...]:
        """Runs of a block's results: images, lines, runs of a line."""
        return *block.shape, *self.g.out[1:-1], self.g.out[-1] // self.times


def _flat(g: Geometry) -> Geometry:
    """A convolution along one axis as one of images of one row."""
    return replace(
        g,
        sizes=(1, *g.sizes),
        out=(1, *g.out),
        kernel=(1, *g.kernel),
        stride=(1, *g.stride),
        padding=((0, 0), *g.padding),
        dilation=(1, *g.dilation),
    )


def _times(g: Geometry) -> int:
    """How often the weight is repeated along a row of the result: a divisor of its positions."""
    divisors = (n for n in range(1, g.out[-1] + 1) if g.out[-1] % n == 0)
    return next((n for n in divisors if n * g.filters >= _RUN), g.out[-1])
