"""Weights as kernels want to read them, in one copy for all plans and sessions that read the same ones.

A plan for another batch, or another session of the same graph, packs the same weight in the same way: it gets
the copy that is there already. A copy lives as long as somebody has it, or a view of it; the cache keeps nothing alive.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

from tinygraph.kernels.scratch import Array


class _Copy(NamedTuple):
    """Where a packed array lies.

    Attributes:
        source: the owner of the memory of what it was made of.
        owner: that of its own memory; the others say where in it.
    """

    source: ref[Array]
    owner: ref[Array]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]


_copies: dict[Hashable, _Copy] = {}  # no lock: each use is one operation of the dictionary


def packed(array: Array, how: Hashable, make: Callable[[], Array]) -> Array:
    """What `make` makes of an array; if it was made before and somebody still has it, that one.

    The array is known by its memory: views of one array that show the same elements are the same, whoever made
    them. One that could be written to, or whose base could, is not remembered.

    Args:
        array: a weight.
        how: all that the result depends on besides the array: the name of the kernel, sizes of its parts.
        make: makes the result of the array; may be called at the same time by threads that want the same one.

    Returns:
        A read-only array, to which all who asked have to keep.
    """
    source = _owner(array)
    if any(a.flags.writeable for a in (array, source)):
        made = make().view()
        made.flags.writeable = False
        return made
    key = (id(source), array.ctypes.data, array.shape, array.strides, array.dtype, how)
    found = _found(key, source)
    if found is None:
        found = make()
        _remember(key, source, found)
    return found


def _owner(array: Array) -> Array:
    """The array whose memory it is, as far as NumPy knows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _found(key: Hashable, source: Array) -> Array | None:
    copy = _copies.get(key)
    owner = copy.owner() if copy else None
    if copy is None or owner is None or copy.source() is not source:
        return None
    # The array itself may be gone, and only views of it left.
    return np.ndarray(copy.shape, copy.dtype, owner.ravel("K"), copy.offset, copy.strides)


def _remember(key: Hashable, source: Array, made: Array) -> None:
    def forget(_: object) -> None:
        _copies.pop(key, None)

    owner = _owner(made)
    made.flags.writeable = owner.flags.writeable = False
    offset = made.ctypes.data - owner.ravel("K").ctypes.data
    _copies[key] = _Copy(ref(source, forget), ref(owner, forget), offset, made.shape, made.strides, made.dtype)
