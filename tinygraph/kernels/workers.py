"""Threads that do parts of one kernel at the same time: NumPy lets go of the interpreter in its loops.

A hand-over takes about 20 microseconds, so only work of some hundred microseconds is divided.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from itertools import pairwise
from threading import Lock, Thread

Task = Callable[[], object]

_spare: list[_Helper] = []  # threads that wait for a task
if hasattr(os, "register_at_fork"):  # a child process has none of the threads
    os.register_at_fork(after_in_child=_spare.clear)


def shares(count: int, workers: int) -> list[slice]:
    """0..count in at most that many parts of nearly one size; a single empty one for no count."""
    workers = max(1, min(workers, count))
    edges = [count * i // workers for i in range(workers + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def together(tasks: Sequence[Task]) -> None:
    """Runs the tasks at the same time, one of them in this thread, and returns when all are done.

    An exception in one of them is raised here, after the others are done.
    """
    mine, *others = tasks
    helpers = [_helper() for _ in others]
    for helper, task in zip(helpers, others, strict=True):
        helper.begin(partial(copy_context().run, task))  # NumPy keeps its error state in the context
    try:
        mine()
    finally:
        errors = [helper.wait() for helper in helpers]
        _spare.extend(helpers)
    for error in errors:
        if error is not None:
            raise error


def _helper() -> _Helper:
    try:
        return _spare.pop()
    except IndexError:
        return _Helper()


class _Helper:
    """A thread that runs one task after the other. Two locks are the lightest way to hand them over."""

    def __init__(self) -> None:
        self._begun, self._done = Lock(), Lock()
        self._begun.acquire()
        self._done.acquire()
        self._task: Task | None = None
        self._error: BaseException | None = None
        Thread(target=self._loop, name="tinygraph kernel", daemon=True).start()

    def begin(self, task: Task) -> None:
        self._task = task
        self._begun.release()

    def wait(self) -> BaseException | None:
        """What the task raised, when it is done."""
        self._done.acquire()
        error, self._error = self._error, None
        return error

    def _loop(self) -> None:
        while True:
            self._begun.acquire()
            task, self._task = self._task, None
            try:
                if task is not None:
                    task()
            except BaseException as error:
                self._error = error
            del task  # or it would keep its arrays alive until the next one comes
            self._done.release()
