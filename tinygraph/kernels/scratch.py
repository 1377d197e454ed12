"""Scratch memory: bytes that begin on a cache line, and the arrays that they are divided into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Index = tuple[Any, ...]  # of an array: slices, whole numbers and ...

_ALIGNMENT = 64  # bytes of a cache line, and of the widest vector register


def allocate(nbytes: int) -> Array:
    """So many bytes, whose values are arbitrary."""
    memory = np.empty(nbytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + nbytes]


def room(dtype: np.dtype[Any], *shapes: Sequence[int]) -> int:
    """Bytes of scratch memory that arrays of these shapes take one behind the other."""
    return sum(_aligned(prod(shape) * dtype.itemsize) for shape in shapes)


def carve(workspace: Array, dtype: np.dtype[Any], *shapes: Sequence[int]) -> Iterator[Array]:
    """Arrays of these shapes, one behind the other in scratch memory; their numbers are arbitrary."""
    at = 0
    for shape in shapes:
        size = prod(shape) * dtype.itemsize
        yield workspace[at : at + size].view(dtype).reshape(shape)
        at += _aligned(size)


class Bound:
    """What `make` makes of scratch memory: made once, as long as the memory is the same."""

    def __init__(self, make: Callable[[Array], Any]) -> None:
        self._make = make
        self._last: tuple[Array | None, Any] = (None, None)

    def __call__(self, workspace: Array) -> Any:
        memory, made = self._last
        if memory is not workspace:
            made = self._make(workspace)
            self._last = workspace, made  # at once: several threads may come with memory of their own
        return made


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
