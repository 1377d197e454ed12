"""When each step of a run began and ended: what a plan and its stages write down for a profile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import perf_counter_ns
from typing import NamedTuple

from tinygraph.ir import Node
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


class Recording:
    """The spans of one run, in order."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def steps(self, calls: Iterable[Call]) -> Iterator[Call]:
        """The calls, one by one; each is over when the next one is asked for."""
        for call in calls:
            step = call[0]
            began = perf_counter_ns()
            yield call
            self.spans.append(Span(step.node, step.algorithm, began, perf_counter_ns()))
