"""tune=True: kernels chosen by measuring, and what was found, kept for the next time. Nothing is timed here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.kernels.choice import Task
from tinygraph.nn.functional import conv2d
from tinygraph.runtime import tuning

SHAPE = (1, 16, 12, 12)


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where choices are kept; nothing is known yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget(monkeypatch)
    return tmp_path / "tinygraph" / "tuning.json"


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process would not know."""
    monkeypatch.setattr(tuning, "_found", {})


class Judge:
    """In place of measuring: runs each routine once, and names the one that it is told to."""

    def __init__(self, best: str) -> None:
        self.best = best
        self.asked: list[Sequence[str]] = []

    def __call__(self, names: Sequence[str], run: Callable[[str], Task]) -> str:
        self.asked.append(tuple(names))
        for name in names:
            run(name)()
        return self.best if self.best in names else names[0]


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    made = Judge("winograd2")
    monkeypatch.setattr(tuning, "fastest", made)
    return made


def net(groups: int = 1, filters: int = 16) -> tg.Graph:
    """A convolution, its residual and ReLU."""
    w = np.random.default_rng(1).standard_normal((filters, 16 // groups, 3, 3)).astype(np.float32)

    def run(x: Any) -> Any:
        y = conv2d(x, w, padding=1, groups=groups)
        return tg.nn.functional.relu(y + x if filters == 16 else y)

    return tg.trace(run, tg.Spec(SHAPE))


def algorithm(session: tg.Session) -> str:
    (found,) = {s.algorithm for s in session._plan(()).steps if s.algorithm and "relu" in s.algorithm}
    return found.partition("+")[0]


@pytest.mark.parametrize("best", ["im2col", "winograd2", "winograd4"])
def test_what_is_measured_to_be_best_is_taken(judge: Judge, best: str) -> None:
    judge.best = best
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    session = tg.compile(net(), precision="fast", tune=True)
    assert algorithm(session) == best
    (names,) = judge.asked
    assert sorted(names) == ["im2col", "winograd2", "winograd4"]
    assert algorithm(tg.compile(net(), precision="fast")) == names[0]  # the one that should be fastest
    np.testing.assert_allclose(session(x), tg.compile(net())(x), rtol=0, atol=1e-4)


def test_exact_stays_exact(judge: Judge) -> None:
    assert algorithm(tg.compile(net(), tune=True)) == "im2col"
    assert judge.asked == []
    judge.best = "im2col"
    assert algorithm(tg.compile(net(groups=16), tune=True)) == "im2col"
    assert judge.asked == [("depthwise", "im2col")]
    assert algorithm(tg.compile(net(groups=16))) == "depthwise"


def test_it_is_measured_once(judge: Judge, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    for _ in range(2):
        assert algorithm(tg.compile(net(), precision="fast", tune=True)) == "winograd2"
    forget(monkeypatch)
    assert algorithm(tg.compile(net(), precision="fast", tune=True)) == "winograd2"
    assert len(judge.asked) == 1
    assert len(json.loads(file.read_text())) == 1


def test_it_is_measured_anew_where_it_may_be_different(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    for n, (graph, threads) in enumerate([(net(), 1), (net(), 2), (net(filters=8), 2)], 1):
        tg.compile(graph, threads=threads, precision="fast", tune=True)
        assert len(judge.asked) == n
    monkeypatch.setattr(tuning, "_machine", lambda: "another")
    forget(monkeypatch)
    tg.compile(net(), threads=1, precision="fast", tune=True)
    assert len(judge.asked) == 4


def test_precisions_are_measured_apart(judge: Judge) -> None:
    tg.compile(net(groups=16), precision="fast", tune=True)
    tg.compile(net(groups=16), tune=True)
    assert len(judge.asked) == 2


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 3}', '{"machine": {"what": 4}}', "\xff", "[" * 100_000])
def test_a_damaged_file_is_none(judge: Judge, file: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text, "latin-1")
    assert algorithm(tg.compile(net(), precision="fast", tune=True)) == "winograd2"
    forget(monkeypatch)
    assert algorithm(tg.compile(net(), precision="fast", tune=True)) == "winograd2"
    assert len(judge.asked) == 1


def test_a_routine_that_there_is_not_is_measured_again(
    judge: Judge, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tg.compile(net(), precision="fast", tune=True)
    file.write_text(file.read_text().replace("winograd2", "winograd9"))
    forget(monkeypatch)
    assert algorithm(tg.compile(net(), precision="fast", tune=True)) == "winograd2"
    assert len(judge.asked) == 2
    assert "winograd9" not in file.read_text()


def test_a_file_that_cannot_be_written_is_no_error(judge: Judge, file: Path) -> None:
    file.parent.write_text("no folder")
    for _ in range(2):
        assert algorithm(tg.compile(net(), precision="fast", tune=True)) == "winograd2"
    assert len(judge.asked) == 1


def test_without_a_home_this_process_remembers(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nowhere)
    for _ in range(2):
        tg.compile(net(), precision="fast", tune=True)
    assert len(judge.asked) == 1


@pytest.mark.parametrize("given", ["", "here"])
def test_the_folder_is_that_of_the_user(given: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert tuning._path() == tmp_path / ".cache" / "tinygraph" / "tuning.json"


def test_a_link_to_a_device_is_not_read(judge: Judge, file: Path) -> None:
    file.parent.mkdir()
    file.symlink_to("/dev/zero")
    tg.compile(net(), precision="fast", tune=True)
    assert file.is_symlink()
    assert len(judge.asked) == 1


def test_many_processes_may_write_at_once(file: Path) -> None:
    code = """
import sys
from tinygraph.kernels.choice import chosen
from tinygraph.runtime import tuning
tuning.fastest = lambda names, run: names[0]
for n in range(30):
    with tuning.tuned():
        chosen(f"{sys.argv[1]} {n}", ["a", "b"], None)
"""
    runs = [subprocess.Popen([sys.executable, "-c", code, str(i)]) for i in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    (found,) = json.loads(file.read_text()).values()
    assert set(found.values()) == {"a"}
    assert any(
        {f"{i} {n}" for n in range(30)} <= found.keys() for i in range(3)
    )  # the last to write has all of its own
    assert list(file.parent.iterdir()) == [file]


def test_what_others_wrote_meanwhile_stays(judge: Judge, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(names: Sequence[str], run: Callable[[str], Task]) -> str:
        forget(monkeypatch)
        monkeypatch.setattr(tuning, "fastest", judge)
        with monkeypatch.context() as other:
            other.setattr(tuning, "_lock", tuning.Mutex())  # of another process
            tg.compile(net(filters=8), precision="fast", tune=True)
        forget(monkeypatch)
        return "winograd4"

    monkeypatch.setattr(tuning, "fastest", meanwhile)
    tg.compile(net(), precision="fast", tune=True)
    (found,) = json.loads(file.read_text()).values()
    assert sorted(found.values()) == ["winograd2", "winograd4"]


def test_maps_that_are_too_large_are_not_made(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygraph.kernels.channels_last._MOST_BYTES", 1000)
    session = tg.compile(net(), precision="fast", tune=True)
    assert judge.asked == []
    assert algorithm(session) == algorithm(tg.compile(net(), precision="fast"))


def test_open_sizes_are_measured_when_they_are_known(judge: Judge) -> None:
    w = np.ones((16, 16, 3, 3), np.float32)
    graph = tg.trace(lambda x: conv2d(x, w, padding=1), tg.Spec(("N", 16, 12, 12)))
    session = tg.compile(graph, precision="fast", tune=True)
    assert judge.asked == []
    for batch in (2, 3, 2):
        session(np.ones((batch, 16, 12, 12), np.float32))
    assert len(judge.asked) == 2


def test_it_is_measured_for_real(file: Path) -> None:
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    session = tg.compile(net(), precision="fast", tune=True)
    (found,) = json.loads(file.read_text()).values()
    assert list(found.values()) == [algorithm(session)]
    np.testing.assert_allclose(session(x), tg.compile(net())(x), rtol=0, atol=1e-4)
