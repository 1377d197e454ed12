"""Threads that share a kernel's work."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.forks import in_child
from tinygraph.kernels import workers
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


def test_every_task_is_run_once() -> None:
    found: list[int] = []
    tasks = [partial(found.append, i) for i in range(3)]
    for _ in range(500):
        together(tasks)
        assert sorted(found) == [0, 1, 2]
        found.clear()


@pytest.mark.parametrize("failing", [None, 0, 1, 2])
def test_what_nobody_begins_is_done_by_the_caller(monkeypatch: pytest.MonkeyPatch, failing: int | None) -> None:
    monkeypatch.setattr(workers, "_spare", [])
    monkeypatch.setattr(workers, "Thread", lambda **_: SimpleNamespace(start=lambda: None))
    found: list[tuple[int, int]] = []

    def task(i: int) -> None:
        found.append((i, threading.get_ident()))
        if i == failing:
            raise ValueError("of this one")

    tasks: list[Any] = [lambda i=i: task(i) for i in range(3)]
    if failing is None:
        together(tasks)
    else:
        with pytest.raises(ValueError, match="of this one"):
            together(tasks)
    assert found == [(i, threading.get_ident()) for i in range(3)]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
def test_an_interrupt_waits_for_what_has_begun() -> None:
    begun, done = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        time.sleep(0.2)
        done.set()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            together([lambda: begun.wait(10), slow])
        assert done.is_set()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    together([lambda: None] * 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_process_has_threads_of_its_own() -> None:
    barrier = threading.Barrier(3)
    together([lambda: barrier.wait(10)] * 3)
    in_child(lambda: together([lambda: barrier.wait(10)] * 3))
    together([lambda: barrier.wait(10)] * 3)
