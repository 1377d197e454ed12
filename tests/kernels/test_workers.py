"""Threads that share a kernel's work."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinygraph.kernels.scratch import Array, Bound
from tinygraph.kernels.workers import shares, together


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_shares_cover_everything_evenly(count: int, workers: int) -> None:
    found = shares(count, workers)
    assert [i for part in found for i in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in found]
    assert len(found) == max(1, min(count, workers))
    assert max(sizes) - min(sizes) <= 1


def test_tasks_run_at_the_same_time() -> None:
    barrier = threading.Barrier(3)
    together([lambda: barrier.wait(10)] * 3)


def test_threads_are_used_again() -> None:
    together([lambda: None] * 3)
    before = threading.active_count()
    for _ in range(20):
        together([lambda: None] * 3)
    assert threading.active_count() == before


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_is_raised_when_all_are_done(failing: int) -> None:
    done = []

    def task(i: int) -> None:
        if i == failing:
            raise ValueError(str(i))
        done.append(i)

    with pytest.raises(ValueError, match=str(failing)):
        together([lambda i=i: task(i) for i in range(3)])  # type: ignore[misc]
    assert sorted(done) == [i for i in range(3) if i != failing]
    together([lambda: None] * 3)


def test_numpy_is_as_quiet_there_as_here() -> None:
    found: list[dict[str, str]] = []
    with np.errstate(all="ignore"):
        together([lambda: None, lambda: found.append(np.geterr())])
    assert set(found[0].values()) == {"ignore"}


def test_several_callers_at_once() -> None:
    def work(k: int) -> int:
        found: list[int] = []
        for _ in range(50):
            together([lambda: found.append(k)] * 2)
        return sum(found)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [0, 100, 200, 300]


def test_what_is_bound_to_memory_is_made_once() -> None:
    made: list[Array] = []

    def make(memory: Array) -> int:
        made.append(memory)
        return len(made)

    bound = Bound(make)
    a, b = np.zeros(1), np.zeros(1)
    assert [bound(a), bound(a), bound(b), bound(b), bound(a)] == [1, 1, 2, 2, 3]
