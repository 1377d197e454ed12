"""Calls on arrays that stay where they are, of NumPy or of a library, in the order in which workers make them.

Whenever a worker runs Python the others wait for it, and waking one up takes longer than many a call. So all views
are made beforehand, and nothing but calls is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise, permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds

from tinygraph.kernels.awake import Barriers, can_wait
from tinygraph.kernels.openblas import Matrix, Native, Span
from tinygraph.kernels.scratch import Array
from tinygraph.kernels.workers import together

Call = Callable[[], object]
Phase = Sequence[Sequence[Call]]


class Program:
    """Phases, one after the other; in each, every worker makes some calls.

    Args:
        phases: the calls of each worker of each phase.
    """

    def __init__(self, phases: Sequence[Phase]) -> None:
        self.phases = [[list(calls) for calls in phase if calls] for phase in phases if any(phase)]
        self._workers = max(map(len, self.phases), default=1)
        several = len(self.phases) > 1 and self._workers > 1
        self._barriers = Barriers(self._workers, len(self.phases)) if several and can_wait(self._workers) else None

    def __call__(self) -> None:
        """Makes all calls."""
        if self._barriers is None:
            for phase in self.phases:
                together([partial(make, calls) for calls in phase])
        else:
            self._barriers.begin()
            tasks = [partial(self._work, worker, self._barriers) for worker in range(self._workers)]
            together(tasks, failed=partial(self._barriers.leave, 0))

    def _work(self, worker: int, barriers: Barriers) -> None:
        """What one worker does."""
        try:
            for number, phase in enumerate(self.phases):
                if number:
                    barriers.wait(worker, number)
                if worker < len(phase):
                    make(phase[worker])
        finally:
            barriers.leave(worker)


def chained(programs: Sequence[Program]) -> Program:
    """One program that does what several do, one after the other.

    Between two phases workers do not wait for each other if each of them goes on with what it made itself.
    """
    phases: list[list[list[Call]]] = []
    reached: list[_Reach | None] = []
    for phase in (phase for program in programs for phase in program.phases):
        new = [_reach(calls) for calls in phase]
        pairs = permutations(range(len(new)), 2)
        if len(reached) == len(new) and not any(_depends(new[j], reached[i]) for i, j in pairs):
            phases[-1] = [before + calls for before, calls in zip(phases[-1], phase, strict=True)]
            reached = [_both(before, after) for before, after in zip(reached, new, strict=True)]
        else:
            phases.append(phase)
            reached = new
    return Program(phases)


def make(calls: Sequence[Call]) -> None:
    """Makes calls one after the other."""
    for call in calls:
        call()


def is_in_rows(x: Array) -> bool:
    """Whether a map [N, *sizes, C] can be seen as rows [positions, C] without a copy."""
    axes = [(size, stride) for size, stride in zip(x.shape[:-1], x.strides, strict=False) if size > 1]
    return all(outer == size * stride for (_, outer), (size, stride) in pairwise(axes))


class _Reach(NamedTuple):
    """The memory that calls read and write."""

    reads: list[Span]
    writes: list[Span]


def _reach(calls: Sequence[Call]) -> _Reach | None:
    """What calls reach; None if they do not tell."""
    reads: list[Any] = []
    writes: list[Array | Matrix] = []
    for call in calls:
        if not isinstance(call, partial):
            return None
        function: Any = call.func
        if isinstance(call, Native):
            reads += call.reads
            writes += call.writes
        elif isinstance(function, np.ufunc) and "out" in call.keywords:
            reads += call.args
            writes.append(call.keywords["out"])
        elif function is np.copyto:
            writes.append(call.args[0])
            reads.append(call.args[1])
        elif isinstance(getattr(function, "__self__", None), np.ndarray) and function.__name__ == "fill":
            writes.append(function.__self__)
        else:
            return None
    return _Reach(_spans(reads), _spans(writes))


def _both(one: _Reach | None, other: _Reach | None) -> _Reach | None:
    if one is None or other is None:
        return None
    return _Reach(_merged(one.reads + other.reads), _merged(one.writes + other.writes))


def _depends(later: _Reach | None, former: _Reach | None) -> bool:
    """Whether what is done later may need, or destroy, what another worker reads or writes before."""
    if later is None or former is None:
        return True
    return (
        _overlap(later.reads, former.writes)
        or _overlap(later.writes, former.writes)
        or _overlap(later.writes, former.reads)
    )


def _spans(operands: Sequence[Any]) -> list[Span]:
    """Where arrays and matrices are; numbers are nowhere."""
    matrices = [each.span for each in operands if isinstance(each, Matrix)]
    return _merged([*matrices, *(byte_bounds(each) for each in operands if isinstance(each, np.ndarray))])


def _merged(spans: Iterable[Span]) -> list[Span]:
    """The same memory, in order, in as few spans."""
    found: list[Span] = []
    for start, stop in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], stop)
        else:
            found.append((start, stop))
    return found


def _overlap(spans: Sequence[Span], others: Sequence[Span]) -> bool:
    """Whether one of these spans, in order, shares memory with one of the others."""
    i = j = 0
    while i < len(spans) and j < len(others):
        if spans[i][0] < others[j][1] and others[j][0] < spans[i][1]:
            return True
        if spans[i][1] <= others[j][1]:
            i += 1
        else:
            j += 1
    return False
