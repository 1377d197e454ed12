"""Matrix products in the sizes that OpenBLAS is fast on.

Large matrices it packs first, into the order in which its kernel reads them. That costs most where rows are few, and
least where many filters share what is packed. Small ones it takes as they stand: where the depth is small, a tile of
the weight that fills the first-level cache, and rows up to the limit of what is small, are multiplied faster.

Other libraries multiply such parts no slower than they are used to.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from tinygraph.kernels.channels_last.program import Call
from tinygraph.kernels.scratch import Array

# Multiply-adds up to which OpenBLAS takes matrices as they are, and the depth up to which that is faster.
_SMALL = 1_000_000
_SHALLOW = 160
# Numbers of a weight's tile, 32 KiB of them in single precision, and of a vector register.
_TILE = 1 << 13
_VECTOR = 16
# Where rows are fewer, filters are multiplied so many at a time.
_FEW_ROWS = 256
_FILTERS = 128


class Product:
    """y = x @ weight, prepared.

    Args:
        weight: [depth, filters], which never changes.
        rows: how many x has, at most.

    Attributes:
        held: bytes of the weight in parts.
    """

    def __init__(self, weight: Array, rows: int) -> None:
        depth, filters = weight.shape
        self._most, width = rows, filters
        if depth <= _SHALLOW:
            parts = max(round(filters * depth / _TILE), 1)
            width = min(-(-filters // (parts * _VECTOR)) * _VECTOR, filters)
            self._most = max(_SMALL // (width * depth), 1)
        elif rows < _FEW_ROWS:
            width = min(_FILTERS, filters)
        whole = filters // width * width
        # [parts, 1, depth, filters of a part]: the 1 is for tiles of rows.
        equal = weight[:, :whole].reshape(depth, -1, width).swapaxes(0, 1)
        self._parts = [np.ascontiguousarray(equal)[:, np.newaxis]]
        if whole < filters:
            self._parts.append(np.ascontiguousarray(weight[:, whole:])[np.newaxis, np.newaxis])
        self.held = sum(parts.nbytes for parts in self._parts)

    def calls(self, x: Array, y: Array) -> list[Call]:
        """What computes y [rows, filters] of x [rows, depth]; rows of either may be parts of longer ones."""
        rows = len(x)
        tiles = -(-rows // self._most)
        end = rows // tiles * tiles
        found = self._tiles(x[:end], y[:end], tiles)
        return found + self._tiles(x[end:], y[end:], 1) if end < rows else found

    def _tiles(self, x: Array, y: Array, tiles: int) -> list[Call]:
        left = x.reshape(tiles, -1, x.shape[1])
        found: list[Call] = []
        first = 0
        for parts in self._parts:
            count, width = len(parts), parts.shape[-1]
            end = first + count * width
            result = y[:, first:end].reshape(tiles, -1, count, width)
            found.append(partial(np.matmul, left, parts, out=result.transpose(2, 0, 1, 3)))
            first = end
        return found


class GroupedProduct:
    """y = x @ weight for each group.

    Args:
        weight: [groups, depth, filters of a group].

    Attributes:
        held: bytes of the weight.
    """

    def __init__(self, weight: Array) -> None:
        self._weight = np.ascontiguousarray(weight)
        self.held = self._weight.nbytes

    def calls(self, x: Array, y: Array) -> list[Call]:
        """What computes y [rows, groups * filters] of x [groups, rows, depth]."""
        by_group = y.reshape(len(y), len(self._weight), -1).swapaxes(0, 1)
        return [partial(np.matmul, x, self._weight, out=by_group)]
