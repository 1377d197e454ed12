"""Rows of ops/max_unpool.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Array, Case, Input, N, real
from tinygraph.ops.max_unpool import MaxUnpool, MaxUnpoolGrad


def sizes(op: Any, windows: tuple[int, ...]) -> list[int]:
    axes = zip(windows, op.kernel_size, op.stride, op.padding, strict=True)
    return [(n - 1) * s + k - front - behind for n, k, s, (front, behind) in axes]


def max_unpool(op: MaxUnpool, x: Array, places: Array) -> Array:
    y = np.zeros((*x.shape[:2], *sizes(op, x.shape[2:])), x.dtype)
    for i in np.ndindex(x.shape):
        y[np.unravel_index(places[i], y.shape)] = x[i]
    return y


def max_unpool_grad(op: MaxUnpoolGrad, g: Array, places: Array) -> Array:
    x = np.zeros(places.shape, g.dtype)
    for i in np.ndindex(places.shape):
        same = [j for j in np.ndindex(places.shape) if places[j] == places[i]]
        if i == same[-1]:
            x[i] = g[np.unravel_index(places[i], g.shape)]
    return x


def places(*shape: Any, below: int, once: bool = True) -> Input:
    """Places in a row, per sample so many; each at most once, or any."""

    def draw(rng: np.random.Generator, dims: tuple[int, ...]) -> Array:
        count, room = int(np.prod(dims)), below * dims[0]
        return (rng.permutation(room)[:count] if once else rng.integers(0, room, count)).reshape(dims)

    return Input(shape, draw, numbers=False)


TWO: dict[str, Any] = {"kernel_size": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
WIDE: dict[str, Any] = {"kernel_size": (3, 3), "stride": (2, 1), "padding": ((1, 1), (0, 1))}
LINE: dict[str, Any] = {"kernel_size": (2,), "stride": (3,), "padding": ((0, 0),)}

CASES = [
    Case(MaxUnpool(**TWO), [real(N, 2, 2, 3), places(N, 2, 2, 3, below=48)], max_unpool),
    Case(MaxUnpool(**WIDE), [real(N, 1, 2, 3), places(N, 1, 2, 3, below=12)], max_unpool, "overlapping"),
    Case(MaxUnpool(**TWO), [real(N, 1, 2, 2), places(N, 1, 2, 2, below=16, once=False)], max_unpool, "twice the same"),
    Case(MaxUnpool(**LINE), [real(2, 1, 3), places(2, 1, 3, below=8)], max_unpool, "1-D"),
    Case(MaxUnpoolGrad(**TWO), [real(N, 2, 4, 6), places(N, 2, 2, 3, below=48)], max_unpool_grad),
    Case(MaxUnpoolGrad(**TWO), [real(N, 1, 4, 4), places(N, 1, 2, 2, below=16, once=False)], max_unpool_grad, "twice"),
]
