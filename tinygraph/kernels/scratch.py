"""Scratch memory: bytes that begin on a cache line, and the arrays that they are divided into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

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


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
