"""Reductions over axes by a ufunc, divided among threads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

import numpy as np

from tinygraph.kernels.scratch import Array, Index
from tinygraph.kernels.workers import shares, together

_WORTH_SHARING = 1 << 16  # elements; fewer are done before another thread has begun


class Reduce:
    """y = ufunc.reduce(x, axes), prepared. Each thread makes a part of y, along an axis that stays.

    Args:
        ufunc: np.add, np.maximum or another that can be reduced.
        shape: of x.
        axes: that are reduced.
        keepdims: whether they stay with size 1.
        workers: threads that may be used.
    """

    workspace = 0

    def __init__(
        self, ufunc: np.ufunc, shape: Sequence[int], axes: Sequence[int], keepdims: bool, workers: int
    ) -> None:
        self.reduce = partial(ufunc.reduce, axis=tuple(axes), keepdims=keepdims)
        self.parts: list[tuple[Index, Index]] = [((...,), (...,))]
        if workers == 1 or prod(shape) < _WORTH_SHARING:
            return
        kept = [axis for axis, size in enumerate(shape) if axis not in axes and size >= workers]
        if kept:
            axis = kept[0]
            place = axis if keepdims else axis - sum(1 for reduced in axes if reduced < axis)
            whole = slice(None)
            found = shares(shape[axis], workers)
            self.parts = [((*(whole,) * axis, part, ...), (*(whole,) * place, part, ...)) for part in found]

    def run(self, x: Array, y: Array) -> None:
        """Computes y."""
        together([partial(self.reduce, x[a], out=y[b]) for a, b in self.parts])
