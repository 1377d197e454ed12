"""How many threads a call uses, BLAS included."""

from __future__ import annotations

import os
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
    """The thread count of the BLAS libraries, which all threads of the process share.

    Of the blocks that are running, the one that began last decides. After the last one, every
    library has the count again that it was found with.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: list[int] = []
        self._found: list[tuple[Any, int]] = []
        self._before: int | None = None  # what all libraries were found with; None if they differed
        self._now: int | None = None

    def enter(self, threads: int) -> None:
        with self._lock:
            if not self._running:
                self._found = [(library, library.num_threads) for library in _libraries()]
                counts = {found for _, found in self._found}
                self._before = self._now = counts.pop() if len(counts) == 1 else None
            self._running.append(threads)
            self._set(threads)

    def leave(self, threads: int) -> None:
        with self._lock:
            self._running.remove(threads)
            self._set(self._running[-1] if self._running else self._before)

    def _set(self, threads: int | None) -> None:
        if threads != self._now:
            for library, found in self._found:
                library.set_num_threads(found if threads is None else threads)
            self._now = threads


@cache
def _libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


_blas = _Blas()


class limit:  # noqa: N801  # reads as the verb of a with statement
    """While the block runs, BLAS uses this many threads; see _Blas for blocks that overlap."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def __enter__(self) -> None:
        _blas.enter(self._threads)

    def __exit__(self, *error: object) -> None:
        _blas.leave(self._threads)
