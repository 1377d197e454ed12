"""Threads that do parts of one kernel at the same time: NumPy lets go of the interpreter in its loops.

A hand-over costs some 20 microseconds, so only work of some hundred is divided. Where no core is free, the thread that
divided the work does all of it, rather than wait. Threads wait for each other awake for about a millisecond (awake.py),
and asleep after that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from queue import Empty, SimpleQueue
from threading import Thread

import numpy as np

from tinygraph.kernels.awake import Bell

Task = Callable[[], object]

_watch: ContextVar[Callable[[Task], Task] | None] = ContextVar("watch", default=None)
_spare: list[_Helper] = []  # threads that wait for a task
if hasattr(os, "register_at_fork"):  # a child process has none of the threads
    os.register_at_fork(after_in_child=_spare.clear)


def shares(count: int, workers: int) -> list[slice]:
    """0..count in at most that many parts of nearly one size; a single empty one for no count."""
    workers = max(1, min(workers, count))
    edges = [count * i // workers for i in range(workers + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def together(tasks: Sequence[Task], failed: Task | None = None) -> None:
    """Runs the tasks, at least one, and returns when all are done.

    The first one is run in this thread, and so are those that no other thread has begun by then. In the
    others NumPy ignores floating-point errors, as it does here while a session runs.

    An exception in one of them is raised here, after the others are done. If it comes up in this thread, be it
    from a signal, `failed` is called before it waits for the others.
    """
    if len(tasks) == 1:
        tasks[0]()
        return
    watch = _watch.get()
    if watch is not None:
        tasks = list(map(watch, tasks))
    helpers: list[_Helper] = []
    try:
        for task in tasks[1:]:
            helpers.append(_begun(task))
        tasks[0]()
    except BaseException:
        if failed is not None:
            failed()
        raise
    finally:
        errors = [helper.end() for helper in helpers]
        _spare.extend(helpers)
    for error in errors:
        if error is not None:
            raise error


@contextmanager
def watched(watch: Callable[[Task], Task]) -> Iterator[None]:
    """While the block runs, what `watch` makes of each task that this thread divides its work into is run instead."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def _begun(task: Task) -> _Helper:
    try:
        helper = _spare.pop()
    except IndexError:
        helper = _Helper()
    helper.begin(task)
    return helper


class _Helper:
    """A thread that runs one task after the other.

    Attributes:
        tasks: those to run; this queue is the lightest way to hand them over and to take them back.
    """

    def __init__(self) -> None:
        self.tasks: SimpleQueue[Task] = SimpleQueue()
        self._ends: SimpleQueue[BaseException | None] = SimpleQueue()
        self._begun, self._ended = Bell(), Bell()
        Thread(target=self._loop, name="tinygraph kernel", daemon=True).start()

    def begin(self, task: Task) -> None:
        """Hands it over."""
        self._ended.reset()
        self.tasks.put(task)
        self._begun.ring()

    def end(self) -> BaseException | None:
        """What the task raised, when it is done; it is run here if it has not begun."""
        try:
            task = self.tasks.get_nowait()
        except Empty:
            return self._wait()
        return _error(task)

    def _wait(self) -> BaseException | None:
        interrupt = None
        while True:
            try:
                self._ended.wait()
                return self._ends.get() or interrupt
            except BaseException as error:  # of a signal; but the task writes to memory that is to be used again
                interrupt = error

    def _loop(self) -> None:
        np.seterr(all="ignore")
        while True:
            self._ends.put(_error(self._next()))
            self._ended.ring()

    def _next(self) -> Task:
        while self._begun.wait():
            self._begun.reset()
            try:
                return self.tasks.get_nowait()
            except Empty:
                continue  # taken back
        return self.tasks.get()


def _error(task: Task) -> BaseException | None:
    """Runs a task."""
    try:
        task()
    except BaseException as error:
        return error
    return None
