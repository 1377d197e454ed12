"""Rows of ops/tile.py."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, booleans, real
from tinygraph.ops.tile import Tile


def tile(op: Tile, x: Array) -> Array:
    y = np.empty([n * d for n, d in zip(op.repeats, x.shape, strict=True)], x.dtype)
    for i in np.ndindex(y.shape):
        y[i] = x[tuple(at % d for at, d in zip(i, x.shape, strict=True))]
    return y


CASES = [
    Case(Tile((1, 3, 2)), [real(N, 2, 3)], tile),
    Case(Tile((1, 2)), [real(3, 3)], tile, "square"),
    Case(Tile((2, 1)), [booleans(3, 2)], tile, "booleans"),
    Case(Tile((1, 0)), [real(N, 2)], tile, "to nothing"),
    Case(Tile(()), [real()], tile, "0-d"),
]
