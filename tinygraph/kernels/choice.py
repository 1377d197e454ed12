"""Which of several routines for one thing is taken: the one said to be the fastest, or the one measured to be.

A choice of routines is asked for where they are made, deep below whoever knows whether there is time for measuring.
So that one is found here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from statistics import median
from time import perf_counter

Task = Callable[[], object]
# Of a description of what is to be done, names of routines, and what makes a run of one: a name.
Choice = Callable[[str, Sequence[str], Callable[[str], Task]], str]

_choice: ContextVar[Choice | None] = ContextVar("choice", default=None)

_TURNS = 9
# Seconds, of all routines together, after which there are no more turns than three.
_ENOUGH = 0.25
# A routine that takes so many times as long as another in the first two turns is out.
_OUT = 2.0
# Where a routine is not faster than the first one by this factor, the difference may be chance.
_GAIN = 1.04


def chosen(what: str, names: Sequence[str], run: Callable[[str], Task]) -> str:
    """The name of the routine to take.

    Args:
        what: a description of what is to be done; for equal ones the same routine is fastest.
        names: of routines, the one that is thought to be the fastest first.
        run: makes one, and memory that it works on, ready to run; called if they are to be measured.
    """
    choice = _choice.get()
    return names[0] if choice is None or len(names) == 1 else choice(what, names, run)


@contextmanager
def choosing(choice: Choice) -> Iterator[None]:
    """While the block runs, this thread's routines are chosen by `choice`."""
    token = _choice.set(choice)
    try:
        yield
    finally:
        _choice.reset(token)


def fastest(names: Sequence[str], run: Callable[[str], Task]) -> str:
    """The name of the routine whose median time of some runs, in turns, is the shortest; see `chosen`."""
    runs = {name: run(name) for name in names}
    for task in runs.values():
        task()  # memory is touched, threads are there
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(_TURNS):
        for name, task in runs.items():
            times[name].append(seconds(task))
        if turn == 1:
            limit = _OUT * min(map(min, times.values()))
            runs = {name: task for name, task in runs.items() if min(times[name]) <= limit}
        if len(runs) == 1 or (turn > 1 and sum(map(sum, times.values())) > _ENOUGH):
            break
    medians = {name: median(times[name]) for name in runs}
    best = min(medians, key=medians.__getitem__)
    return best if medians[best] * _GAIN < medians.get(names[0], inf) else names[0]


def seconds(task: Task) -> float:
    """How long it runs."""
    start = perf_counter()
    task()
    return perf_counter() - start
