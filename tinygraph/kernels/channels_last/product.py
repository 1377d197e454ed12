"""Matrix products with a weight that never changes: packed beforehand, or in the sizes that OpenBLAS is fast on.

Large matrices it packs first, into the order in which its kernel reads them. That costs most where rows are few, and
least where many filters share what is packed; where its kernels can be called, the weight is packed once instead.
Small ones it takes as they stand: where the depth is small, a tile of the weight that fills the first-level cache,
and rows up to the limit of what is small, are multiplied faster.

Other libraries multiply such parts no slower than they are used to.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.channels_last.epilogue import Finisher
from tinygraph.kernels.channels_last.program import Call
from tinygraph.kernels.channels_last.program import make as run
from tinygraph.kernels.openblas import Kernels, Matrix, kernels, matrix
from tinygraph.kernels.scratch import Array, allocate
from tinygraph.kernels.workers import shares, together

# Multiply-adds up to which OpenBLAS takes matrices as they are, and the depth up to which that is faster.
_SMALL = 1_000_000
_SHALLOW = 160
# Numbers of a weight's tile, 32 KiB of them in single precision, and of a vector register.
_TILE = 1 << 13
_VECTOR = 16
# Where rows are fewer, filters are multiplied so many at a time.
_FEW_ROWS = 256
_FILTERS = 128
# What is packed is multiplied in parts so deep, and of so many numbers: the second-level cache holds such a part, ...
_DEEP = 512
_PART = 1 << 17
# ... and rows of so many numbers, with their results.
_TILE_OF_ROWS = 1 << 17
_FEWEST_ROWS = 48
# For fewer filters it costs as much to pack the rows.
_FEWEST_FILTERS = 16


Make = Callable[[], Array]
Keep = Callable[[Hashable, Make], Array]


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
        scratch: numbers of memory that are needed.
    """

    scratch = 0

    def __init__(self, weight: Array, rows: int, keep: Keep = _anew) -> None:
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


class PackedProduct:
    """y = y + x @ weight for a stack of weights in single precision, packed beforehand.

    Args:
        found: what multiplies.
        shape: of the weights, [stack, depth, filters].
        make: makes the weights, which never change.
        most: how many rows each x has, at most.
        workers: threads that may pack them.
        keep: as in Product.

    Attributes:
        held: bytes of the packed weights.
        scratch: numbers of memory that are needed, where packed rows go.
    """

    has_vectors = False  # no stride has a say in the order in which it sums

    def __init__(
        self, found: Kernels, shape: tuple[int, int, int], make: Make, most: int, workers: int, keep: Keep = _anew
    ) -> None:
        stack, depth, filters = shape
        self._kernels, self.most = found, most
        self._depths = shares(depth, -(-depth // _DEEP))
        deepest = max(depths.stop - depths.start for depths in self._depths)
        vectors = -(-filters // _VECTOR)
        self._filters = [
            slice(part.start * _VECTOR, min(part.stop * _VECTOR, filters))
            for part in shares(vectors, -(-vectors * _VECTOR * deepest // _PART))
        ]

        def pack() -> Array:
            packed = allocate(prod(shape) * 4).view(np.float32).reshape(stack, -1)
            calls: list[Call] = []
            for weight, memory in zip(make(), packed, strict=True):
                before, whole = _seen(weight.T)
                run(before)
                for depths, parts in self._pieces(memory):
                    calls += [found.weight(whole.part(part, depths), piece) for part, piece in parts]
            together([partial(run, calls[share]) for share in shares(len(calls), workers)])
            return packed

        weights = keep(("packed", *shape, len(self._depths), len(self._filters)), pack)
        self._weights = list(map(self._pieces, weights))
        self.held = weights.nbytes
        self.scratch = most * deepest

    def calls(self, number: int, x: Matrix, y: Matrix, scratch: Matrix) -> list[Call]:
        """What adds to y [rows, filters], of contiguous rows, what x [rows, depth] gives with one of the weights."""
        assert x.rows <= self.most
        calls: list[Call] = []
        every = slice(0, x.rows)
        for depths, parts in self._weights[number]:
            depth = depths.stop - depths.start
            rows = Matrix(scratch.array, scratch.address, x.rows, depth, depth)
            calls.append(self._kernels.rows(x.part(every, depths), rows))
            calls += [self._kernels.add(rows, piece, y.part(every, part)) for part, piece in parts]
        return calls

    def stacked(self, x: Array, y: Array, scratch: Array) -> list[Call]:
        """What adds to y [stack, rows, filters] what x [stack, rows, depth] gives; rows are contiguous."""
        memory = matrix(scratch[np.newaxis])
        pairs = zip(map(matrix, x), map(matrix, y), strict=True)
        return [call for n, pair in enumerate(pairs) for call in self.calls(n, *pair, memory)]

    def _pieces(self, packed: Array) -> list[tuple[slice, list[tuple[slice, Matrix]]]]:
        """Each part of the depth, and with it the parts of the filters and where the weight of both is."""
        found = []
        address = packed.ctypes.data
        for depths in self._depths:
            depth = depths.stop - depths.start
            parts = []
            for part in self._filters:
                piece = Matrix(packed, address, part.stop - part.start, depth, depth)
                parts.append((part, piece))
                address += piece.rows * depth * packed.itemsize
            found.append((depths, parts))
        return found


def _seen(x: Array) -> tuple[list[Call], Matrix]:
    """Where [rows, columns] are; if neither are contiguous, those of a copy, and what makes it."""
    found = Matrix.of(x)
    if found is not None:
        return [], found
    copy = np.empty(x.shape, x.dtype)  # none of the maps that a session lays out needs it
    return [partial(np.copyto, copy, x)], matrix(copy)


def prepared(weight: Array, rows: int, workers: int, keep: Keep = _anew) -> Product | PackedProduct:
    """The faster kind of product; see there for the arguments."""
    filters = weight.shape[-1]
    depth = weight.size // filters
    found = packing(weight.dtype, rows, depth, filters)
    if found is None or depth <= _SHALLOW or filters < _FEWEST_FILTERS:
        return Product(weight, rows, keep)
    rows = min(rows, max(_TILE_OF_ROWS // (filters + min(depth, _DEEP)), _FEWEST_ROWS))
    return PackedProduct(found, (1, depth, filters), lambda: weight.reshape(1, depth, filters), rows, workers, keep)


def packing(dtype: np.dtype[Any], rows: int, depth: int, filters: int) -> Kernels | None:
    """What multiplies by a packed weight, if it can be called, and NumPy would pack the weight at every call."""
    return kernels() if dtype == np.float32 and rows * depth * filters > _SMALL else None


class GroupedProduct:
    """y = x @ weight for each group.

    Args:
        weight: [groups, ..., filters of a group], which never changes; the axes between are the depth, in that order.
        keep: as in Product.

    Attributes:
        held: bytes of the weight.
        scratch: numbers of memory that are needed.
    """

    scratch = 0

    def __init__(self, weight: Array, keep: Keep = _anew) -> None:
        groups, *_, filters = weight.shape
        self._weight = keep(("groups", groups), lambda: np.ascontiguousarray(weight)).reshape(groups, -1, filters)
        self.held = self._weight.nbytes
        self.has_vectors = filters == 1

    def calls(self, x: Array, y: Array) -> list[Call]:
        """What computes y [rows, groups * filters] of x [groups, rows, depth]."""
        by_group = y.reshape(len(y), len(self._weight), -1).swapaxes(0, 1)
        return [partial(np.matmul, x, self._weight, out=by_group)]


def finished(
    product: Product | PackedProduct | GroupedProduct,
    finisher: Finisher,
    x: Array,
    y: Array,
    bias: Array | None,
    residual: Array | None,
    scratch: Array,
) -> list[Call]:
    """What computes y [rows, filters] as a product of x, and finishes it.

    Args:
        product: computes y.
        finisher: finishes it.
        x: [rows, depth], or [groups, rows, depth].
        y: rows may be parts of longer ones, as those of x.
        bias: [filters].
        residual: like y.
        scratch: for as many numbers as the product asks for.
    """
    if not isinstance(product, PackedProduct):
        return product.calls(x, y) + finisher.calls(y, bias, residual)
    calls, left = _seen(x)
    result, memory = matrix(y), matrix(scratch[np.newaxis])
    for tile in shares(len(x), -(-len(x) // product.most)):
        calls += finisher.beginning(y[tile], bias, None if residual is None else residual[tile])
        part, target = (whole.part(tile, slice(0, whole.columns)) for whole in (left, result))
        calls += product.calls(0, part, target, memory)
        calls += finisher.bounding(y[tile])
    return calls
