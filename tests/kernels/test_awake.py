"""Threads that wait awake for one another."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tinygraph.kernels import awake
from tinygraph.kernels.awake import Barriers, Bell, can_wait, cores

needs_library = pytest.mark.skipif(not can_wait(), reason="this C library cannot wait")


@pytest.mark.skipif(sys.platform != "linux" or cores() < 2, reason="elsewhere nothing is promised")
def test_linux_can_wait() -> None:
    assert can_wait()
    assert not can_wait(cores() + 1)


@needs_library
def test_a_bell_is_heard() -> None:
    bell = Bell()
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(lambda: any(bell.wait() for _ in range(10_000)))
        time.sleep(0.01)
        bell.ring()
        assert heard.result()
    assert bell.wait()
    bell.reset()
    assert not bell.wait()


def test_nobody_waits_for_long() -> None:
    began = time.perf_counter()
    assert not Bell().wait()
    assert time.perf_counter() - began < 1


@needs_library
def test_others_work_while_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awake, "_TURNS", 1 << 40)  # for ever, so that only another thread can end it
    awake._find.cache_clear()
    try:
        bell = Bell()
        timer = threading.Timer(0.05, bell.ring)
        timer.start()
        assert bell.wait()
    finally:
        awake._find.cache_clear()


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("threads", [2, 3])
def test_nobody_passes_a_barrier_before_all_have_come(
    threads: int, library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not library:  # waits in naps, and looks once in between
        monkeypatch.setattr(awake, "_TURNS", 1)
    awake._find.cache_clear()
    count, barriers = 20, Barriers(threads, 20)
    for _ in range(30):
        passed: list[int] = []

        def work(thread: int, passed: list[int] = passed) -> None:
            for barrier in range(count):
                barriers.wait(thread, barrier)
                passed.append(barrier)

        barriers.begin()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
        # Whoever has passed one barrier may pass the next only after the others have come there.
        for barrier in range(count):
            assert passed.index(barrier) >= threads * max(barrier - 1, 0)
        assert sorted(passed) == sorted(list(range(count)) * threads)
    awake._find.cache_clear()


def test_nobody_waits_for_one_who_left() -> None:
    barriers = Barriers(3, 4)
    for _ in range(300):  # more often than there are turns
        barriers.begin()
        barriers.leave(0)
        barriers.leave(2)
        for barrier in range(4):
            barriers.wait(1, barrier)


def test_no_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: Any) -> Any:
        raise OSError("no library")

    monkeypatch.setattr(awake.ctypes, "CDLL", none)
    awake._find.cache_clear()
    try:
        bell = Bell()
        bell.ring()
        assert not can_wait()
        assert not bell.wait()
    finally:
        awake._find.cache_clear()
