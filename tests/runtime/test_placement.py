"""Where arrays lie: what is computed in place, and that nothing is overwritten that somebody needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import tinygraph as tg
from tests.passes.random_graphs import graphs
from tests.sessions import F32, arange, as_dict, session
from tinygraph import ops
from tinygraph.autodiff import vjp_graph
from tinygraph.ir import Array, Graph, TensorType
from tinygraph.ops.base import Op, apply, family, no_flops, no_macs, not_differentiable, not_in_onnx
from tinygraph.runtime import fuse
from tinygraph.runtime.evaluate import evaluate
from tinygraph.runtime.session import Session

# (label, function of x [4, 4] and w [4, 4], how many arrays are computed in place of another one)
CASES: list[tuple[str, Callable[[Any, Any], Any], int]] = [
    ("a chain", lambda x, w: ops.tanh(ops.relu(x @ w)), 2),
    ("the operand is the input", lambda x, w: ops.relu(x), 0),
    ("an operand is a weight", lambda x, w: ops.relu(x * 0 + w), 2),
    ("the operand is a view of the input", lambda x, w: ops.relu(ops.reshape(x, (16,))), 0),
    ("the operand is read later", lambda x, w: _read_later(x @ w), 1),
    ("the operand is an output", lambda x, w: _and_output(x @ w), 0),
    ("a view of the operand is an output", lambda x, w: _and_view(x @ w), 0),
    ("a view of the operand is read later", lambda x, w: _view_later(x @ w), 1),
    ("the operand is a view of something else", lambda x, w: ops.relu(ops.transpose(x @ w)), 0),
    ("twice the same operand", lambda x, w: _doubled(x @ w), 1),
    ("beside a view of the operand", lambda x, w: _beside_view(x @ w), 0),
    ("beside a row of the operand", lambda x, w: _beside_row(x @ w), 0),
    ("the second operand", lambda x, w: x - (x @ w), 1),
    ("either operand", lambda x, w: (x @ w) * (w @ x), 1),
    ("an operand that is broadcast", lambda x, w: x + ops.sum(x @ w, 0, keepdims=True), 0),
    ("the result is of another type", lambda x, w: ops.cast(x @ w, np.int32), 0),
    ("not elementwise", lambda x, w: ops.softmax(x @ w), 0),
    ("a product", lambda x, w: (x @ w) @ w, 0),
]


def _read_later(a: Any) -> Any:
    return ops.exp(a) @ a + a


def _and_output(a: Any) -> Any:
    return {"a": a, "b": ops.relu(a)}


def _and_view(a: Any) -> Any:
    return {"a": ops.transpose(a), "b": ops.relu(a)}


def _view_later(a: Any) -> Any:
    view = ops.transpose(a)
    return ops.exp(a) * view


def _doubled(a: Any) -> Any:
    return a + a


def _beside_view(a: Any) -> Any:
    return a + ops.transpose(a)


def _beside_row(a: Any) -> Any:
    return a + ops.reshape(a, (1, 16))[:, :4]


def in_place(run: Session) -> int:
    """How many steps write where one of their operands was."""
    (plan,) = run._plans.values()
    (arena,) = run._arenas.spare
    frame = arena.frames[plan]
    joined = sum(len(step.joined) for step in plan.steps)
    bound = [(reads, writes[0]) for _, reads, writes, _ in frame.calls if reads is not None and writes is not None]
    return joined + sum(any(np.shares_memory(y, x) for x in reads) for reads, y in bound)


@pytest.mark.parametrize(("fn", "count"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_computed_in_place(fn: Callable[[Any, Any], Any], count: int) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4, 4)).astype(F32)
    graph = tg.trace(lambda x: fn(x, w), tg.Spec((4, 4)))
    run = Session(graph)
    kept = x.copy()
    for _ in range(2):
        for name, want in evaluate(graph, {"x": x}).items():
            np.testing.assert_allclose(as_dict(run(x))[name], want, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(x, kept)
    assert in_place(run) == count


# ---- kernels that do not keep to the rules -----------------------------------------------------


@family
class Leaking(Op):
    """x, or a part of it: the array itself, without saying so."""

    name = "leaking"
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("it is a test")
    to_onnx = not_in_onnx("it is a test")
    part: bool = False

    def infer(self, x: TensorType) -> TensorType:
        return x

    def kernel(self, x: Array) -> Array:
        return x[:] if self.part else x


@pytest.mark.parametrize("part", [False, True])
def test_results_that_are_the_operand_are_not_overwritten(part: bool) -> None:
    def fn(x: Any) -> Any:
        a = ops.exp(x)
        leaked = apply(Leaking(part), a)
        return ops.softmax(ops.softmax(ops.exp(a), 0), 0) * 0 + leaked

    x = arange(3)
    run = session(fn, (3,))
    np.testing.assert_allclose(run(x), np.exp(x), rtol=1e-6)
    leaking = session(lambda x: apply(Leaking(part), x), (3,))
    for array in (x, np.frombuffer(bytearray(x.tobytes()), F32)):  # the memory of the second is no array
        assert not np.shares_memory(leaking(array), array)


# ---- poisoned arenas ---------------------------------------------------------------------------


def poison(run: Session) -> None:
    """Fills all that is kept between calls with NaN."""
    for arena in run._arenas.spare:
        arena.memory.fill(255)


def assert_nothing_is_carried_over(graph: Graph) -> None:
    rng = np.random.default_rng(0)
    graph = graph.bind(**dict.fromkeys(graph.symbols, 2))
    inputs = {v.name: rng.standard_normal(v.type.dims).astype(v.type.dtype) for v in graph.inputs}
    kept = {name: x.copy() for name, x in inputs.items()}
    run = Session(graph)
    first = [as_dict(run(**inputs))]
    want = evaluate(graph, inputs)
    for _ in range(2):
        poison(run)
        first.append(as_dict(run(**inputs)))
    for name in kept:
        np.testing.assert_array_equal(inputs[name], kept[name])
    for result in first:
        for (name, y), (label, _) in zip(result.items(), graph.outputs, strict=True):
            y = y if len(graph.outputs) > 1 else result["output"]
            np.testing.assert_array_equal(y, first[0][name])
            scale = np.abs(want[label]).max(initial=1)
            np.testing.assert_allclose(y, want[label], rtol=1e-3, atol=1e-4 * scale)


ordinary = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@ordinary
@given(graph=graphs())
def test_random_graphs_with_poisoned_arenas(graph: Graph) -> None:
    assert_nothing_is_carried_over(graph)


@pytest.mark.parametrize("block", [1 << 15, 3])
@ordinary
@given(graph=graphs("training"))
def test_random_gradients_with_poisoned_arenas(block: int, graph: Graph) -> None:
    """Once as ever, once in tiny blocks."""
    graph = graph.bind(**dict.fromkeys(graph.symbols, 2))
    wrt = [v.name for v in (*graph.inputs, *graph.data) if v.kind != "const"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuse, "_LEAST", min(block, fuse._LEAST))
        patch.setattr(fuse, "_MOST", block)
        assert_nothing_is_carried_over(vjp_graph(graph, wrt))
