"""Whose memory results lie in, and how much of it a call takes: known beforehand."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.poison import call_poisoned
from tests.sessions import ALIASES, F32, arange, as_dict, session, small_net, twice
from tinygraph import nn, ops
from tinygraph.build import Builder
from tinygraph.errors import UsageError
from tinygraph.ir import Array, Graph, TensorType
from tinygraph.runtime.evaluate import evaluate
from tinygraph.runtime.lifetimes import lifetimes, owners
from tinygraph.runtime.plan import Memory


@pytest.fixture(scope="module")
def net() -> Graph:
    return small_net()


# ---- whose memory ------------------------------------------------------------------------------


@pytest.mark.parametrize("fn", ALIASES.values(), ids=ALIASES.keys())
def test_results_belong_to_the_caller(fn: Callable[[Any], Any]) -> None:
    run = session(fn, (2, 2))
    x = arange(2, 2)
    first = as_dict(run(x))
    want = {name: y.copy() for name, y in first.items()}
    for name, y in first.items():
        assert y.flags.writeable
        assert not np.shares_memory(y, x)
        others = [z for other, z in first.items() if other != name]
        assert not any(np.shares_memory(y, z) for z in others)
    for y in first.values():
        y[...] = -99
    np.testing.assert_array_equal(x, arange(2, 2))
    for name, y in as_dict(run(x)).items():
        np.testing.assert_array_equal(y, want[name])


def parameter_graph() -> Graph:
    """Outputs that are a parameter, a view of one, and a constant."""
    build = Builder()
    build.input("x", TensorType((1,)))
    weight = build.declare("param", "w", arange(2, 2))
    const = build.const(np.array([5, 6], F32))
    (view,) = build.emit(ops.shape.Transpose((1, 0)), [weight])
    return build.finish([("w", weight), ("view", view), ("const", const)])


def test_weights_do_not_leak() -> None:
    graph = tg.verify(parameter_graph())
    run = tg.compile(graph, passes="none")
    for y in run(arange(1)).values():
        y[...] = -99
    again = run(arange(1))
    np.testing.assert_array_equal(again["w"], arange(2, 2))
    np.testing.assert_array_equal(again["view"], arange(2, 2).T)
    np.testing.assert_array_equal(again["const"], [5, 6])


def test_a_small_part_does_not_keep_the_whole_alive() -> None:
    result = session(lambda x: (x + 1)[0], (1000, 2))(arange(1000, 2))
    assert result.base is None


def test_inputs_are_never_written(net: Graph) -> None:
    x = np.random.default_rng(0).standard_normal((2, 2, 8, 8)).astype(F32)
    kept = x.copy()
    tg.compile(net)(x)
    np.testing.assert_array_equal(x, kept)
    x.flags.writeable = False
    tg.compile(net)(x)


def test_results_are_not_overwritten_by_the_next_call(net: Graph) -> None:
    run = tg.compile(net)
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 2, 2, 8, 8)).astype(F32)
    y = run(first)
    kept = y.copy()
    run(second)
    np.testing.assert_array_equal(y, kept)


def test_nothing_is_read_before_it_is_written(net: Graph) -> None:
    x = np.random.default_rng(0).standard_normal((2, 2, 8, 8)).astype(F32)
    want = evaluate(net, {"x": x})["output"]
    for run in (tg.compile(net, passes="none"), tg.compile(net)):
        np.testing.assert_allclose(call_poisoned(run, {"x": x})["output"], want, rtol=1e-4, atol=1e-5)


# ---- lifetimes and memory ----------------------------------------------------------------------


def names(values: Any) -> set[str]:
    return {v.name for v in values}


def test_a_value_dies_with_its_last_reader() -> None:
    def fn(x: Any, y: Any) -> Any:
        a = ops.exp(x)
        b = a + a
        return (b + a) * x

    graph = tg.trace(fn, tg.Spec((2,)), tg.Spec((2,)))
    assert [names(v) for v in lifetimes(graph)] == [set(), set(), {"add", "exp"}, {"add.1", "x"}]


def test_outputs_live_on_and_unread_results_die_at_once() -> None:
    def fn(x: Any) -> Any:
        y, mean, _ = ops.batch_norm_train(x, np.ones(2, F32), np.zeros(2, F32))
        return {"y": y, "m": ops.exp(mean)}

    graph = tg.trace(fn, tg.Spec((3, 2)))
    assert [names(v) for v in lifetimes(graph)] == [
        {"batch_norm_train.var", "x", *names(graph.data)},
        {"batch_norm_train.mean"},
    ]


def test_views_lie_in_the_memory_of_their_base() -> None:
    def fn(x: Any) -> Any:
        a = ops.exp(x)
        t = ops.transpose(a)
        copied = ops.reshape(t, (6,))
        return ops.sum(ops.reshape(copied, (2, 3))) + ops.sum(ops.reshape(a, (6,)))

    graph = tg.trace(fn, tg.Spec((2, 3)))
    found = {v.name: o.name for v, o in owners(graph, {}).items()}
    assert found["transpose"] == "exp"
    assert found["reshape"] == "reshape"  # a transposed array cannot be reshaped without a copy
    assert found["reshape.1"] == "reshape"
    assert found["reshape.2"] == "exp"


def peak_of(fn: Callable[..., Any], *shape: int) -> int:
    return session(fn, shape).memory.activations


PEAKS: list[tuple[str, Callable[[Any], Any], int]] = [
    ("a chain is computed in place", lambda x: ops.exp(ops.exp(ops.exp(x))), 1),
    ("other chains keep two arrays", lambda x: ops.softmax(ops.softmax(ops.softmax(x, 0), 0), 0), 2),
    ("a chain ends where the next begins", lambda x: ops.softmax(ops.exp(ops.exp(x)), 0), 2),
    ("a skip keeps one more", lambda x: _skip(ops.exp(x)), 2),
    ("a view costs nothing", lambda x: ops.exp(ops.reshape(ops.exp(x), (10, 10))), 2),
    ("a view keeps its base alive", lambda x: _kept(ops.exp(x)), 2),
    ("an output that is the input is copied", lambda x: x, 1),
    ("a second name is a second array", lambda x: twice(ops.exp(x)), 2),
    ("views of the input are copied at the end", lambda x: ops.reshape(x, (10, 10)), 1),
]


def _skip(a: Any) -> Any:
    return ops.exp(ops.exp(a)) + a


def _kept(a: Any) -> Any:
    view = ops.reshape(a, (10, 10))
    return ops.exp(ops.exp(ops.exp(view))) + view


@pytest.mark.parametrize(("label", "fn", "arrays"), PEAKS, ids=[label for label, _, _ in PEAKS])
def test_predicted_peaks(label: str, fn: Callable[..., Any], arrays: int) -> None:
    assert peak_of(fn, 100) == arrays * 400


def traced_peak(run: Callable[..., Any], *arrays: Array) -> int:
    """Most memory that a call really takes, weights aside, if it is the first one of a session."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        run(*arrays)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def _copied_view(x: Any) -> Any:
    return ops.exp(ops.reshape(ops.transpose(ops.exp(x)), (4, -1)))


MEASURED: list[Callable[[Any], Any]] = [
    lambda x: ops.exp(ops.exp(ops.exp(x))),
    lambda x: _skip(ops.exp(x)),
    lambda x: _kept_wide(ops.exp(x)),
    _copied_view,
    lambda x: {"a": x, "b": ops.transpose(ops.exp(x)), "c": x[:100]},
    lambda x: ops.sum(ops.broadcast_to(ops.exp(x[:1, :1]), (200, 200))),
]


def _kept_wide(a: Any) -> Any:
    view = ops.reshape(a, (50, -1))
    return ops.exp(ops.exp(ops.exp(view))) + view


@pytest.mark.parametrize("fn", MEASURED)
def test_the_predicted_peak_is_what_a_call_takes(fn: Callable[..., Any]) -> None:
    run = session(fn, (200, 300))
    predicted = run.memory.activations + run.memory.workspace
    measured = traced_peak(run, arange(200, 300))
    assert predicted - 1 <= measured < predicted * 1.01 + 20_000


@pytest.mark.parametrize("fn", [fn for fn in MEASURED if fn is not _copied_view])
def test_later_calls_take_what_they_return(fn: Callable[..., Any]) -> None:
    run = session(fn, (200, 300))
    returned = sum(y.nbytes for y in as_dict(run(arange(200, 300))).values())
    assert traced_peak(run, arange(200, 300)) < returned + 20_000


def test_memory_of_a_network(net: Graph) -> None:
    run = tg.compile(net.bind(N=200), passes="none")
    weights = sum(v.type.nbytes for v in net.data if not v.name.endswith("num_batches_tracked"))
    assert run.memory.weights == weights
    assert 0 < run.memory.packed < 100 * weights  # rows of biases are longer than these weights
    assert run.memory.total == run.memory.activations + weights + run.memory.workspace + run.memory.packed
    biggest = 200 * 8 * 8 * 8 * 4
    assert biggest < run.memory.activations <= 2 * biggest
    predicted = run.memory.activations + run.memory.workspace
    assert predicted * 0.95 < traced_peak(run, np.ones((200, 2, 8, 8), F32)) < predicted * 1.05 + 20_000


def test_weights_count_once() -> None:
    layer = nn.Linear(4, 4, bias=False)
    run = tg.compile(lambda x: ops.relu(layer(layer(x))), tg.Spec((1, 4)), passes="none")
    assert run.memory == Memory(2 * 16, 64, run.memory.workspace)


def test_memory_of_open_dimensions_is_not_known(net: Graph) -> None:
    with pytest.raises(UsageError, match=r"memory depends on N: compile graph.bind\(N=...\)"):
        _ = tg.compile(net, passes="none").memory


def test_planning_allocates_no_activations() -> None:
    graph = tg.trace(lambda x: ops.sum(ops.softmax(ops.exp(x))), tg.Spec((2**40,)))
    run = tg.compile(graph, passes="none", budget=tg.Budget(bytes=2**50, operations=2**50))
    assert run.memory.activations == 2 * 4 * 2**40
