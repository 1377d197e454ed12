"""cse: equal computations merge, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.checks import apply, leaves, ops, turns
from tinygraph.build import Builder
from tinygraph.ir import Graph, TensorType
from tinygraph.ops.arithmetic import Add
from tinygraph.ops.dropout import dropout
from tinygraph.ops.norm import batch_norm_train
from tinygraph.ops.pad import Pad
from tinygraph.passes.cse import cse
from tinygraph.text import parse
from tinygraph.trace import Spec, trace


def test_a_tree_of_equal_nodes_merges_at_once_and_remembers_both() -> None:
    before = """
    graph inference
    input %x: f32[2,3]
    %a: f32[2,3] = relu(%x) @ left net.py:1
    %b: f32[2,3] = relu(%x) @ right net.py:2
    %c: f32[2,3] = exp(%a)
    %d: f32[2,3] = exp(%b)
    %y: f32[2,3] = add(%c, %d)
    output "y" = %y
    output "d" = %d
    """
    after = """
    graph inference
    input %x: f32[2,3]
    %a: f32[2,3] = relu(%x) @ left net.py:1 from a, b
    %c: f32[2,3] = exp(%a) from c, d
    %y: f32[2,3] = add(%c, %c)
    output "y" = %y
    output "d" = %c
    """
    turns(cse, before, after)


def test_equal_constants_merge_and_so_do_their_readers() -> None:
    before = """
    graph inference
    input %x: f32[2]
    const %one: f32[2] = {1, -0.0}
    const %uno: f32[2] = {1, -0.0}
    %a: f32[2] = add(%x, %one)
    %b: f32[2] = add(%x, %uno)
    %y: f32[2] = mul(%a, %b)
    output "y" = %y
    output "uno" = %uno
    """
    after = """
    graph inference
    input %x: f32[2]
    const %one: f32[2] = {1, -0.0}
    %a: f32[2] = add(%x, %one) from a, b
    %y: f32[2] = mul(%a, %a)
    output "y" = %y
    output "uno" = %one
    """
    turns(cse, before, after)


def constants(*arrays: np.ndarray) -> Graph:
    """A graph that adds each constant to an input of its type."""
    build = Builder()
    outputs = []
    for i, array in enumerate(arrays):
        x = build.input(f"x{i}", TensorType(array.shape, array.dtype))
        add = Add()
        outputs.append((f"y{i}", *build.emit(add, [x, build.const(array)])))
    return build.finish(outputs)


QUIET, OTHER = (np.array([bits], np.uint32).view(np.float32) for bits in (0x7FC00000, 0x7FC00001))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.float32([0.0]), np.float32([-0.0])),
        (QUIET, OTHER),
        (np.float32([1]), np.float64([1])),
        (np.int32([1]), np.float32([1.4e-45])),
        (np.float32([1]), np.float32([[1]])),
    ],
)
def test_constants_that_differ_in_bits_dtype_or_shape_stay(a: np.ndarray, b: np.ndarray) -> None:
    leaves(cse, constants(a, b))


def test_constants_with_the_same_nan_merge() -> None:
    graph = constants(QUIET, QUIET.copy())
    assert len(graph.data) == 2
    assert len(apply(cse, graph).data) == 1


def pads(*values: float | int | bool) -> Graph:
    build = Builder()
    x = build.input("x", TensorType((2,)))
    return build.finish((f"y{i}", *build.emit(Pad(((1, 1),), value=v), [x])) for i, v in enumerate(values))


def test_attributes_are_told_apart_by_how_they_are_written() -> None:
    for a, b in [(0.0, -0.0), (1.0, 1), (1, True), (0.0, 1.0)]:
        leaves(cse, pads(a, b))
    assert ops(apply(cse, pads(1.0, 1.0))) == ["pad"]
    assert ops(apply(cse, pads(float("nan"), float("nan")))) == ["pad"]


def test_what_must_not_merge() -> None:
    leaves(
        cse,
        """
    graph inference
    input %x: f32[2]
    input %z: f32[2]
    param %v: f32[2] = {1, 2}
    param %w: f32[2] = {1, 2}
    frozen %f: f32[2] = {1, 2}
    %a: f32[2] = add(%x, %v)
    %b: f32[2] = add(%x, %w)
    %c: f32[2] = add(%x, %f)
    %d: f32[2] = sub(%x, %z)
    %e: f32[2] = sub(%z, %x)
    %g: f32[2] = relu(%z)
    %h: f32[2] = relu(%x)
    output "a" = %a
    output "b" = %b
    output "c" = %c
    output "d" = %d
    output "e" = %e
    output "g" = %g
    output "h" = %h
    """,
    )


def test_random_ops_never_merge() -> None:
    graph = trace(
        lambda x, key: dropout(x, key, 0.5, 0) + dropout(x, key, 0.5, 0),
        Spec((4,)),
        Spec((2,), np.uint64),
        mode="training",
    )
    leaves(cse, graph)


def test_several_outputs_merge_together() -> None:
    def twice(x, gamma, beta):  # type: ignore[no-untyped-def]
        (a, m, _), (b, _, v) = (batch_norm_train(x, gamma, beta) for _ in range(2))
        return {"a": a, "b": b, "mean": m, "var": v}

    graph = trace(twice, Spec((4, 3)), Spec((3,)), Spec((3,)), mode="training")
    after = apply(cse, graph)
    assert ops(after) == ["batch_norm_train"]
    assert [v.name for _, v in after.outputs] == ["batch_norm_train", "batch_norm_train", *after_names(after)]


def after_names(graph: Graph) -> list[str]:
    (node,) = graph.nodes
    return [v.name for v in node.outputs[1:]]


def test_an_input_that_is_an_output_stays() -> None:
    leaves(cse, parse('graph inference\ninput %x: f32[2]\noutput "y" = %x\noutput "z" = %x'))
