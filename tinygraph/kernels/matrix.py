"""Products of matrices, or of stacks of them, divided among threads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

import numpy as np

from tinygraph.kernels.scratch import Array
from tinygraph.kernels.workers import shares, together

_WORTH_SHARING = 1 << 19  # multiply-adds; fewer are done before another thread has begun


class MatrixProduct:
    """y = a b, prepared. Each thread makes some rows or columns of y, of whichever there are more.

    Args:
        a: shape [..., m, k].
        b: shape [..., k, n].
        workers: threads that may be used.
    """

    workspace = 0

    def __init__(self, a: Sequence[int], b: Sequence[int], workers: int) -> None:
        rows, columns = a[-2], b[-1]
        stack = np.broadcast_shapes(tuple(a[:-2]), tuple(b[:-2]))
        if prod(stack) * rows * columns * a[-1] < _WORTH_SHARING:
            workers = 1
        whole = slice(None)
        if rows >= columns:
            self.parts = [(part, whole) for part in shares(rows, workers)]
        else:
            self.parts = [(whole, part) for part in shares(columns, workers)]

    def run(self, a: Array, b: Array, y: Array) -> None:
        """Computes y."""
        together([partial(np.matmul, a[..., i, :], b[..., j], out=y[..., i, j]) for i, j in self.parts])
