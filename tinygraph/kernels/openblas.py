"""Products with a weight that is packed beforehand, by the inner kernels of the OpenBLAS that NumPy brings along.

At every call sgemm copies both matrices into the order in which its kernel reads them. For a weight that costs as
much as twenty rows of the product, and it never changes: so here it is packed once. The kernel adds to what it finds,
so what a result begins with, a bias or a residual, is written once and not added in another pass.

These kernels are no public part of OpenBLAS, though their arguments have been the same since GotoBLAS. So they are
called only for versions and processors with which they have been tested, and if they pass a trial in this process.
Otherwise, or with TINYGRAPH_OPENBLAS=0, NumPy multiplies.

Source: Goto and van de Geijn 2008, Anatomy of High-Performance Matrix Multiplication.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from tinygraph import config
from tinygraph.kernels.scratch import Array, allocate

Call = Callable[[], object]

_PROCESSORS = "SKYLAKEX", "HASWELL"
_VERSIONS = "0.3."

_ONE = ctypes.c_float(1)
_GAP = 16  # numbers around what a trial packs


class Native(partial[None]):
    """A call of a library's function, with the arrays that it reads and writes."""

    reads: Sequence[Array]
    writes: Sequence[Array]


class Kernels:
    """Single precision. The order of packed numbers is the library's own.

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

    def weight(self, weight: Array, packed: Array) -> None:
        """Packs [depth, filters] into memory for as many numbers."""
        for call in _packing(self._weight, weight.T, packed):
            call()

    def rows(self, x: Array, packed: Array) -> list[Call]:
        """What packs x [rows, depth] into memory for as many numbers."""
        return _packing(self._rows, x, packed)

    def add(self, rows: Array, weight: Array, y: Array) -> Native:
        """What adds the product of packed rows and weight to y [rows, filters]; those of a row stand side by side."""
        count, filters = y.shape
        depth, lead = weight.size // filters, y.strides[0] // y.itemsize
        call = _native(self._multiply, filters, count, depth, _ONE, weight, rows, y, lead)
        call.reads, call.writes = [rows, weight, y], [y]
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


def _packing(functions: Sequence[Any], x: Array, packed: Array) -> list[Call]:
    """What packs [rows, depth]; there is a function for rows that are contiguous, and one for columns that are."""
    if x.itemsize not in x.strides:
        copy = np.empty(x.shape, x.dtype)
        return [partial(np.copyto, copy, x), *_packing(functions, copy, packed)]
    by_row = x.strides[1] == x.itemsize
    lead = x.strides[0 if by_row else 1] // x.itemsize
    call = _native(functions[not by_row], x.shape[1], x.shape[0], x, lead, packed)
    call.reads, call.writes = [x], [packed]
    return [call]


def _native(function: Any, *arguments: Any) -> Native:
    """A call whose arguments have C's types already: converting them would take longer than to call."""
    return Native(function, *map(_converted, arguments))


def _converted(argument: Any) -> Any:
    if isinstance(argument, np.ndarray):
        return ctypes.c_void_p(argument.ctypes.data)
    return ctypes.c_int64(argument) if isinstance(argument, int) else argument


def _works(found: Kernels) -> bool:
    """A trial: products with all kinds of remainders, exact in whole numbers, and nothing touched beside them."""
    for rows, depth, filters in (1, 1, 1), (7, 5, 31), (26, 33, 79):
        xs = _count(rows, depth + 3)[:, :depth], _count(depth, rows).T
        weights = _count(depth, filters), _count(filters, depth).T
        for x, weight in zip(xs, weights, strict=True):
            y = _count(rows, filters + 2)
            expected = y.copy()
            expected[:, :filters] += x @ weight
            memory = [_empty(size * depth + 2 * _GAP) for size in (rows, filters)]
            left, right = (m[_GAP:-_GAP] for m in memory)
            found.weight(weight, right)
            calls: list[Call] = [*found.rows(x, left), found.add(left, right, y[:, :filters])]
            for call in calls:
                call()
            gaps = [m[side] for m in memory for side in (slice(_GAP), slice(-_GAP, None))]
            if not np.array_equal(y, expected) or not np.isnan(gaps).all():
                return False
    return True


def _count(*shape: int) -> Array:
    """Small whole numbers."""
    return (np.arange(np.prod(shape)).reshape(shape) % 13 - 6).astype(np.float32)


def _empty(size: int) -> Array:
    found: Array = allocate(4 * size).view(np.float32)
    found.fill(np.nan)
    return found
