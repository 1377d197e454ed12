"""How many threads a call uses, BLAS included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from tinygraph.errors import UsageError


def available() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count(threads: int | None) -> int:
    """The number of threads asked for; all cores for None.

    Raises:
        UsageError: less than one.
    """
    if threads is None:
        return available()
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise UsageError(f"threads={threads!r}: give a whole number of at least 1, or None for all cores")
    return threads


class _Blas:
    """The thread count of the BLAS libraries in this process, which all threads share.

    The first call to enter remembers the count it found, the last one to leave puts it back.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._calls = 0
        self._found: list[tuple[Any, int]] = []

    def enter(self, threads: int) -> None:
        with self._lock:
            if not self._calls:
                self._found = [(library, library.num_threads) for library in _libraries()]
            self._calls += 1
            for library, _ in self._found:
                if library.num_threads != threads:
                    library.set_num_threads(threads)

    def leave(self) -> None:
        with self._lock:
            self._calls -= 1
            if not self._calls:
                for library, found in self._found:
                    if library.num_threads != found:
                        library.set_num_threads(found)


@cache
def _libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


_blas = _Blas()


@contextmanager
def limit(threads: int) -> Iterator[None]:
    """While the block runs, BLAS uses this many threads.

    Where several blocks overlap in time, the last to begin decides for all of them.
    """
    _blas.enter(threads)
    try:
        yield
    finally:
        _blas.leave()
