"""Products with a weight that is packed beforehand, by the inner kernels of the OpenBLAS that NumPy brings along.

At every call sgemm copies both matrices into the order in which its kernel reads them. For a weight that costs as
much as twenty rows of the product, and it never changes: so here it is packed once. The kernel adds to what it finds,
so what a result begins with, a bias or a residual, is written once and not added in another pass.

These kernels are no public part of OpenBLAS, though their arguments have been the same since GotoBLAS. So they are
called only in versions 0.3, on processors on which they have been tested, and if they pass a trial in this process.
Otherwise, or with TINYGRAPH_OPENBLAS=0, NumPy multiplies.

Source: Goto and van de Geijn 2008, Anatomy of High-Performance Matrix Multiplication.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from tinygraph import config
from tinygraph.kernels.scratch import Array

_PROCESSORS = "SKYLAKEX", "HASWELL"
_VERSIONS = "0.3."

_ONE = ctypes.c_float(1)
_ITEM = 4  # bytes of a number
_GAP = 16  # numbers around what a trial packs

Span = tuple[int, int]  # of memory: from an address to another


class Native(partial[None]):
    """A call of a library's function, which has nothing but addresses.

    Attributes:
        reads, writes: what is there; the call keeps their memory.
    """

    reads: Sequence[Matrix]
    writes: Sequence[Matrix]


class Matrix(NamedTuple):
    """Where numbers in single precision are. Parts of it, and their addresses, are found faster than those of arrays.

    Attributes:
        array: whose memory it is.
        address: of the first number.
        rows, columns: how many.
        lead: numbers from a row to the next; or from a column, if those are contiguous.
        by_row: whether the numbers of a row stand side by side, or those of a column.
    """

    array: Array
    address: int
    rows: int
    columns: int
    lead: int
    by_row: bool = True

    @classmethod
    def of(cls, array: Array) -> Matrix | None:
        """That of an array [rows, columns]; None if neither rows nor columns are contiguous."""
        for by_row, inner, outer in (True, 1, 0), (False, 0, 1):
            lead, rest = divmod(array.strides[outer], _ITEM)
            # Where there is but one number, NumPy's stride means nothing.
            if (array.strides[inner] == _ITEM or array.shape[inner] == 1) and (not rest or array.shape[outer] == 1):
                rows, columns = array.shape
                return cls(array, array.ctypes.data, rows, columns, lead, by_row)
        return None

    def part(self, rows: slice, columns: slice) -> Matrix:
        """Some rows and columns; both slices have a start and an end."""
        down, across = (self.lead, 1) if self.by_row else (1, self.lead)
        address = self.address + _ITEM * (rows.start * down + columns.start * across)
        size = rows.stop - rows.start, columns.stop - columns.start
        return Matrix(self.array, address, *size, self.lead, self.by_row)

    @property
    def span(self) -> Span:
        """The memory that it lies in."""
        outer, inner = (self.rows, self.columns) if self.by_row else (self.columns, self.rows)
        ends = self.address, self.address + _ITEM * (outer - 1) * self.lead
        return min(ends), max(ends) + _ITEM * inner


def matrix(array: Array) -> Matrix:
    """Where an array is that has contiguous rows or columns."""
    found = Matrix.of(array)
    assert found is not None
    return found


class Kernels:
    """Single precision. The order of packed numbers is the library's own; they begin at an address, without gaps.

    Args:
        library: OpenBLAS, as ctypes opens it.
        processor: which of its kernels are meant, in capitals.

    Raises:
        AttributeError: it has none for that processor.
    """

    def __init__(self, library: Any, processor: str) -> None:
        names = "kernel", "incopy", "itcopy", "oncopy", "otcopy"
        found = [library[f"sgemm_{name}_{processor}"] for name in names]
        for function in found:
            function.restype = None
        self._multiply, *packing = found
        self._weight, self._rows = packing[:2], packing[2:]

    def weight(self, weight: Matrix, packed: Matrix) -> Native:
        """What packs a weight whose rows are filters, of so much depth."""
        return _packing(self._weight, weight, packed)

    def rows(self, x: Matrix, packed: Matrix) -> Native:
        """What packs rows."""
        return _packing(self._rows, x, packed)

    def add(self, rows: Matrix, weight: Matrix, y: Matrix) -> Native:
        """What adds the product of packed rows and a packed weight to y, whose rows are contiguous."""
        assert y.by_row
        sizes = _whole(y.columns), _whole(y.rows), _whole(rows.columns)
        pointers = map(ctypes.c_void_p, (weight.address, rows.address, y.address))
        call = Native(self._multiply, *sizes, _ONE, *pointers, _whole(y.lead))
        call.reads, call.writes = (rows, weight, y), (y,)
        return call


@cache
def kernels() -> Kernels | None:
    """Those of an OpenBLAS that this process has loaded; None if it has none that is known to work."""
    if not config.read().openblas or sys.maxsize < 1 << 32:
        return None
    for library in libraries():
        info = library.info()
        processor = str(info.get("architecture")).upper()
        if processor in _PROCESSORS and str(info["version"]).startswith(_VERSIONS):
            try:
                found = Kernels(ctypes.CDLL(library.filepath), processor)
            except (AttributeError, OSError):
                continue
            if _works(found):
                return found
    return None


@cache
def libraries() -> list[Any]:
    """The BLAS libraries of this process, as threadpoolctl knows them."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _packing(functions: Sequence[Any], x: Matrix, packed: Matrix) -> Native:
    """What packs a matrix; there is a function for contiguous rows, and one for contiguous columns."""
    sizes = _whole(x.columns), _whole(x.rows)
    source, target = map(ctypes.c_void_p, (x.address, packed.address))
    call = Native(functions[not x.by_row], *sizes, source, _whole(x.lead), target)
    call.reads, call.writes = (x,), (packed,)
    return call


@lru_cache(1 << 12)
def _whole(number: int) -> ctypes.c_int64:
    """In C's type already: converting numbers takes as long as the call."""
    return ctypes.c_int64(number)


def _works(found: Kernels) -> bool:
    """A trial: products with all kinds of remainders, exact in whole numbers, and nothing touched beside them."""
    for rows, depth, filters in (1, 1, 1), (7, 5, 31), (26, 33, 79), (101, 70, 65):
        xs = _count(rows, depth + 3)[:, :depth], _count(depth, rows).T
        weights = _count(filters, depth), _count(depth, filters).T
        for x, weight in zip(xs, weights, strict=True):
            y = _count(rows + 2, filters + 2)
            expected = y.copy()
            expected[1:-1, 1:-1] += x @ weight.T
            memory = [np.full(size + 2 * _GAP + 1, np.nan, np.float32) for size in (rows * depth, filters * depth)]
            left, right = (matrix(m[_GAP + 1 : -_GAP].reshape(-1, depth)) for m in memory)
            calls = [
                found.weight(matrix(weight), right),
                found.rows(matrix(x), left),
                found.add(left, right, matrix(y[1:-1, 1:-1])),
            ]
            for call in calls:
                call()
            gaps = [m[side] for m in memory for side in (slice(_GAP + 1), slice(-_GAP, None))]
            if not np.array_equal(y, expected) or not np.isnan(np.concatenate(gaps)).all():
                return False
    return True


def _count(*shape: int) -> Array:
    """Small whole numbers."""
    return (np.arange(np.prod(shape)).reshape(shape) % 13 - 6).astype(np.float32)
