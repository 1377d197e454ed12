"""NumPy calls on arrays that stay where they are, in the order in which workers make them.

Whenever a worker runs Python the others wait for it, and waking one up takes longer than many a call. So all views
are made beforehand, and nothing but calls is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from tinygraph.kernels.scratch import Array
from tinygraph.kernels.workers import together

Call = Callable[[], object]


class Program:
    """Phases, one after the other; in each, every worker makes some calls.

    Args:
        phases: the calls of each worker of each phase.
    """

    def __init__(self, phases: Sequence[Sequence[Sequence[Call]]]) -> None:
        self._phases = [[partial(make, calls) for calls in phase if calls] for phase in phases]

    def __call__(self) -> None:
        """Makes all calls."""
        for tasks in self._phases:
            if tasks:
                together(tasks)


def make(calls: Sequence[Call]) -> None:
    """Makes calls one after the other."""
    for call in calls:
        call()


def is_in_rows(x: Array) -> bool:
    """Whether a map [N, *sizes, C] can be seen as rows [positions, C] without a copy."""
    axes = [(size, stride) for size, stride in zip(x.shape[:-1], x.strides, strict=False) if size > 1]
    return all(outer == size * stride for (_, outer), (size, stride) in pairwise(axes))
