"""Scratch memory: bytes that begin on a cache line, and the arrays that they are divided into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from inspect import ismethod
from math import prod
from typing import Any
from weakref import WeakMethod, ref

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
    """What `make` makes of memory: made once, as long as the memory is there, and gone with it.

    Args:
        make: makes it; it may keep views of the memory, but not the very array. A method does not keep its object.
    """

    def __init__(self, make: Callable[[Array], Any]) -> None:
        # The object has this one: were it kept from here, only the collector of cycles would ever free its weights.
        self._make: Callable[[], Any] = WeakMethod(make) if ismethod(make) else lambda: make
        self._made: dict[int, tuple[ref[Array], Any]] = {}  # several threads may come, with memory of their own

    def __call__(self, memory: Array) -> Any:
        found = self._made.get(id(memory))
        if found is None or found[0]() is not memory:
            found = self._made[id(memory)] = ref(memory, partial(_forget, ref(self), id(memory))), self._make()(memory)
        return found[1]


def _forget(bound: ref[Bound], memory: int, _: object) -> None:
    there = bound()
    if there is not None:
        there._made.pop(memory, None)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
