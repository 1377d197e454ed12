"""Sessions with state: what a call rewrites, where, and that it never does so by halves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.sessions import F32, arange
from tinygraph import ops
from tinygraph.build import Builder
from tinygraph.errors import DivergenceError, UsageError
from tinygraph.ir import Array, Graph, Kind, TensorType, Value
from tinygraph.runtime.session import Session
from tinygraph.runtime.state import finite
from tinygraph.tensor import Tensor
from tinygraph.trace import Trace

Step = Callable[..., Mapping[str, Any]]


def training(fn: Step, inputs: Mapping[str, Any], kind: Kind = "param", **state: Array) -> Graph:
    """The graph of fn(*inputs, *state) -> outputs by name; those with a name of the state are its next values."""
    trace = Trace("training")
    builder = trace.builder
    tensors = [Tensor(builder.input(name, TensorType(shape)), trace) for name, shape in inputs.items()]
    tensors += [Tensor(builder.declare(kind, name, array), trace) for name, array in state.items()]
    outputs = fn(*tensors)
    return tg.verify(builder.finish((name, t.value) for name, t in outputs.items()))


def stateful(
    fn: Step,
    inputs: Mapping[str, Any],
    guard: Collection[str | Value] = (),
    threads: int | None = None,
    **state: Array,
) -> tuple[Session, dict[str, Array]]:
    """A session of the graph, and its state arrays by name."""
    graph = training(fn, inputs, **state)
    arrays = {v: graph.array(v).copy() for v in graph.data if v.name in state}
    return Session(graph, threads, arrays, guard), {v.name: a for v, a in arrays.items()}


def pointers_written(run: Session) -> set[int]:
    """Addresses of the state arrays that are written as their next value is computed, not by a copy."""
    (plan,) = run._plans.values()
    copied = {array.ctypes.data for array, _, _ in plan._copies}
    return {array.ctypes.data for array in run._state.values()} - copied


# ---- next values -------------------------------------------------------------------------------


def test_a_call_rewrites_the_state_and_returns_the_rest() -> None:
    run, state = stateful(lambda x, w: {"w": w - x, "y": w + x}, {"x": (2,)}, w=arange(2))
    w = state["w"]
    np.testing.assert_array_equal(run(np.ones(2, F32)), [1, 2])
    np.testing.assert_array_equal(w, [-1, 0])
    np.testing.assert_array_equal(run(x=np.ones(2, F32)), [0, 1])
    np.testing.assert_array_equal(w, [-2, -1])
    assert state["w"] is w


def test_state_is_read_anew_at_each_call() -> None:
    run, state = stateful(lambda x, w: {"y": ops.linear(x, w)}, {"x": (1, 2)}, w=arange(3, 2))
    x = np.ones((1, 2), F32)
    np.testing.assert_array_equal(run(x), [[1, 5, 9]])
    state["w"][...] = 1
    np.testing.assert_array_equal(run(x), [[2, 2, 2]])


def test_statistics_of_batch_normalization_are_no_constants() -> None:
    def fn(x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
        return {"y": ops.batch_norm(x, gamma, beta, mean, var), "mean": mean + 1}

    one, zero = np.ones(1, F32), np.zeros(1, F32)
    run, _ = stateful(fn, {"x": (1, 1)}, gamma=one, beta=zero, mean=zero, var=one)
    answers = [float(run(np.full((1, 1), 2, F32))[0, 0]) for _ in range(3)]
    np.testing.assert_allclose(answers, [2, 1, 0], atol=1e-4)


def test_plans_of_several_batch_sizes_share_the_state() -> None:
    run, state = stateful(lambda x, w: {"w": w + ops.sum(x, 0), "n": ops.sum(x)}, {"x": ("N", 2)}, w=np.zeros(2, F32))
    for n in (1, 3, 2, 3):
        run(np.ones((n, 2), F32))
    np.testing.assert_array_equal(state["w"], [9, 9])
    assert len(run._plans) == 3


def test_only_state_that_was_given_is_rewritten() -> None:
    graph = training(lambda x, w, v: {"w": w + x, "v": v + x}, {"x": (2,)}, w=arange(2), v=arange(2))
    w = graph.value("w")
    run = Session(graph, state={w: arange(2)})
    np.testing.assert_array_equal(run(np.ones(2, F32)), [1, 2])
    np.testing.assert_array_equal(run(np.ones(2, F32)), [1, 2])
    np.testing.assert_array_equal(run._state[w], [2, 3])


def test_buffers_are_state_too() -> None:
    graph = training(lambda x, n: {"n": n + x}, {"x": ()}, kind="buffer", n=np.zeros((), F32))
    count = np.zeros((), F32)
    run = Session(graph, state={graph.value("n"): count})
    assert run(np.float32(2)) == {}
    assert run(np.float32(3)) == {}
    assert count == 5


def test_a_recipe_in_the_place_of_state_is_not_followed() -> None:
    class Unwanted:
        type = TensorType((2,))

        def array(self) -> Array:
            raise AssertionError("nobody asked for these numbers")

    build = Builder("training")
    x = build.input("x", TensorType((2,)))
    w = build.declare("param", "w", Unwanted())
    graph = build.finish([("w", build.emit(ops.arithmetic.Add(), [x, w])[0])])
    array = arange(2)
    Session(graph, state={w: array})(arange(2))
    np.testing.assert_array_equal(array, [0, 2])


# ---- who reads what ----------------------------------------------------------------------------

square = np.arange(4, dtype=F32).reshape(2, 2)

# (label, next values of a and b and an output y from x, a and b; whether a and b are written in place)
ORDERS: list[tuple[str, Step, set[str]]] = [
    ("elementwise", lambda x, a, b: {"a": a - x, "b": b * 2}, {"a", "b"}),
    ("read before", lambda x, a, b: {"y": a * x, "a": a - x}, {"a"}),
    ("read after", lambda x, a, b: _read_after(x, a), set()),
    ("read after as a view", lambda x, a, b: _view_after(x, a), set()),
    ("transposed", lambda x, a, b: {"a": a + ops.transpose(a)}, set()),
    ("a view of itself", lambda x, a, b: {"a": ops.transpose(a)}, set()),
    ("itself", lambda x, a, b: {"a": a, "y": a + x}, {"a"}),
    ("twice itself", lambda x, a, b: {"a": a + a}, {"a"}),
    ("swapped", lambda x, a, b: {"a": b, "b": a}, set()),
    ("shifted", lambda x, a, b: {"a": b, "b": b + x}, set()),
    ("chained", lambda x, a, b: _chained(x, a, b), {"a", "b"}),
    ("two of one value", lambda x, a, b: _same(x, a), {"a"}),
    ("the input", lambda x, a, b: {"a": x, "b": ops.transpose(x)}, set()),
    ("a product", lambda x, a, b: {"a": a @ x}, set()),
    ("old and new returned", lambda x, a, b: {"y": a, "a": a + x}, set()),
    ("new returned", lambda x, a, b: _returned(x, a), {"a"}),
    ("broadcast", lambda x, a, b: {"a": ops.broadcast_to(ops.sum(x), (2, 2)), "y": ops.sum(a)}, set()),
]


def _read_after(x: Any, a: Any) -> Any:
    new = a - x
    return {"a": new, "y": a * new}


def _view_after(x: Any, a: Any) -> Any:
    view = ops.transpose(a)
    new = a - x
    return {"a": new, "y": view * new}


def _chained(x: Any, a: Any, b: Any) -> Any:
    a = a * 0.5 + x
    return {"a": a, "b": b - a}


def _same(x: Any, a: Any) -> Any:
    new = a + x
    return {"a": new, "b": new}


def _returned(x: Any, a: Any) -> Any:
    new = a + x
    return {"a": new, "y": new, "z": ops.transpose(new)}


@pytest.mark.parametrize(("fn", "in_place"), [o[1:] for o in ORDERS], ids=[o[0] for o in ORDERS])
def test_every_reader_sees_the_state_it_should(fn: Step, in_place: set[str]) -> None:
    x, a, b = arange(2, 2) + 5, arange(2, 2), arange(2, 2) * 3 + 1
    run, state = stateful(fn, {"x": (2, 2)}, a=a, b=b)
    for _ in range(2):
        want = {name: np.array(v) for name, v in fn(x, a, b).items()}
        result = run(x)
        kept = result if isinstance(result, dict) else dict(zip(run._names, [result], strict=True))
        assert set(kept) == set(want) - set(state)
        for name, y in kept.items():
            np.testing.assert_array_equal(y, want[name])
            assert y.flags.writeable
            assert not any(np.shares_memory(y, array) for array in (*state.values(), x))
        a, b = want.get("a", a), want.get("b", b)
        np.testing.assert_array_equal(state["a"], a)
        np.testing.assert_array_equal(state["b"], b)
    np.testing.assert_array_equal(x, arange(2, 2) + 5)
    written = {name for name in in_place if state[name].ctypes.data in pointers_written(run)}
    assert written == in_place
    not_written = {name for name in want if name in state} - in_place
    assert not {state[name].ctypes.data for name in not_written} & pointers_written(run)


# ---- guards ------------------------------------------------------------------------------------


def sgd(x: Any, w: Any, v: Any) -> Any:
    """Rewrites v before the loss is known, in the order of the nodes; w after it."""
    v = v * 0.9
    loss = ops.sum(ops.log(w * x))
    return {"v": v, "loss": loss, "w": w - loss}


@pytest.mark.parametrize("bad", [-1.0, 0.0, np.inf, np.nan])
def test_divergence_leaves_the_state_alone(bad: float) -> None:
    run, state = stateful(sgd, {"x": (2,)}, guard=["loss"], w=arange(2) + 1, v=arange(2))
    before = {name: a.copy() for name, a in state.items()}
    with pytest.raises(DivergenceError, match=r"%sum: f32.* is not finite"):
        run(np.array([1, bad], F32))
    for name, array in state.items():
        np.testing.assert_array_equal(array, before[name])
    assert run(np.ones(2, F32)) == np.log(F32(2))
    np.testing.assert_array_equal(state["v"], arange(2) * F32(0.9))


def test_without_a_guard_numbers_are_taken_as_they_come() -> None:
    run, state = stateful(sgd, {"x": (2,)}, w=arange(2) + 1, v=arange(2))
    run(np.array([1, np.nan], F32))
    assert np.isnan(state["w"]).all()


def test_values_are_guarded_like_outputs() -> None:
    graph = training(lambda x, w: {"w": w - ops.log(x) * 2}, {"x": ("N",)}, w=np.zeros((), F32).reshape(1))
    guard = next(v for v in graph.values() if v.name == "log")
    array = np.zeros(1, F32)
    run = Session(graph.bind(N=1), state={graph.value("w"): array}, guard=[guard])
    with pytest.raises(DivergenceError, match="%log"):
        run(np.zeros(1, F32))
    assert array == 0


def test_guards_that_are_inputs_state_or_integers() -> None:
    def fn(x: Any, w: Any) -> Any:
        return {"x": x, "n": ops.cast(w * x, np.int32), "w": w + x}

    run, state = stateful(fn, {"x": (1,)}, guard=["x", "n", "w"], w=np.ones(1, F32))
    with pytest.raises(DivergenceError, match="%x"):
        run(np.array([np.nan], F32))
    with pytest.raises(DivergenceError, match="%add"):
        run(np.array([3e38], F32)), run(np.array([3e38], F32))
    np.testing.assert_array_equal(state["w"], np.array([3e38], F32) + 1)


def test_next_values_that_are_guarded_are_not_written_before_they_are_checked() -> None:
    run, state = stateful(lambda x, w: {"w": w / x}, {"x": (2,)}, guard=["w"], w=np.ones(2, F32))
    with pytest.raises(DivergenceError):
        run(np.array([2, 0], F32))
    np.testing.assert_array_equal(state["w"], [1, 1])


FINITE: list[tuple[Any, bool]] = [
    (np.zeros(0), True),
    (np.float32(1).reshape(()), True),
    (np.float32(np.nan).reshape(()), False),
    (np.full(200_000, 3e38, F32), True),
    (np.full(200_000, 60_000, np.float16), True),
    (np.append(np.full(200_000, 3e38, F32), F32(np.inf)), False),
    (np.append(np.ones(200_000, F32), F32(-np.inf)), False),
    (np.insert(np.ones(200_000, F32), 70_000, np.nan), False),
    (np.broadcast_to(F32(1), (2**40,)), True),
    (np.broadcast_to(F32(np.nan), (2**40,)), False),
    (np.broadcast_to(np.array([1, np.inf], F32), (2**40, 2)), False),
    (np.array([[1, 2], [np.nan, 4]], F32).T, False),
    (np.ones((3, 4), F32)[::-1, ::2], True),
]


@pytest.mark.parametrize(("array", "answer"), FINITE)
def test_finite(array: Array, answer: bool) -> None:
    with np.errstate(all="ignore"):
        assert finite(array) == answer


# ---- refusals ----------------------------------------------------------------------------------


def read_only(array: Array) -> Array:
    array.flags.writeable = False
    return array


MISFITS: list[tuple[Callable[[], Array], str]] = [
    (lambda: arange(3), r"state for %w: f32\[2\] is f32\[3\]"),
    (lambda: np.zeros(2), r"is f64\[2\]"),
    (lambda: read_only(arange(2)), "writable"),
    (lambda: arange(4)[::2], "C-contiguous"),
]


@pytest.mark.parametrize(("make", "message"), MISFITS)
def test_state_that_does_not_fit(make: Callable[[], Array], message: str) -> None:
    graph = training(lambda x, w: {"w": w + x}, {"x": (2,)}, w=arange(2))
    with pytest.raises(UsageError, match=message):
        Session(graph, state={graph.value("w"): make()})


def test_state_for_what_is_no_parameter() -> None:
    graph = training(lambda x, w: {"y": w + x}, {"x": (2,)}, w=arange(2))
    for name in ("x", "add"):
        with pytest.raises(UsageError, match="no such param or buffer"):
            Session(graph, state={graph.value(name): arange(2)})


def test_two_states_in_one_memory() -> None:
    graph = training(lambda x, w, v: {"w": w + x, "v": v + x}, {"x": (2,)}, w=arange(2), v=arange(2))
    memory = arange(3)
    with pytest.raises(UsageError, match="share memory"):
        Session(graph, state={graph.value("w"): memory[:2], graph.value("v"): memory[1:]})


def test_a_next_value_of_another_type() -> None:
    graph = training(lambda x, w: {"w": ops.sum(w + x)}, {"x": (2,)}, w=arange(2))
    with pytest.raises(UsageError, match=r"the output 'w' is f32\[\], but the state that it replaces f32\[2\]"):
        Session(graph, state={graph.value("w"): arange(2)})


def test_guards_that_are_not_there() -> None:
    graph = training(lambda x, w: {"w": w + x}, {"x": (2,)}, w=arange(2))
    for guard in ("loss", Value("loss", TensorType(()))):
        with pytest.raises(UsageError, match="cannot guard"):
            Session(graph, state={graph.value("w"): arange(2)}, guard=[guard])


# ---- threads -----------------------------------------------------------------------------------


def test_calls_of_a_session_with_state_wait_for_one_another() -> None:
    run, state = stateful(lambda x, w: {"w": w + x, "y": ops.sum(w)}, {"x": (10_000,)}, w=np.zeros(10_000, F32))
    x = np.ones(10_000, F32)
    threads = [threading.Thread(target=lambda: [run(x) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(state["w"], 200)
