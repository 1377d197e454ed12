"""Routines chosen by measuring, on a clock that only the routines move."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tinygraph.kernels import choice
from tinygraph.kernels.choice import Task, choosing, chosen, fastest


class Clock:
    """Runs that take as long as it is told, one run after the other; the last time again and again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **seconds: list[float]) -> None:
        self.now, self.seconds, self.runs = 0.0, seconds, dict.fromkeys(seconds, 0)
        monkeypatch.setattr(choice, "perf_counter", lambda: self.now)

    def run(self, name: str) -> Task:
        def task() -> None:
            times = self.seconds[name]
            self.now += times[min(self.runs[name], len(times) - 1)]
            self.runs[name] += 1

        return task


def test_the_fastest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, a=[3e-3], b=[2e-3], c=[2.5e-3])
    assert fastest(list(clock.seconds), clock.run) == "b"


def test_a_slow_run_and_a_quick_one_say_little(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, a=[9.0, 2e-3, 2e-3, 1.0, 2e-3], b=[9.0, 3e-3, 1.2e-3, 3e-3])
    assert fastest(list(clock.seconds), clock.run) == "a"


def test_the_first_stays_if_another_is_hardly_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, a=[1e-3], b=[0.99e-3])
    assert fastest(["a", "b"], clock.run) == "a"
    assert fastest(["b", "a"], clock.run) == "b"


def test_what_is_far_slower_runs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, a=[9e-3], b=[1e-3], c=[1e-3])
    assert fastest(list(clock.seconds), clock.run) == "b"
    assert clock.runs["a"] == 3 < clock.runs["b"] == clock.runs["c"]


def test_long_runs_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, a=[20.0], b=[15.0])
    assert fastest(list(clock.seconds), clock.run) == "b"
    assert clock.runs == {"a": 4, "b": 4}


def test_nothing_runs_unless_somebody_asks() -> None:
    def run(name: str) -> Task:
        raise AssertionError

    def last(what: str, names: Sequence[str], run: object) -> str:
        assert what == "a sum"
        return names[-1]

    assert chosen("a sum", ["x", "y"], run) == "x"
    with choosing(last):
        assert chosen("a sum", ["x", "y"], run) == "y"
        assert chosen("another", ["x"], run) == "x"
    assert chosen("a sum", ["x", "y"], run) == "x"
