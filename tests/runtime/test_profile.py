"""session.profile: what it tells of each step is what was planned, and what a clock would have shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.runtime.test_stages import picked
from tests.runtime.test_state import stateful
from tests.sessions import F32, session, small_net
from tinygraph import ops
from tinygraph.errors import DivergenceError, ShapeError, UsageError
from tinygraph.ir import Array, TensorType
from tinygraph.kernels.workers import shares, together, watched
from tinygraph.ops.base import Op, apply, family, no_flops, no_macs, not_differentiable, not_in_onnx
from tinygraph.runtime import peak
from tinygraph.runtime.peak import gemm_peak
from tinygraph.runtime.profile import Profile

PEAKS = {np.dtype(F32): 4e9, np.dtype(np.float64): 2e9}  # FLOP/s of a thread, in these tests


@pytest.fixture(autouse=True)
def _known_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygraph.runtime.profile.gemm_peak", lambda dtype, threads: PEAKS[dtype] * threads)


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("profile", "recording", "stages", "peak"):
        monkeypatch.setattr(f"tinygraph.runtime.{module}.perf_counter_ns", clock)
    return clock


@family
class Takes(Op):
    """x + 1, in so many nanoseconds: those of the first call, of the second ..."""

    name = "takes"
    arity = (1, 1)
    macs = no_macs
    vjp = not_differentiable("it is a test")
    to_onnx = not_in_onnx("it is a test")
    clock: Clock
    nanoseconds: list[int]

    def infer(self, x: TensorType) -> TensorType:
        return x

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """6000."""
        return 6000

    def kernel(self, x: Array) -> Array:
        self.clock.now += self.nanoseconds.pop(0)
        return x + 1


def timed(clock: Clock) -> Profile:
    """Of two steps, in three runs after two that do not count."""
    first, second = [9999, 8888, 1000, 7000, 3000], [9999, 8888, 2000, 4000, 3000]

    def fn(x: Any) -> Any:
        return apply(Takes(clock, second), apply(Takes(clock, first), x))

    found = session(fn, (2, 3)).profile(np.zeros((2, 3), F32), repeat=3)
    assert not first + second
    return found


# ---- rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3])
def test_there_is_a_row_for_each_step(batch: int) -> None:
    run = tg.compile(small_net(), threads=2)
    found = run.profile(np.ones((batch, 2, 8, 8), F32), repeat=2)
    (plan,) = run._plans.values()
    told = [(row.name, row.module, row.algorithm, row.output_shape, row.output_bytes) for row in found.rows]
    results = [step.node.output_types[0] for step in plan.steps]
    assert told == [
        (step.node.name, step.node.where.module, step.algorithm, type.dims, type.nbytes)
        for step, type in zip(plan.steps, results, strict=True)
    ]
    assert [row.op for row in found.rows if row.module in ("conv1", "conv2")] == ["conv", "conv"]
    assert found.rows[-1].op == "linear"
    report = tg.analyze(run.graph.bind(N=batch))
    assert found.totals.flops == sum(row.flops for row in found.rows) == report.totals.flops
    assert (found.runs, found.threads, found.peaks) == (2, 2, {"float32": 8e9})


def test_inputs_come_by_name_too() -> None:
    run = session(lambda x, y: x - y, (2,), (3, 2))
    assert run.profile(y=np.ones((3, 2), F32), x=np.ones(2, F32)).rows[0].flops == 6


def test_nodes_that_run_together_are_one_row() -> None:
    size = 1 << 18
    (row,) = session(lambda x: ops.relu(x + 1) * 2, (size,)).profile(np.ones(size, F32), repeat=1).rows
    assert (row.op, row.algorithm, row.flops) == ("fused", "add+relu+mul", 3 * size)


def test_a_profile_leaves_the_session_as_it_was() -> None:
    run = tg.compile(small_net())
    x = np.random.default_rng(0).standard_normal((2, 2, 8, 8)).astype(F32)
    given, want = x.copy(), run(x)
    run.profile(x)
    np.testing.assert_array_equal(x, given)
    np.testing.assert_array_equal(run(x), want)
    assert len(run._arenas.spare) == 1


# ---- times -------------------------------------------------------------------------------------


def test_times_are_medians_of_the_runs_that_count(clock: Clock) -> None:
    found = timed(clock)
    assert [row.seconds for row in found.rows] == pytest.approx([3e-6, 3e-6])
    assert found.totals.seconds == pytest.approx(6e-6)  # of 3, 11 and 6 microseconds
    assert [row.time_share for row in found.rows] == pytest.approx([0.5, 0.5])
    assert found.totals.other_seconds == 0


def test_what_a_call_takes_besides_its_steps(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(list[Any]):
        """An argument that is an array only after 2000 ns."""

        def __array__(self, *args: Any, **options: Any) -> Array:
            clock.now += 2000
            return np.zeros((2, 3), F32)

    found = session(lambda x: apply(Takes(clock, [1000] * 6), x), (2, 3)).profile(Slow(), repeat=4)
    assert found.totals.seconds == pytest.approx(3e-6)
    assert found.totals.other_seconds == pytest.approx(2e-6)
    assert found.rows[0].time_share == pytest.approx(1 / 3)


def test_speed_is_held_against_the_peak(clock: Clock) -> None:
    found = timed(clock)
    assert [row.gflops for row in found.rows] == pytest.approx([2, 2])
    threads = found.threads
    assert [row.peak_share for row in found.rows] == pytest.approx([0.5 / threads] * 2)
    assert found.totals.gflops == pytest.approx(2)
    assert found.totals.peak_share == pytest.approx(0.5 / threads)


@pytest.mark.parametrize(("dtype", "wanted"), [(np.float64, 2e9), (np.int64, None), (np.float16, None)])
def test_each_dtype_has_its_own_peak(dtype: Any, wanted: float | None) -> None:
    found = session(lambda x: x + x, (4,), dtype=dtype).profile(np.ones(4, dtype))
    (row,) = found.rows
    if wanted is None:
        assert (row.peak_share, found.totals.peak_share, found.peaks) == (None, None, {})
    else:
        assert row.peak_share == pytest.approx(row.flops / row.seconds / wanted / found.threads)
        assert list(found.peaks) == [np.dtype(dtype).name]


def test_a_clock_that_saw_nothing_divides_by_nothing(clock: Clock) -> None:
    found = session(lambda x: x + x, (4,)).profile(np.ones(4, F32))
    assert (found.totals.seconds, found.totals.gflops, found.rows[0].gflops, found.rows[0].peak_share) == (0, 0, 0, 0)
    assert str(found)


# ---- the peak ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("threads", "rows"), [(1, 1024), (2, 1024), (6, 1536)])
def test_the_peak_is_that_of_the_best_product(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, threads: int, rows: int
) -> None:
    times = [5_000_000, 400_000_000, 100_000_000, 300_000_000]  # the first does not count
    parts = []

    class Product:
        def __init__(self, a: Sequence[int], b: Sequence[int], workers: int) -> None:
            parts.append((*a, *b, len(shares(a[0], workers))))

        def run(self, a: Array, b: Array, y: Array) -> None:
            assert a.dtype == b.dtype == y.dtype == np.float64
            clock.now += times.pop(0)

    monkeypatch.setattr(peak, "MatrixProduct", Product)
    found = gemm_peak.__wrapped__(np.dtype(np.float64), threads)
    assert found == pytest.approx(2 * rows * 1024**2 / 0.1)
    assert parts == [(rows, 1024, 1024, 1024, threads)]
    assert not times


def test_the_peak_is_measured_once() -> None:
    before = gemm_peak.cache_info().currsize
    found = [gemm_peak(np.dtype(F32), 1) for _ in range(3)]
    assert found[0] == found[1] == found[2] > 1e8
    assert gemm_peak.cache_info().currsize <= before + 1


# ---- sessions of all kinds ---------------------------------------------------------------------


def test_state_stays_as_it_is() -> None:
    run, state = stateful(lambda x, w: {"w": w - x, "y": w + x}, {"x": (2,)}, w=np.float32([1, 2]))
    x = np.float32([10, 20])
    found = run.profile(x)
    assert len(found.rows) == 2
    np.testing.assert_array_equal(state["w"], [1, 2])
    np.testing.assert_array_equal(run(x), [11, 22])
    np.testing.assert_array_equal(state["w"], [-9, -18])


def test_state_stays_as_it_is_where_numbers_diverge() -> None:
    run, state = stateful(lambda x, w: {"w": w * x, "y": w + x}, {"x": (2,)}, guard=["y"], w=np.float32([1, 2]))
    with pytest.raises(DivergenceError):
        run.profile(np.float32([np.inf, 1]))
    np.testing.assert_array_equal(state["w"], [1, 2])


def test_steps_of_all_stages_are_told() -> None:
    run = tg.compile(picked(), passes="none")
    x = np.ones((5, 3), F32)
    x[:2] = -1
    found = run.profile(x, repeat=2)
    rows = {row.op: row for row in found.rows}
    assert {"relu", "nonzero", "gather", "mul"} <= rows.keys()
    assert rows["nonzero"].algorithm == "plain"
    assert rows["nonzero"].output_shape == (1, 3)
    assert rows["gather"].output_shape == (3, 3)
    assert rows["relu"].flops == 15
    order = [row.op for row in found.rows]
    assert order.index("relu") < order.index("nonzero") < order.index("gather") < order.index("mul")
    np.testing.assert_array_equal(run(x)["y"], np.full((3, 3), 2))


@pytest.mark.parametrize("repeat", [0, -1, True, 1.5, None])
def test_there_is_at_least_one_run(repeat: Any) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        session(lambda x: x + 1, (2,)).profile(np.ones(2, F32), repeat=repeat)


def test_arguments_are_checked_as_in_a_call() -> None:
    run = session(lambda x: x + 1, (2,))
    with pytest.raises(UsageError, match="missing: x"):
        run.profile()
    with pytest.raises(ShapeError, match="input 'x'"):
        run.profile(np.ones(3, F32))


# ---- what becomes of it ------------------------------------------------------------------------


def test_as_text(clock: Clock) -> None:
    head, first, _, other, call, _, conditions = str(timed(clock)).splitlines()
    assert head.split() == ["node", "op", "algorithm", "output", "ms", "time", "GFLOP/s", "of", "peak"]
    assert first.split()[1:7] == ["takes", "plain", "2x3", "0.003", "50.0", "%"]
    assert other.split() == ["besides", "the", "steps", "0.000", "0.0", "%"]
    assert call.split()[:4] == ["call", "0.006", "100.0", "%"]
    assert conditions.startswith("medians of 3 runs, threads: ")
    assert "GEMM peak of float32" in conditions


def test_as_json(clock: Clock) -> None:
    found = timed(clock)
    told = json.loads(found.to_json())
    assert list(told) == ["schema", "threads", "runs", "gemm_peaks", "totals", "rows"]
    assert (told["schema"], told["runs"], told["totals"]["flops"]) == (1, 3, 12_000)
    assert [row["seconds"] for row in told["rows"]] == [row.seconds for row in found.rows]


def test_as_a_trace(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text("old")
    found = timed(clock)
    found.save(path)
    trace = json.loads(path.read_text())
    track, call, first, second = trace["traceEvents"]
    assert (track["ph"], track["args"]) == ("M", {"name": "session"})
    assert (call["name"], call["ts"], call["dur"]) == ("call", 0, 6)  # the run whose time is in the middle
    assert [(e["ts"], e["dur"]) for e in (first, second)] == [(0, 3), (3, 3)]
    assert first["name"] == found.rows[0].name
    assert {e["ph"] for e in (call, first, second)} == {"X"}
    assert len({(e["pid"], e["tid"]) for e in trace["traceEvents"]}) == 1
    assert first["args"] == {
        "module": "",
        "algorithm": "plain",
        "FLOPs": 6000,
        "GFLOP/s": 2.0,
        "inputs": ["f32[2,3]"],
        "outputs": ["f32[2,3]"],
    }
    assert list(tmp_path.iterdir()) == [path]


@family
class Divided(Op):
    """x, by a kernel that divides its work among three threads, each of which takes 1000 ns."""

    name = "divided"
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("it is a test")
    to_onnx = not_in_onnx("it is a test")
    clock: Clock

    def infer(self, x: TensorType) -> TensorType:
        return x

    def kernel(self, x: Array) -> Array:
        barrier, turn = Barrier(3), Lock()

        def task() -> None:
            barrier.wait(10)
            with turn:
                self.clock.now += 1000

        together([task] * 3)
        together([lambda: None])  # is no division
        return x + 0


def test_a_trace_tells_what_each_thread_did(clock: Clock, tmp_path: Path) -> None:
    def fn(x: Any) -> Any:
        return apply(Divided(clock), apply(Takes(clock, [500] * 4), x))

    found = session(fn, (2,)).profile(np.zeros(2, F32), repeat=2)
    found.save(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [e["args"]["name"] for e in events if e["ph"] == "M"] == ["session", "worker 1", "worker 2"]
    tasks = [e for e in events if e.get("cat") == "task"]
    assert {e["tid"] for e in tasks} == {0, 1, 2}
    assert {e["name"] for e in tasks} == {f"part of {found.rows[1].name}"}
    assert {e["ts"] for e in tasks} == {0.5}
    assert sorted(e["dur"] for e in tasks) == [1, 2, 3]


def test_tasks_are_watched_only_in_a_profile(clock: Clock) -> None:
    run = session(lambda x: apply(Divided(clock), x), (2,))
    seen = []
    with watched(lambda task: seen.append(task) or task):
        run(np.zeros(2, F32))
    run(np.zeros(2, F32))
    assert len(seen) == 3


def test_a_trace_that_cannot_be_written(clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        timed(clock).save(tmp_path / "nowhere" / "trace.json")
