"""How many threads a call uses, BLAS included; and locks that a forked process finds open."""

from __future__ import annotations

import os
from math import ceil, inf
from pathlib import Path, PurePosixPath
from threading import Lock, get_ident
from typing import Any
from weakref import WeakSet

from tinygraph.errors import UsageError
from tinygraph.kernels.awake import cores
from tinygraph.kernels.openblas import kernels, libraries


def available(root: Path = Path("/")) -> int:
    """Cores that this process may use: by its affinity, and by the time that its control groups have.

    What PYTHON_CPU_COUNT says is taken as it is, by a Python that knows of it (3.13).

    Args:
        root: where proc and sys are.
    """
    affinity = cores()
    asked = getattr(os, "process_cpu_count", lambda: None)() or affinity
    if asked != affinity:
        return int(asked)
    return max(1, ceil(min(_quota(root), affinity)))


def _quota(root: Path) -> float:
    """How many cores' time the control groups of this process have, of version 1 or 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return inf
    folders = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        group = PurePosixPath(path.lstrip("/"))
        groups = (group, *group.parents)  # those around it bind it too; in a container there may be no others
        if not controllers:
            folders += [Path(mount, g) for mount in ("", "unified") for g in groups]
        elif "cpu" in controllers.split(","):
            folders += [Path(mount, g) for mount in (controllers, "cpu") for g in groups]
    return min((_quota_of(root / "sys/fs/cgroup" / folder) for folder in folders), default=inf)


def _quota_of(folder: Path) -> float:
    """The same of one control group; infinite if it says nothing."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            time, period = map(int, " ".join((folder / name).read_text() for name in names).split())
        except (OSError, ValueError):  # there is none, or it says max
            continue
        if time > 0 and period > 0:
            return time / period
    return inf


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


class Mutex:
    """A lock. A forked process finds it open if another thread had it, which is not there to open it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._holder = 0
        _mutexes.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()
        self._holder = get_ident()

    def __exit__(self, *error: object) -> None:
        self._holder = 0
        self._lock.release()

    def renew(self) -> None:
        """Opens it, unless this thread has it."""
        if self._holder != get_ident():
            self._lock = Lock()


_mutexes: WeakSet[Mutex] = WeakSet()


class _Blas:
    """The thread count of the BLAS libraries, which all threads of the process share.

    Of the blocks that are running, the one that began last decides. After the last one, every
    library has the count again that it was found with.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self._running: list[tuple[int, int]] = []  # (thread, count)
        self._found: list[tuple[Any, int]] = []
        self._before: int | None = None  # what all libraries were found with; None if they differed
        self._now: int | None = None

    def enter(self, threads: int) -> None:
        with self.lock:
            if not self._running:
                self._found = [(library, library.num_threads) for library in libraries()]
                counts = {found for _, found in self._found}
                self._before = self._now = counts.pop() if len(counts) == 1 else None
            self._running.append((get_ident(), threads))
            self._set()

    def leave(self, threads: int) -> None:
        with self.lock:
            self._running.remove((get_ident(), threads))
            self._set()
            if not self._running:
                for library, _ in self._found:
                    _set_free(library)

    def forget_others(self) -> None:
        """Blocks of other threads run no longer."""
        self._running = [block for block in self._running if block[0] == get_ident()]
        self._set()

    def _set(self) -> None:
        threads = self._running[-1][1] if self._running else self._before
        if threads != self._now:
            for library, found in self._found:
                _set_threads(library, found if threads is None else threads)
            self._now = threads


def _set_threads(library: Any, threads: int) -> None:
    library.set_num_threads(threads)
    if library.num_threads != threads:
        _set_free(library)
        library.set_num_threads(threads)


def _set_free(library: Any) -> None:
    """Lets any thread set the count: newer versions of threadpoolctl obey the first one, and ignore others."""
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread(force=True)


_blas = _Blas()


def blas() -> str:
    """Which BLAS libraries there are, with their versions and processors, and whether their kernels are called."""
    found = [library.info() for library in libraries()]
    keys = "internal_api", "version", "architecture"
    names = sorted(" ".join(str(info[key]) for key in keys if info.get(key)) for info in found)
    return ", ".join([*names, *["packed weights"] * (kernels() is not None)])


class limit:  # noqa: N801  # reads as the verb of a with statement
    """While the block runs, BLAS uses this many threads; see _Blas for blocks that overlap."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def __enter__(self) -> None:
        _blas.enter(self._threads)

    def __exit__(self, *error: object) -> None:
        _blas.leave(self._threads)


def _in_child() -> None:
    """After a fork only this thread is there."""
    _blas.forget_others()
    _blas.lock.release()
    for mutex in _mutexes:
        mutex.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_blas.lock.acquire, after_in_parent=_blas.lock.release, after_in_child=_in_child)
