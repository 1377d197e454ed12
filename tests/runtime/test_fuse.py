"""Elementwise nodes that run together: which ones do, and that their numbers stay the same bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tests.growth import assert_linear
from tests.runtime.test_placement import poison
from tests.runtime.test_state import stateful
from tests.sessions import F32, as_dict
from tinygraph import ops
from tinygraph.errors import DivergenceError
from tinygraph.ir import Graph
from tinygraph.runtime.evaluate import evaluate
from tinygraph.runtime.fuse import _MOST, Fused, fuse
from tinygraph.runtime.session import Session

SIZE = 3 * _MOST + 777  # several blocks, and a rest


def traced(fn: Callable[..., Any], *shapes: tuple[int, ...]) -> Graph:
    return tg.trace(fn, *(tg.Spec(shape) for shape in shapes))


def together(graph: Graph, *kept: Any) -> list[str]:
    """What runs together, and how many outputs it has."""
    fused = fuse(graph, kept)
    assert sum(len(n.op.members) if isinstance(n.op, Fused) else 1 for n in fused.nodes) == len(graph.nodes)
    groups = [n for n in fused.nodes if isinstance(n.op, Fused)]
    return [f"{'+'.join(m.op.name for m in n.op.members)} -> {len(n.outputs)}" for n in groups]


def _skip(a: Any) -> Any:
    return ops.relu(a * 2 + a) - a


def _twice(a: Any) -> Any:
    b = a + 1
    return {"b": b, "c": b * 2}


def _between(a: Any, b: Any) -> Any:
    c = a * 2
    s = ops.softmax(b)
    return c * s + c


def _read_between(a: Any) -> Any:
    c = a * 2
    d = ops.reshape(c, (-1,))
    return {"e": c + 1, "d": d}


def _scalars_between(a: Any, t: Any) -> Any:
    b = a * t
    u = ops.sqrt(t) + 1
    return b * u + a


def _two_chains(a: Any, b: Any) -> Any:
    return (a * 2 + 1) * (b * 3 - 1)


def _gated(a: Any, b: Any) -> Any:
    return ops.where(a > 0, b * 2, 0)


def _dtypes(a: Any) -> Any:
    return ops.cast(ops.cast(a * 3, np.float64) + 1, np.int32)


def _functions(a: Any) -> Any:
    return ops.tanh(ops.exp(-ops.relu(a))) / ops.sqrt(a * a + 1)


def _operand_read_late(a: Any) -> Any:
    b = a @ a
    c = b + 1
    d = ops.softmax(b * c)
    return ops.softmax(c) + d


BIG = (SIZE,)
TABLE: list[tuple[str, Callable[..., Any], list[tuple[int, ...]], list[str]]] = [
    ("a chain", lambda a: ops.relu(a * 2 + 1), [BIG], ["mul+add+relu -> 1"]),
    ("of several axes", lambda a: ops.relu(a + 1), [(7, 11, 13, 170)], ["add+relu -> 1"]),
    ("read several times", _skip, [BIG], ["mul+add+relu+sub -> 1"]),
    ("an output in the middle", _twice, [BIG], ["add+mul -> 2"]),
    ("two chains meet", _two_chains, [BIG, BIG], ["mul+add+mul+sub+mul -> 1"]),
    ("a choice", _gated, [BIG, BIG], ["compare+mul+where -> 1"]),
    ("dtypes change", _dtypes, [BIG], ["mul+cast+add+cast -> 1"]),
    ("functions", _functions, [BIG], ["relu+neg+exp+tanh+mul+add+sqrt+div -> 1"]),
    ("scalars are made in between", _scalars_between, [BIG, ()], ["mul+mul+add -> 1"]),
    ("something else is computed in between", _between, [BIG, BIG], ["mul+add -> 1"]),
    ("somebody reads in between", _read_between, [BIG], []),
    ("an operand is read after a result is there", _operand_read_late, [(400, 400)], ["add+mul -> 2"]),
    ("one alone", lambda a: ops.relu(a), [BIG], []),
    ("small", lambda a: ops.relu(a * 2 + 1), [(_MOST,)], []),
    ("broadcast", lambda a, b: ops.relu(a + b), [(400, 400), (400,)], []),
    ("other shapes", lambda a, b: (a * 2) + (b * 2), [(400, 400), (1, 400)], []),
    ("views", lambda a: ops.relu(ops.transpose(a) * 2), [(400, 400)], []),
    ("scalars alone", lambda a: ops.exp(a) * 2 + 1, [()], []),
]


@pytest.mark.parametrize(("fn", "shapes", "groups"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
@pytest.mark.parametrize("threads", [1, 3])
def test_what_runs_together(
    fn: Any, shapes: Any, groups: list[str], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = traced(fn, *shapes)
    assert together(graph) == groups
    assert_same_bits(graph, threads, monkeypatch)


def assert_same_bits(graph: Graph, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    inputs = {v.name: np.asarray(rng.standard_normal(v.type.dims), v.type.dtype) for v in graph.inputs}
    kept = {name: x.copy() for name, x in inputs.items()}
    fused = Session(graph, threads)
    with monkeypatch.context() as patch:
        patch.setattr("tinygraph.runtime.plan.fuse", lambda graph, kept: graph)
        alone = Session(graph, threads)
    want = as_dict(alone(**inputs))
    for _ in range(2):
        for name, y in as_dict(fused(**inputs)).items():
            assert (y.shape, y.tobytes()) == (want[name].shape, want[name].tobytes())
        poison(fused)
    for name, x in inputs.items():
        np.testing.assert_array_equal(x, kept[name])
    for (_, y), z in zip(want.items(), evaluate(graph, inputs).values(), strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-5)


@given(st.data())
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_random_elementwise_graphs(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([_MOST, _MOST + 1, SIZE]))

    def fn(*xs: Any) -> Any:
        tensors = list(xs)
        for _ in range(data.draw(st.integers(1, 12))):
            a, b = (data.draw(st.sampled_from(tensors)) for _ in range(2))
            step = data.draw(st.sampled_from(STEPS))
            tensors.append(step(a, b))
        count = data.draw(st.integers(1, 3))
        return {f"y{i}": t for i, t in enumerate(tensors[-count:])}

    graph = traced(fn, (size,), (size,), ())
    with pytest.MonkeyPatch.context() as patch:
        assert_same_bits(graph, data.draw(st.integers(1, 2)), patch)


STEPS: list[Callable[[Any, Any], Any]] = [
    ops.add,
    ops.sub,
    ops.maximum,
    lambda a, b: ops.tanh(a),
    lambda a, b: ops.where(a > b, a, b) if a.shape == b.shape else a * b,
    lambda a, b: ops.sum(a) * 0.01 + b,
    lambda a, b: ops.reshape(ops.relu(a), b.shape) if a.shape == b.shape else a,
]


def test_a_kept_value_ends_a_group() -> None:
    graph = traced(lambda a: ops.relu(ops.exp(a * 2) + 1), BIG)
    (exp,) = (v for v in graph.values() if v.name == "exp")
    assert together(graph) == ["mul+exp+add+relu -> 1"]
    assert together(graph, exp) == ["mul+exp -> 1", "add+relu -> 1"]


def test_groups_do_not_grow_without_end() -> None:
    def fn(a: Any) -> Any:
        for _ in range(100):
            a = ops.relu(a * 2)
        return a

    assert [group.count("+") + 1 for group in together(traced(fn, BIG))] == [64, 64, 64, 8]


def test_intermediate_results_need_no_arrays() -> None:
    alone = tg.compile(lambda a: ops.relu(a), tg.Spec(BIG), passes="none").memory
    fused = tg.compile(_two_chains, tg.Spec(BIG), tg.Spec(BIG), passes="none", threads=2).memory
    assert fused.activations == alone.activations
    assert fused.workspace < 3 * 4 * _MOST * 2


def test_flops_are_those_of_the_members() -> None:
    graph = traced(_functions, BIG)
    (node,) = fuse(graph).nodes
    assert node.op.flops(node.input_types, node.output_types) == sum(
        n.op.flops(n.input_types, n.output_types) for n in graph.nodes
    )


def test_the_plain_kernel_does_the_same() -> None:
    graph = traced(_gated, BIG, BIG)
    fused = fuse(graph)
    rng = np.random.default_rng(0)
    inputs = {v.name: rng.standard_normal(BIG).astype(F32) for v in graph.inputs}
    np.testing.assert_array_equal(*(evaluate(g, inputs)["output"] for g in (graph, fused)))


def test_many_nodes_are_grouped_in_linear_time() -> None:
    def chain(length: int) -> Graph:
        def fn(a: Any) -> Any:
            b = a
            for i in range(length // 4):
                b = ops.relu(b * 2) + a
                b = ops.softmax(b) if i % 50 == 0 else b
            return b

        return traced(fn, BIG)

    assert_linear(fuse, chain(2_000), chain(8_000))


# ---- state -------------------------------------------------------------------------------------


def adam(x: Any, p: Any, m: Any, v: Any) -> Any:
    g = x * 2
    m = m * 0.9 + g * 0.1
    v = v * 0.99 + g * g * 0.01
    return {"p": p - m / (ops.sqrt(v) + 1e-8), "m": m, "v": v}


def late(x: Any, p: Any, m: Any, v: Any) -> Any:
    """Reads the old p and m after their next values are known."""
    q, n = p - x, m + x
    return {"p": q, "m": n, "v": v + p * q + m * n}


def chained(x: Any, p: Any, m: Any, v: Any) -> Any:
    """m takes over the old p, v the old m."""
    return {"p": p + x, "m": p * 2, "v": m + x * 0}


@pytest.mark.parametrize(("fn", "in_place"), [(adam, 3), (late, 1), (chained, None)])
@pytest.mark.parametrize("threads", [1, 2])
def test_state_is_rewritten_block_by_block(fn: Any, in_place: int | None, threads: int) -> None:
    rng = np.random.default_rng(0)
    state = {name: rng.uniform(0.5, 1, SIZE).astype(F32) for name in "pmv"}
    run, arrays = stateful(fn, {"x": BIG}, threads=threads, **state)
    x = rng.standard_normal(SIZE).astype(F32)
    for _ in range(3):
        run(x)
        state |= {name: np.asarray(a) for name, a in fn(x, *state.values()).items()}
        for name, array in arrays.items():
            np.testing.assert_allclose(array, state[name], rtol=2e-6)
    (plan,) = run._plans.values()
    if in_place is not None:
        assert len(plan._copies) == 3 - in_place
    if fn is adam:
        assert len(plan.steps) == 1
        assert run.memory.activations == 0


def test_a_guard_in_a_group_is_checked_before_state_is_written() -> None:
    def fn(x: Any, p: Any) -> Any:
        g = ops.log(x) * 2
        return {"g": g, "p": p - g}

    run, state = stateful(fn, {"x": BIG}, guard=["g"], p=np.ones(SIZE, F32))
    x = np.ones(SIZE, F32)
    x[-1] = 0
    with pytest.raises(DivergenceError):
        run(x)
    np.testing.assert_array_equal(state["p"], 1)
    x[-1] = 1
    run(x)
    np.testing.assert_array_equal(state["p"], 1)
