"""How fast this machine multiplies matrices: what the speed of every kernel is held against."""

from __future__ import annotations

from functools import cache
from time import perf_counter_ns
from typing import Any

import numpy as np

from tinygraph.kernels.matrix import MatrixProduct
from tinygraph.runtime.threads import limit

_SIZE = 1024  # rows and columns
_ROWS = 256  # of each thread at least
_LEAST, _MOST, _ENOUGH = 3, 50, 500_000_000  # runs, and nanoseconds after which there are enough of them


@cache
def gemm_peak(dtype: np.dtype[Any], threads: int) -> float:
    """FLOP/s of the best of several products of 1024 x 1024 matrices, divided as kernels do.

    Measured once in a process, which takes about half a second.

    Args:
        dtype: float32 for sgemm, float64 for dgemm.
        threads: that share the product; many of them get more rows.
    """
    rng = np.random.default_rng(0)
    shapes = (max(_SIZE, _ROWS * threads), _SIZE), (_SIZE, _SIZE)
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    y = np.empty((a.shape[0], _SIZE), dtype)
    product = MatrixProduct(a.shape, b.shape, threads)
    taken: list[int] = []
    with limit(1):
        product.run(a, b, y)
        while len(taken) < _LEAST or (len(taken) < _MOST and sum(taken) < _ENOUGH):
            began = perf_counter_ns()
            product.run(a, b, y)
            taken.append(perf_counter_ns() - began)
    return 2e9 * y.size * _SIZE / min(taken)
