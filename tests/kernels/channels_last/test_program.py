"""Programs: phases of NumPy calls, chained where workers need not wait for each other."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygraph.kernels.channels_last import program as programs
from tinygraph.kernels.channels_last.program import Call, Program, chained, make
from tinygraph.kernels.openblas import Native, matrix
from tinygraph.kernels.scratch import Array

SIZE = 24
SPANS = st.tuples(st.integers(0, SIZE - 4), st.integers(1, 4)).map(lambda s: slice(s[0], s[0] + s[1]))


def call(memory: Array, kind: int, target: slice, source: slice) -> Call:
    """One that writes a part of the memory, and may read another."""
    y = memory[target]
    x = np.lib.stride_tricks.as_strided(memory[source][:1], y.shape, (0,), writeable=False)
    calls: list[Call] = [partial(np.add, x, y, out=y), partial(np.copyto, y, x), partial(y.fill, 3.0)]
    return calls[kind]


CALLS = st.lists(st.tuples(st.integers(0, 2), SPANS, SPANS), min_size=1, max_size=3)


def phases_of(memory: Array, plan: Sequence[Sequence[Any]]) -> list[list[list[Call]]]:
    """The phases of a plan whose workers do not get in each other's way."""
    phases = [[[call(memory, *c) for c in worker] for worker in phase] for phase in plan]
    reached = [[programs._reach(calls) for calls in phase] for phase in phases]
    return [
        phase
        for phase, reach in zip(phases, reached, strict=True)
        if not any(programs._depends(a, b) for a, b in permutations(reach, 2))
    ]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(CALLS, min_size=1, max_size=3), max_size=6))
def test_in_any_order_workers_make_the_same(plan: list[list[Any]]) -> None:
    memory = np.arange(SIZE, dtype=np.float64)
    phases = phases_of(memory, plan)
    for phase in phases:
        for calls in phase:
            make(calls)
    wanted = memory.copy()
    one = chained([Program([phase]) for phase in phases])
    for order in (1, -1):
        memory[:] = np.arange(SIZE)
        for phase in one.phases:
            for calls in phase[::order]:
                make(calls)
        np.testing.assert_array_equal(memory, wanted)
    memory[:] = np.arange(SIZE)
    one()
    np.testing.assert_array_equal(memory, wanted)


def test_workers_that_need_nothing_of_each_other_do_not_wait() -> None:
    x, y, z = (np.zeros(8) for _ in range(3))
    halves = slice(0, 4), slice(4, 8)
    first = Program([[[partial(np.add, x[h], 1, out=y[h])] for h in halves]])
    second = Program([[[partial(np.multiply, y[h], 2, out=z[h])] for h in halves]])
    crossed = Program([[[partial(np.multiply, y[h], 2, out=z[h])] for h in halves[::-1]]])
    assert len(chained([first, second]).phases) == 1
    assert len(chained([first, crossed]).phases) == 2
    assert len(chained([first, crossed, crossed]).phases) == 2


def test_calls_of_a_library_tell_what_they_read_and_write() -> None:
    def native(reads: Sequence[Array], writes: Sequence[Array]) -> Call:
        call = Native(lambda: None)
        call.reads, call.writes = (list(map(matrix, arrays)) for arrays in (reads, writes))
        return call

    a, b, c, d = np.zeros((4, 1, 3), np.float32)
    first = Program([[[native([a], [b])], [native([c], [d])]]])
    for reads, writes, phases in (b, a, 1), (d, a, 2), (a, d, 2), (a, c, 2), (a, b, 1):
        second = Program([[[native([reads], [writes])], [native([d], [d])]]])
        assert len(chained([first, second]).phases) == phases


def test_calls_that_do_not_tell_are_waited_for() -> None:
    x = np.zeros(8)
    told = Program([[[partial(x[:4].fill, 1)], [partial(x[4:].fill, 1)]]])
    untold = Program([[[lambda: None], [lambda: None]]])
    assert len(chained([told, untold]).phases) == 2
    assert len(chained([untold, told]).phases) == 2


@pytest.mark.parametrize("waits", [True, False])
def test_phases_come_one_after_the_other(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "can_wait", lambda threads: waits)
    done: list[int] = []
    program = Program([[[partial(done.append, n)]] * (1 + n % 3) for n in range(12)])
    for _ in range(50):
        program()
        assert done == [n for n in range(12) for _ in range(1 + n % 3)]
        done.clear()


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_ends_all_workers(failing: int) -> None:
    def fail() -> None:
        raise ValueError("of a worker")

    done: list[int] = []
    phases: list[list[list[Call]]] = [[[partial(done.append, n)]] * 2 for n in range(3)]
    phases[1][failing] = [fail]
    program = Program(phases)
    for _ in range(3):
        with pytest.raises(ValueError, match="of a worker"):
            program()
    assert done.count(0) == 6


def test_nobody_waits_for_a_caller_who_was_interrupted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "can_wait", lambda threads: True)
    done: list[int] = []
    program = Program([[[partial(done.append, worker)] for worker in range(2)]] * 3)
    work = program._work

    def interrupted(worker: int, barriers: Any) -> None:
        if worker == 0:
            raise KeyboardInterrupt
        work(worker, barriers)

    monkeypatch.setattr(program, "_work", interrupted)
    with pytest.raises(KeyboardInterrupt):
        program()
    assert done == [1, 1, 1]


def test_workers_run_at_the_same_time() -> None:
    barrier = threading.Barrier(2)
    Program([[[partial(barrier.wait, 10)]] * 2] * 3)()
