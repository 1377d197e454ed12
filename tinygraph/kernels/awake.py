"""Waiting awake for other threads.

A thread that waits asleep gives its core away, and comes back some 20 microseconds after it is woken, on a busy host
of virtual machines hundreds of them. One that waits in a Python loop takes the interpreter from those that work. So
the C library waits: its `lfind` compares a string of one byte again and again, without the interpreter.

Whoever has waited takes the interpreter again, which the other one has let go after all that it did: so that is seen.
Nobody waits so in a Python in which threads do not share one interpreter's lock.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from time import sleep
from typing import Any

# About a millisecond. A thread that waits longer had better sleep.
_TURNS = 250_000
# Seconds; those who wait for it have slept before.
_NAP = 1e-4

_QUIET, _RUNG = 1, 2


class Bell:
    """What one thread rings, and another hears.

    Whoever hears it looks for what it was rung for in a queue: it may hear nothing, too late, or twice.
    """

    def __init__(self) -> None:
        self._state = (ctypes.c_ubyte * 2)(_QUIET)

    def ring(self) -> None:
        """Wakes the other one, or the next one who waits."""
        self._state[0] = _RUNG

    def reset(self) -> None:
        """What was rung before is not heard any more."""
        self._state[0] = _QUIET

    def wait(self) -> bool:
        """Waits awake until it is rung; False after a millisecond, or at once where the C library cannot wait."""
        return _find()(self._state, _HEARD) is not None


class Barriers:
    """Where some threads wait for each other, several times on their way.

    Args:
        threads: how many.
        count: of the barriers.
    """

    def __init__(self, threads: int, count: int) -> None:
        self._turn = (ctypes.c_ubyte * 2)(1)
        self._reached = [(ctypes.c_ubyte * (2 * count))() for _ in range(threads)]
        places = [[ctypes.byref(reached, 2 * k) for reached in self._reached] for k in range(count)]
        self._others = [[places[k][:i] + places[k][i + 1 :] for k in range(count)] for i in range(threads)]

    def begin(self) -> None:
        """To be called before the threads set out, once each time."""
        self._turn[0] = self._turn[0] % 255 + 1

    def wait(self, thread: int, barrier: int) -> None:
        """Returns when all threads have come to this barrier, or left."""
        find, turn = _find(), self._turn
        self._reached[thread][2 * barrier] = turn[0]
        for other in self._others[thread][barrier]:
            while find(other, turn) is None:
                sleep(_NAP)

    def leave(self, thread: int) -> None:
        """Nobody waits for this thread any more, this time."""
        reached = self._reached[thread]
        reached[::2] = [self._turn[0]] * (len(reached) // 2)


_HEARD = (ctypes.c_ubyte * 2)(_RUNG)


def can_wait(threads: int = 2) -> bool:
    """Whether the C library can wait, and each of so many threads may have a core."""
    return threads <= cores() and _find()(_HEARD, _HEARD) is not None


def cores() -> int:
    """Those that this process may use, by its affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _find() -> Callable[[Any, Any], object]:
    """find(state, wanted) waits until the two strings are the same; it gives None after _TURNS turns."""
    try:
        library = ctypes.CDLL(None)
        find, equal = library.lfind, ctypes.cast(library.strcmp, ctypes.c_void_p)
    except (OSError, TypeError, AttributeError):
        return _does_not_wait
    locks = getattr(sys, "_is_gil_enabled", lambda: True)()
    if not locks or cores() < 2:
        return _does_not_wait
    find.restype = ctypes.c_void_p
    turns, width = ctypes.c_size_t(_TURNS), ctypes.c_size_t(0)  # of an array whose elements are all the same one
    place = ctypes.byref(turns)
    return lambda state, wanted: find(state, wanted, place, width, equal)


def _does_not_wait(state: Any, wanted: Any) -> None:
    return None
