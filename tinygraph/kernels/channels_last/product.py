"""Matrix products in the sizes that OpenBLAS is fast on.

Large matrices it packs first, into the order in which its kernel reads them. That costs most where rows are few, and
least where many filters share what is packed. Small ones it takes as they stand: where the depth is small, a tile of
the weight that fills the first-level cache, and rows up to the limit of what is small, are multiplied faster.

Other libraries multiply such parts no slower than they are used to.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
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


Make = Callable[[], Array]


def _anew(name: Hashable, make: Make) -> Array:
    return make()


class Product:
    """y = x @ weight, prepared.

    Args:
        weight: [..., filters], which never changes; the axes in front are the depth, in that order.
        rows: how many x has, at most.
        keep: what is given a name and a function that makes an array of the weight, and returns that array. The name
            tells all but the weight's numbers in their order.

    Attributes:
        held: bytes of the weight in parts, but not of what is a view of it.
    """

    def __init__(self, weight: Array, rows: int, keep: Callable[[Hashable, Make], Array] = _anew) -> None:
        filters = weight.shape[-1]
        depth = weight.size // filters
        self._most, width = rows, filters
        if depth <= _SHALLOW:
            parts = max(round(filters * depth / _TILE), 1)
            width = min(-(-filters // (parts * _VECTOR)) * _VECTOR, filters)
            self._most = max(_SMALL // (width * depth), 1)
        elif rows < _FEW_ROWS:
            width = min(_FILTERS, filters)
        else:
            # OpenBLAS packs it anyway, from rows of filters as fast as from any other order. Often that is a view.
            found = keep(("filters", filters), lambda: np.ascontiguousarray(np.moveaxis(weight, -1, 0)))
            self._parts = [found.reshape(filters, depth).T[np.newaxis, np.newaxis]]
            self.held = 0 if np.may_share_memory(found, weight) else found.nbytes
            return
        whole = filters // width * width

        def equal() -> Array:
            cut = weight[..., :whole].reshape(depth, -1, width)
            return np.ascontiguousarray(cut.swapaxes(0, 1))

        def rest() -> Array:
            return np.ascontiguousarray(weight[..., whole:]).reshape(1, depth, -1)

        # [parts, 1, depth, filters of a part]: the 1 is for tiles of rows.
        self._parts = [keep(("parts", filters, width), equal)[:, np.newaxis]]
        if whole < filters:
            self._parts.append(keep(("rest", filters, width), rest)[:, np.newaxis])
        self.held = sum(parts.nbytes for parts in self._parts)

    @property
    def has_vectors(self) -> bool:
        """Whether parts of the weight are vectors: the order in which BLAS sums then hangs on the strides of x, y."""
        return any(parts.shape[-1] == 1 for parts in self._parts)

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
        weight: [groups, ..., filters of a group], which never changes; the axes between are the depth, in that order.
        keep: as in Product.

    Attributes:
        held: bytes of the weight.
    """

    def __init__(self, weight: Array, keep: Callable[[Hashable, Make], Array] = _anew) -> None:
        groups, *_, filters = weight.shape
        self._weight = keep(("groups", groups), lambda: np.ascontiguousarray(weight)).reshape(groups, -1, filters)
        self.held = self._weight.nbytes
        self.has_vectors = filters == 1

    def calls(self, x: Array, y: Array) -> list[Call]:
        """What computes y [rows, groups * filters] of x [groups, rows, depth]."""
        by_group = y.reshape(len(y), len(self._weight), -1).swapaxes(0, 1)
        return [partial(np.matmul, x, self._weight, out=by_group)]
