"""When each step of a run began and ended, and each task of its kernels: what is written down for a profile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import get_ident
from time import perf_counter_ns
from typing import NamedTuple

from tinygraph.ir import Node
from tinygraph.kernels.workers import Task
from tinygraph.runtime.frame import Call


class Span(NamedTuple):
    """A step as it ran.

    Attributes:
        node: what it computed; every dimension has a number.
        algorithm: of its kernel.
        began, ended: nanoseconds of the performance counter.
    """

    node: Node
    algorithm: str
    began: int
    ended: int


class TaskSpan(NamedTuple):
    """A part of a kernel as it ran beside the others.

    Attributes:
        thread: that it ran in.
        began, ended: nanoseconds of the performance counter.
    """

    thread: int
    began: int
    ended: int


class Recording:
    """What happened in one run.

    Attributes:
        thread: that runs the steps.
        spans: of the steps, in order.
        tasks: of the tasks that kernels divide their work into, as they ended; see tinygraph.kernels.workers.watched.
    """

    def __init__(self) -> None:
        self.thread = get_ident()
        self.spans: list[Span] = []
        self.tasks: list[TaskSpan] = []

    def steps(self, calls: Iterable[Call]) -> Iterator[Call]:
        """The calls, one by one; each is over when the next one is asked for."""
        for call in calls:
            step = call[0]
            began = perf_counter_ns()
            yield call
            self.spans.append(Span(step.node, step.algorithm, began, perf_counter_ns()))

    def task(self, task: Task) -> Task:
        """The task; when it is run, its time is written down."""

        def run() -> None:
            began = perf_counter_ns()
            try:
                task()
            finally:
                self.tasks.append(TaskSpan(get_ident(), began, perf_counter_ns()))

        return run
