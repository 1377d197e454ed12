"""Steps with a vector of channels, such as batch normalization's scale and shift, on maps with the channels last."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.channels_last.blocks import Block, teams, worth
from tinygraph.kernels.channels_last.epilogue import PLAIN, Epilogue, Finisher, along, repeated
from tinygraph.kernels.channels_last.program import Call, Program
from tinygraph.kernels.scratch import Array


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
        vectors = [(ufunc, vector.astype(dtype)) for ufunc, vector in steps]
        self.steps = [(ufunc, vector, repeated(vector)) for ufunc, vector in vectors]
        self.held = sum(vector.nbytes + row.nbytes for _, vector, row in self.steps)
        self.finisher = Finisher(epilogue, self.channels, dtype)

    def program(self, x: Array, residual: Array | None, y: Array) -> Program:
        """What computes y, C-contiguous, of x, as often as it is called."""
        return Program([[self._calls(team, x, residual, y) for team in self.teams]])

    def _calls(self, team: Sequence[Block], x: Array, residual: Array | None, y: Array) -> list[Call]:
        calls: list[Call] = []
        (first, vector, row), *rest = self.steps
        for block in team:
            place = block.images, block.rows
            part, target = x[place], y[place]
            made = target.reshape(-1)
            if part.flags.c_contiguous:
                calls += along(first, part.reshape(-1), row, self.channels, made)
            else:
                calls.append(partial(first, part, vector, out=target))
            for ufunc, _, row_of_step in rest:
                calls += along(ufunc, made, row_of_step, self.channels, made)
            calls += self.finisher.calls(target, None, None if residual is None else residual[place])
        return calls
