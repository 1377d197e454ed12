"""fold_constants: what is the same in every run is computed once, within a budget."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.passes.checks import apply, leaves, ops, turns
from tinygraph.build import Builder
from tinygraph.ir import Graph, TensorType
from tinygraph.ops.arithmetic import Add
from tinygraph.ops.elementwise import Relu
from tinygraph.ops.matmul import Linear
from tinygraph.ops.shape import BroadcastTo, Transpose
from tinygraph.passes.fold_constants import fold_constants
from tinygraph.runtime.evaluate import evaluate
from tinygraph.text import parse

CONSTANTS = """
graph inference
input %x: f32[2]
const %a: f32[] = {2}
const %b: f32[2] = {1, 3}
%c: f32[2] = mul(%a, %b)
%d: f32[2] = neg(%c)
%y: f32[2] = add(%x, %d)
output "y" = %y
output "d" = %d
"""


def test_a_chain_of_constants_folds_in_one_sweep() -> None:
    after = """
    graph inference
    input %x: f32[2]
    const %d.folded: f32[2] = {-2, -6}
    %y: f32[2] = add(%x, %d.folded)
    output "y" = %y
    output "d" = %d.folded
    """
    turns(fold_constants, CONSTANTS, after)
    turns(fold_constants, CONSTANTS.replace("inference", "training"), after.replace("inference", "training"))


PARAMETERS = """
graph inference
input %x: f32[1,2]
param %w: f32[2,2] = {1, 2, 3, 4}
buffer %s: f32[2,2] = {2, 2, 2, 2}
%ws: f32[2,2] = mul(%w, %s)
%t: f32[2,2] = transpose(%ws, axes=(1, 0))
%y: f32[1,2] = linear(%x, %t)
output "y" = %y
"""


def test_in_inference_parameters_fold_to_frozen_ones() -> None:
    after = """
    graph inference
    input %x: f32[1,2]
    frozen %t.folded: f32[2,2] = {2, 6, 4, 8}
    %y: f32[1,2] = linear(%x, %t.folded)
    output "y" = %y
    """
    turns(fold_constants, PARAMETERS, after)


@pytest.mark.parametrize("kind", ["param", "frozen", "buffer"])
def test_in_training_nothing_but_constants_folds(kind: str) -> None:
    leaves(fold_constants, PARAMETERS.replace("inference", "training").replace("buffer", kind))


def test_what_depends_on_an_input_stays() -> None:
    leaves(fold_constants, 'graph inference\ninput %x: f32[2]\n%y: f32[2] = sub(%x, %x)\noutput "y" = %y')


def test_random_ops_stay() -> None:
    leaves(
        fold_constants,
        """
    graph inference
    const %x: f32[4] = {1, 2, 3, 4}
    const %key: u64[2] = {1, 2}
    %y: f32[4] = dropout(%x, %key, p=0.5, stream=0)
    output "y" = %y
    """,
    )


def grown(*sizes: int, kind: str = "const") -> Graph:
    """A graph that broadcasts one number (a fresh one each time) to arrays of so many bytes."""
    build = Builder()
    x = build.input("x", TensorType(()))
    outputs = []
    for size in sizes:
        one = build.declare(kind, "one", np.ones((), np.float32))  # type: ignore[arg-type]
        (wide,) = build.emit(BroadcastTo((size // 4,)), [one])
        outputs += build.emit(Add(), [wide, x])
    return build.finish((f"y{i}", v) for i, v in enumerate(outputs))


def test_the_budget_is_cumulative_and_known_before_computing() -> None:
    graph = grown(400, 400, 400)
    assert ops(fold_constants(graph, budget=2000)).count("broadcast_to") == 0
    some = fold_constants(graph, budget=900)
    assert ops(some).count("broadcast_to") == 1
    assert fold_constants(some, budget=900) is some, "the budget must not be spent again in the next sweep"
    assert ops(fold_constants(graph, budget=0)).count("broadcast_to") == 3


def test_petabytes_are_declined_without_allocating() -> None:
    leaves(fold_constants, grown(2**50))
    leaves(fold_constants, grown(2**50, kind="param"))


def multiplied(*sizes: int) -> Graph:
    """A graph of products of constant matrices of so many rows, each of which frees its inputs."""
    build = Builder()
    x = build.input("x", TensorType(()))
    outputs = []
    for size in sizes:
        a, b = (build.const(np.ones((size, size), np.float32)) for _ in "ab")
        outputs += build.emit(Add(), [*build.emit(Linear(), [a, b]), x])
    return build.finish((f"y{i}", v) for i, v in enumerate(outputs))


def test_work_that_takes_too_long_is_left_for_the_run_but_not_the_arithmetic_of_shapes() -> None:
    graph = multiplied(2, 40, 40)
    assert "linear" not in ops(fold_constants(graph))
    some = fold_constants(graph, operations=200_000)
    assert ops(some).count("linear") == 2, "all together are too many, but the small one is quick"
    assert "linear" in ops(fold_constants(some, operations=100_000)), "nor in the next sweep"
    assert ops(fold_constants(graph, operations=10)).count("linear") == 3


def test_folding_that_frees_its_input_costs_nothing() -> None:
    build = Builder()
    x = build.input("x", TensorType((1, 100)))
    (flipped,) = build.emit(Transpose((1, 0)), [build.declare("param", "w", np.ones((50, 100), np.float32).T)])
    graph = build.finish([("y", *build.emit(Linear(), [x, flipped]))])
    assert ops(fold_constants(graph, budget=0)) == ["linear"]


def test_a_weight_that_others_read_may_not_be_doubled_beyond_the_budget() -> None:
    build = Builder()
    x = build.input("x", TensorType((1, 100)))
    w = build.declare("param", "w", np.ones((100, 100), np.float32))
    (flipped,) = build.emit(Transpose((1, 0)), [w])
    (hidden,) = build.emit(Linear(), [x, w])
    (y,) = build.emit(Linear(), [hidden, flipped])
    graph = build.finish([("y", y)])
    assert fold_constants(graph, budget=30_000) is graph
    assert ops(fold_constants(graph, budget=50_000)) == ["linear", "linear"]


def test_small_results_fold_whatever_the_budget() -> None:
    assert ops(fold_constants(grown(32), budget=0)) == ["add"]


def test_division_by_zero_is_kept_as_a_run_would_have_it() -> None:
    graph = parse("""
    graph inference
    input %x: f32[3]
    const %zero: f32[] = {0}
    const %n: f32[3] = {1, -1, 0}
    %q: f32[3] = div(%n, %zero)
    %y: f32[3] = add(%x, %q)
    output "y" = %y
    """)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after = apply(fold_constants, graph)
    assert ops(after) == ["add"]
    np.testing.assert_array_equal(evaluate(after, {"x": np.zeros(3, np.float32)})["y"], [np.inf, -np.inf, np.nan])


def test_a_kernel_that_raises_leaves_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def kernel(self: object, x: object) -> object:
        raise MemoryError

    graph = parse('graph inference\nconst %c: f32[2] = {1, 2}\n%y: f32[2] = relu(%c)\noutput "y" = %y')
    monkeypatch.setattr(Relu, "kernel", kernel)
    leaves(fold_constants, graph)


def test_numbers_that_are_only_a_hash_leave_the_node() -> None:
    leaves(
        fold_constants,
        """
    graph inference
    const %c: f32[99] = #0123456789abcdef
    %y: f32[99] = relu(%c)
    output "y" = %y
    """,
    )


def test_open_dimensions_leave_the_node() -> None:
    leaves(
        fold_constants,
        """
    graph inference
    input %x: f32[N]
    const %c: f32[] = {1}
    %b: f32[N] = broadcast_to(%c, shape=(N,))
    %y: f32[N] = add(%x, %b)
    output "y" = %y
    """,
    )


def test_several_outputs_fold_together() -> None:
    graph = parse("""
    graph inference
    const %x: f32[2,1] = {1, 3}
    const %gamma: f32[1] = {1}
    const %beta: f32[1] = {0}
    %y: f32[2,1], %mean: f32[1], %var: f32[1] = batch_norm_train(%x, %gamma, %beta, eps=0.0)
    output "y" = %y
    output "var" = %var
    """)
    after = apply(fold_constants, graph)
    assert ops(after) == []
    assert [v.name for _, v in after.outputs] == ["y.folded", "var.folded"]
