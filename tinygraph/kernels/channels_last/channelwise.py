"""Steps with a vector of channels, such as batch normalization's scale and shift, on maps with the channels last."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.channels_last.blocks import teams, worth
from tinygraph.kernels.channels_last.epilogue import PLAIN, Epilogue, Finisher, along, repeated
from tinygraph.kernels.channels_last.program import make
from tinygraph.kernels.channels_last.im2col import Block
from tinygraph.kernels.scratch import Array
from tinygraph.kernels.workers import together


class Channelwise:
    """One ufunc after the other with a vector [C], then an epilogue; on blocks of maps [N, *sizes, C].

    Args:
        shape: [N, C, *sizes], nothing of it 0.
        steps: ufuncs and vectors, at least one.
        dtype: of maps and vectors.
        workers: threads that may be used.
        epilogue: what is done to the results.
    """

    workspace = 0

    def __init__(
        self,
        shape: Sequence[int],
        steps: Sequence[tuple[np.ufunc, Array]],
        dtype: np.dtype[Any],
        workers: int,
        epilogue: Epilogue = PLAIN,
    ) -> None:
        samples, self.channels, *sizes = shape
        row = prod(sizes[1:]) * self.channels * dtype.itemsize
        self.teams = teams(samples, sizes[0], (2 + epilogue.residual) * row, worth(prod(shape), workers))
        self.steps = [(ufunc, repeated(vector.astype(dtype))) for ufunc, vector in steps]
        self.held = sum(row.nbytes for _, row in self.steps)
        self.finisher = Finisher(epilogue, self.channels, dtype)

    def run(self, x: Array, residual: Array | None, y: Array) -> None:
        """Computes y, C-contiguous, of x."""
        together([partial(self._run, team, x, residual, y) for team in self.teams])

    def _run(self, team: Sequence[Block], x: Array, residual: Array | None, y: Array) -> None:
        for block in team:
            place = block.images, block.rows
            made = y[place].reshape(-1)
            part = x[place]
            if part.flags.c_contiguous:
                part = part.reshape(-1)
            else:
                np.copyto(y[place], part)
                part = made
            for ufunc, row in self.steps:
                make(along(ufunc, part, row, self.channels, made))
                part = made
            added = None if residual is None else residual[place].reshape(-1, self.channels)
            self.finisher.finish(made.reshape(-1, self.channels), None, added)
