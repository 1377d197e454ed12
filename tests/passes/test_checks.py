"""What the tests of passes ask is asked of wrong passes: each must be caught."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.passes.checks import apply, leaves, turns
from tinygraph.build import Builder
from tinygraph.errors import VerifyError
from tinygraph.ir import Graph, TensorType
from tinygraph.ops.arithmetic import Mul
from tinygraph.ops.elementwise import Exp, Relu
from tinygraph.passes.dead_code import dead_code
from tinygraph.rewrite import rewrite
from tinygraph.text import parse

TEXT = """
graph inference
input %x: f32[2]
param %w: f32[2] = {1, 2}
%y: f32[2] = mul(%x, %w)
%z: f32[2] = relu(%y)
output "z" = %z
"""


def test_another_answer_is_caught() -> None:
    def wrong(graph: Graph) -> Graph:
        return rewrite(graph, lambda node, rw: rw.emit(Exp(), *node.inputs) if isinstance(node.op, Relu) else None)

    with pytest.raises(VerifyError, match="wrong changed the output 'z'"):
        apply(wrong, parse(TEXT))


def test_a_broken_graph_is_caught() -> None:
    with pytest.raises(VerifyError, match="before it is defined"):
        apply(lambda graph: replace(graph, nodes=graph.nodes[::-1]), parse(TEXT))


def test_work_that_is_left_is_caught() -> None:
    def one_at_a_time(graph: Graph) -> Graph:
        for node in graph.nodes:
            if isinstance(node.op, Relu):
                return rewrite(graph, lambda n, rw, first=node: n.inputs[0] if n is first else None)
        return graph

    twice = TEXT.replace("= relu(%y)", "= relu(%a)").replace("%z:", "%a: f32[2] = relu(%y)\n%z:", 1)
    positive = {"x": np.ones(2, np.float32)}
    with pytest.raises(AssertionError, match="second run"):
        apply(one_at_a_time, parse(twice), positive)


def test_a_copy_of_what_was_there_is_caught() -> None:
    with pytest.raises(AssertionError, match="second run"):
        apply(replace, parse(TEXT))
    with pytest.raises(AssertionError):
        leaves(replace, parse(TEXT))


def test_a_changed_input_is_caught() -> None:
    weight = np.array([1.0, 2.0], np.float32)
    build = Builder()
    x = build.input("x", TensorType((2,)))
    (y,) = build.emit(Mul(), [x, build.declare("param", "w", weight)])
    graph = build.finish([("y", y)])

    def scales_in_place(graph: Graph) -> Graph:
        (value,) = graph.data
        doubled = graph.array(value) * 2
        doubled.flags.writeable = False
        object.__setattr__(graph, "data", {value: doubled})
        return graph

    with pytest.raises(AssertionError, match="changed its input"):
        apply(scales_in_place, graph)


def test_another_dump_than_the_wanted_one_is_caught() -> None:
    with pytest.raises(AssertionError):
        turns(dead_code, TEXT, TEXT.replace("{1, 2}", "{1, 3}"))
