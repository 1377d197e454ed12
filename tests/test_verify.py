"""The checker is checked: every way a graph can be wrong is built by hand, and caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import VerifyError
from tinygraph.ir import Graph, Node, TensorType, Value, Where, frozen
from tinygraph.nn.init import ZEROS, Seeded
from tinygraph.ops.arithmetic import Add
from tinygraph.ops.conv import Conv
from tinygraph.ops.elementwise import Exp, Relu
from tinygraph.ops.norm import BatchNormTrain

T = TensorType((2, 3))


def value(name: str, type: TensorType = T, kind: Any = "node") -> Value:
    return Value(name, type, kind)


def good() -> Graph:
    """Y = relu(x + w); z = exp(y), with outputs y and z."""
    x, w = value("x", kind="input"), value("w", TensorType((3,)), "param")
    s, y, z = value("s"), value("y"), value("z")
    nodes = (
        Node(Add(), (x, w), (s,), Where("net", "net.py:1")),
        Node(Relu(), (s,), (y,), Where("net.act", "net.py:2")),
        Node(Exp(), (y,), (z,), Where("net", "net.py:3")),
    )
    return Graph((x,), nodes, (("y", y), ("z", z)), MappingProxyType({w: frozen(np.zeros(3, np.float32))}))


def with_node(graph: Graph, position: int, **changes: Any) -> Graph:
    nodes = list(graph.nodes)
    nodes[position] = replace(nodes[position], **changes)
    return replace(graph, nodes=tuple(nodes))


def with_data(graph: Graph, data: dict[Value, Any]) -> Graph:
    return replace(graph, data=MappingProxyType({**graph.data, **data}))


def duplicate_input(graph: Graph) -> Graph:
    return replace(graph, inputs=graph.inputs * 2)


def two_inputs_of_one_name(graph: Graph) -> Graph:
    return replace(graph, inputs=(*graph.inputs, value("x", kind="input")))


def input_of_another_kind(graph: Graph) -> Graph:
    return replace(graph, inputs=(*graph.inputs, value("v", kind="const")))


def input_named_as_a_parameter(graph: Graph) -> Graph:
    return replace(graph, inputs=(*graph.inputs, value("w", kind="input")))


def input_with_data(graph: Graph) -> Graph:
    return with_data(graph, {graph.inputs[0]: frozen(np.zeros((2, 3), np.float32))})


def node_value_with_data(graph: Graph) -> Graph:
    return with_data(graph, {value("v"): frozen(np.zeros((2, 3), np.float32))})


def data_of_another_shape(graph: Graph) -> Graph:
    return with_data(graph, {next(iter(graph.data)): frozen(np.zeros(4, np.float32))})


def data_of_another_dtype(graph: Graph) -> Graph:
    return with_data(graph, {next(iter(graph.data)): frozen(np.zeros(3))})


def recipe_of_another_type(graph: Graph) -> Graph:
    return with_data(graph, {next(iter(graph.data)): Seeded(TensorType((4,)), ZEROS)})


def data_that_can_be_written(graph: Graph) -> Graph:
    return with_data(graph, {next(iter(graph.data)): np.zeros(3, np.float32)})


def nodes_out_of_order(graph: Graph) -> Graph:
    return replace(graph, nodes=graph.nodes[::-1])


def cycle(graph: Graph) -> Graph:
    return with_node(graph, 0, inputs=(graph.nodes[1].outputs[0], next(iter(graph.data))))


def reads_its_own_output(graph: Graph) -> Graph:
    return with_node(graph, 2, inputs=graph.nodes[2].outputs)


def undefined_value_is_read(graph: Graph) -> Graph:
    return with_node(graph, 1, inputs=(value("s"),))


def value_made_twice(graph: Graph) -> Graph:
    return with_node(graph, 2, outputs=graph.nodes[1].outputs)


def two_nodes_of_one_name(graph: Graph) -> Graph:
    return with_node(graph, 2, outputs=(value("s"),))


def node_that_makes_an_input(graph: Graph) -> Graph:
    return with_node(graph, 0, outputs=(value("s", kind="input"),))


def wrong_shape_declared(graph: Graph) -> Graph:
    return with_node(graph, 2, outputs=(value("z", TensorType((3, 2))),))


def wrong_dtype_declared(graph: Graph) -> Graph:
    return with_node(graph, 2, outputs=(value("z", TensorType((2, 3), np.float64)),))


def wrong_number_of_outputs(graph: Graph) -> Graph:
    return with_node(graph, 2, outputs=(graph.nodes[2].outputs[0], value("more")))


def wrong_number_of_inputs(graph: Graph) -> Graph:
    return with_node(graph, 1, inputs=graph.nodes[0].inputs)


def inputs_that_do_not_fit(graph: Graph) -> Graph:
    return with_node(graph, 0, op=Conv((1,), ((0, 0),), (1,)), inputs=graph.inputs * 2)


def too_few_outputs_of_an_op_with_several(graph: Graph) -> Graph:
    w = next(iter(graph.data))
    return with_node(graph, 1, op=BatchNormTrain(), inputs=(graph.nodes[0].outputs[0], w, w))


def output_that_nothing_defines(graph: Graph) -> Graph:
    return replace(graph, outputs=(("y", value("y")),))


def two_outputs_of_one_name(graph: Graph) -> Graph:
    return replace(graph, outputs=(graph.outputs[0], ("y", graph.outputs[1][1])))


def no_output(graph: Graph) -> Graph:
    return replace(graph, outputs=())


def unknown_mode(graph: Graph) -> Graph:
    return replace(graph, mode="dreaming")  # type: ignore[arg-type]  # that is the point


BROKEN: list[tuple[Callable[[Graph], Graph], str]] = [
    (duplicate_input, r"%x: f32\[2,3\] is defined twice"),
    (two_inputs_of_one_name, "two values are named 'x'"),
    (input_of_another_kind, r"%v: f32\[2,3\] is of kind const, want input"),
    (input_named_as_a_parameter, "two values are named 'w'"),
    (input_with_data, r"%x: f32\[2,3\] has data, but is of kind input"),
    (node_value_with_data, r"%v: f32\[2,3\] has data, but is of kind node"),
    (data_of_another_shape, r"the data of %w: f32\[3\] is f32\[4\]"),
    (data_of_another_dtype, r"the data of %w: f32\[3\] is f64\[3\]"),
    (recipe_of_another_type, r"the data of %w: f32\[3\] is f32\[4\]"),
    (data_that_can_be_written, r"the data of %w: f32\[3\] is not read-only"),
    (nodes_out_of_order, r"z reads %y: f32\[2,3\] before it is defined"),
    (cycle, r"s reads %y: f32\[2,3\] before it is defined"),
    (reads_its_own_output, r"z reads %z: f32\[2,3\] before it is defined"),
    (undefined_value_is_read, r"y reads %s: f32\[2,3\] before it is defined"),
    (value_made_twice, r"%y: f32\[2,3\] is defined twice"),
    (two_nodes_of_one_name, "two values are named 's'"),
    (node_that_makes_an_input, r"%s: f32\[2,3\] is of kind input, want node"),
    (wrong_shape_declared, r"exp makes f32\[2,3\], but z is declared f32\[3,2\]"),
    (wrong_dtype_declared, r"exp makes f32\[2,3\], but z is declared f64\[2,3\]"),
    (wrong_number_of_outputs, r"exp makes f32\[2,3\], but z is declared f32\[2,3\], f32\[2,3\]"),
    (wrong_number_of_inputs, "relu at net.act net.py:2: takes 1 inputs, got 2"),
    (inputs_that_do_not_fit, r"conv at net net.py:1: .*inputs: f32\[2,3\], f32\[2,3\]"),
    (too_few_outputs_of_an_op_with_several, "batch_norm_train makes .*, but y is declared"),
    (output_that_nothing_defines, r"the output 'y' is %y: f32\[2,3\], which nothing defines"),
    (two_outputs_of_one_name, "two outputs are named 'y'"),
    (no_output, "the graph has no output"),
    (unknown_mode, "unknown mode 'dreaming'"),
]


def test_a_good_graph_comes_back() -> None:
    graph = good()
    assert tg.verify(graph) is graph


@pytest.mark.parametrize(("break_it", "message"), BROKEN, ids=[fn.__name__ for fn, _ in BROKEN])
def test_broken_graphs_are_caught(break_it: Callable[[Graph], Graph], message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        tg.verify(break_it(good()))


def test_the_message_shows_the_program_around_the_culprit() -> None:
    x = value("x", kind="input")
    values = [x, *(value(f"v{i}") for i in range(8))]
    nodes = [Node(Relu(), (values[i],), (values[i + 1],)) for i in range(8)]
    nodes[4] = replace(nodes[4], outputs=(value("v4", TensorType((9,))),))
    with pytest.raises(VerifyError) as caught:
        tg.verify(Graph((x,), tuple(nodes), (("y", values[-1]),)))
    first, *window = str(caught.value).splitlines()
    assert first == "relu makes f32[2,3], but v4 is declared f32[9]"
    assert window == [
        "   %v2: f32[2,3] = relu(%v1)",
        "   %v3: f32[2,3] = relu(%v2)",
        "-> %v4: f32[9] = relu(%v3)",
        "   %v5: f32[2,3] = relu(%v4)",
        "   %v6: f32[2,3] = relu(%v5)",
    ]


def test_recipes_are_not_followed() -> None:
    class Unwilling:
        type = TensorType((3,))

        def array(self) -> Any:
            raise AssertionError("nobody needs the numbers")

    graph = good()
    tg.verify(with_data(graph, {next(iter(graph.data)): Unwilling()}))
