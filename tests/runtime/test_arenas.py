"""Arenas of a session: as few and as small as the calls need, however many calls and sizes there are."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest

import tinygraph as tg
from tests.sessions import F32, arange, session
from tinygraph import nn, ops
from tinygraph.ir import Array
from tinygraph.runtime.frame import Arena, Arenas
from tinygraph.runtime.session import Session


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        y = ops.relu(self.conv1(x))
        y = ops.max_pool(ops.relu(self.conv2(y) + y), 2)
        return self.fc(ops.mean(y, (2, 3)))


X = np.random.default_rng(0).standard_normal((32, 3, 16, 16)).astype(F32)


@pytest.fixture
def run() -> Session:
    return tg.compile(Net(), tg.Spec(("N", *X.shape[1:])), threads=2)


@pytest.fixture
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def memory_of(run: Session) -> list[ref[Array]]:
    """What lives as long as the memory of an arena that no call uses."""
    return [ref(arena.memory.base) for arena in run._arenas.spare]


# ---- which one ---------------------------------------------------------------------------------


def test_the_smallest_that_fits_is_taken() -> None:
    arenas = Arenas()
    small, middle, large = (Arena(nbytes) for nbytes in (100, 200, 300))
    for arena in (large, small, middle):
        arenas.give(arena)
    assert arenas.take(150) is middle
    assert arenas.take(150) is large
    assert arenas.spare == [small]


def test_a_larger_one_comes_in_place_of_the_smallest() -> None:
    arenas = Arenas()
    small, middle = Arena(100), Arena(200)
    for arena in (middle, small):
        arenas.give(arena)
    assert arenas.take(250).memory.nbytes == 250
    assert arenas.spare == [middle]


def test_what_no_plan_needs_is_forgotten() -> None:
    arenas = Arenas()
    small, large, away = Arena(100), Arena(300), Arena(250)
    arenas.give(small), arenas.give(large)
    arenas.trim(200)
    arenas.give(away)
    assert arenas.spare == [small]
    arenas.trim(400)
    arenas.give(large)
    assert arenas.spare == [small, large]


# ---- of sessions -------------------------------------------------------------------------------


@pytest.mark.usefixtures("_without_collector")
def test_growing_batches_leave_no_arena_behind(run: Session) -> None:
    seen = []
    for n in (1, 2, 4, 8, 16):
        run(X[:n])
        seen += memory_of(run)
    assert [memory() is not None for memory in seen] == [False, False, False, False, True]


def test_a_larger_arena_does_not_stand_beside_the_smaller(run: Session) -> None:
    run(X[:28])
    run(X[:1])
    (before,) = [arena.nbytes for arena in run._arenas.spare]
    gc.collect()
    tracemalloc.start()
    try:
        run(X)
        current, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (after,) = [arena.nbytes for arena in run._arenas.spare]
    assert 5e5 < before < after <= current
    assert most < after + before / 2


@pytest.mark.usefixtures("_without_collector")
def test_a_large_arena_goes_with_the_plan_that_needed_it(run: Session) -> None:
    run(X)
    (large,) = memory_of(run)
    plan = ref(next(iter(run._plans.values())))
    for n in range(1, 8):
        run(X[:n])
    assert large() is not None
    run(X[:8])
    assert plan() is None
    assert large() is None
    (arena,) = run._arenas.spare
    assert arena.nbytes <= max(each.arena for each in run._plans.values())


@pytest.mark.usefixtures("_without_collector")
def test_everything_goes_with_the_session() -> None:
    run = tg.compile(Net(), tg.Spec(("N", *X.shape[1:])), threads=2)
    run(X[:2]), run(X[:3])
    gone = [*memory_of(run), *(ref(plan) for plan in run._plans.values()), ref(run)]
    del run
    assert [each() for each in gone] == [None] * len(gone)


# ---- many calls --------------------------------------------------------------------------------

SIZES = (1, 2, 3, 4, 5, 6, 8, 12, 16)  # one more than there are plans


def resident() -> int:
    """Bytes of this process that are in memory; 0 where that cannot be known."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def taken(run: Session) -> tuple[int, int]:
    """Bytes allocated and resident, with the same plans and arena each time."""
    for n in SIZES:
        run(X[:n])
    gc.collect()
    return tracemalloc.get_traced_memory()[0], resident()


def call_often(run: Session, seed: int, count: int) -> None:
    for n in np.random.default_rng(seed).choice(SIZES, count).tolist():
        assert run(X[:n]).shape == (n, 4)


@pytest.fixture
def _traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("_traced")
def test_a_thousand_calls_of_varied_sizes_leave_nothing(run: Session) -> None:
    call_often(run, 0, 50)
    allocated, in_memory = taken(run)
    call_often(run, 1, 1000)
    allocated_then, in_memory_then = taken(run)
    assert allocated_then < allocated + 100_000
    assert in_memory_then < in_memory + 10_000_000
    assert len(run._arenas.spare) == 1
    assert len(run._plans) == 8


@pytest.mark.usefixtures("_traced")
def test_calls_of_several_threads_leave_nothing(run: Session) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: call_often(run, seed, 10), range(4)))
        run._arenas.spare.clear()
        allocated, _ = taken(run)
        list(pool.map(lambda seed: call_often(run, seed, 50), range(4)))
        assert len(run._arenas.spare) <= 4
        run._arenas.spare.clear()
        allocated_then, _ = taken(run)
    assert allocated_then < allocated + 100_000


def test_arenas_of_threads_are_not_larger_than_the_largest_plan() -> None:
    run = session(lambda x: ops.softmax(ops.softmax(x, 0), 0), ("N",))
    barrier = threading.Barrier(3)

    def work(k: int) -> None:
        barrier.wait(10)
        for n in range(1, 40):
            run(arange(100 * n + k))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert 1 <= len(run._arenas.spare) <= 3
    most = max(plan.arena for plan in run._plans.values())
    assert all(arena.nbytes <= most for arena in run._arenas.spare)
