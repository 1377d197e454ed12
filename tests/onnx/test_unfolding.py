"""Files in which little stands for much: functions, branches, loops, sequences, repeated constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tinygraph as tg
from tests.onnx.files import info, model, node
from tests.onnx.test_budgets import frugal
from tinygraph.onnx.load import load_partly

OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
SMALL = tg.Budget(bytes=16 * 2**20, operations=10**10)


def call(name: str, x: str, y: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(name, [x], [y], domain="own", **attributes)


def function(name: str, nodes: list[onnx.NodeProto], **more: Any) -> onnx.FunctionProto:
    return helper.make_function("own", name, ["x"], ["y"], nodes, OPSETS, **more)


def calling(*functions: onnx.FunctionProto) -> onnx.ModelProto:
    """A model that calls the first function."""
    made = model([call(functions[0].name, "x", "y")], {"x": [2]}, {"y": None}, domains={"own": 1})
    made.functions.extend(functions)
    return made


def refused(proto: onnx.ModelProto, error: type[Exception], reason: str, budget: tg.Budget = SMALL) -> None:
    content = proto.SerializeToString()
    with frugal(), pytest.raises(error, match=reason) as raised:
        tg.load(content, budget=budget)
    assert len(str(raised.value)) < 400


def test_functions_that_double_the_nodes_again_and_again_are_counted_before() -> None:
    doubling = [function(f"F{i}", [call(f"F{i + 1}", "x", "m"), call(f"F{i + 1}", "m", "y")]) for i in range(1000)]
    proto = calling(*doubling, function("F1000", [node("Relu", "x", "y")]))
    refused(proto, tg.BudgetError, "functions, branches and loops takes", tg.Budget())


@pytest.mark.parametrize("length", [1, 2, 3])
def test_functions_that_call_themselves_are_refused(length: int) -> None:
    ring = [function(f"F{i}", [call(f"F{(i + 1) % length}", "x", "y")]) for i in range(length)]
    refused(calling(*ring), tg.ModelFormatError, "calls itself")


def test_one_function_may_be_called_on_several_ways() -> None:
    last = function("C", [node("Relu", "x", "y")])
    first = function("A", [call("B", "x", "m"), call("C", "m", "n"), call("B", "n", "y")])
    graph = tg.load(calling(first, function("B", [call("C", "x", "y")]), last).SerializeToString())
    assert [n.op.name for n in graph.nodes] == ["relu"] * 3


def test_one_attribute_that_many_nodes_refer_to_is_not_copied_for_each_at_once() -> None:
    large = onnx.numpy_helper.from_array(np.zeros(2**18, np.float32))
    refers = []
    for i in range(200):
        constant = node("Constant", "", f"c{i}")
        constant.attribute.add(name="value", ref_attr_name="given", type=onnx.AttributeProto.TENSOR)
        refers.append(constant)
    proto = calling(function("F", [*refers, node("Add", "x c0", "y")], attributes=["given"]))
    proto.graph.node[0].attribute.append(helper.make_attribute("given", large))
    refused(proto, tg.BudgetError, "all weights and constants take")


def test_long_names_are_not_repeated_by_every_call() -> None:
    long = "n" * 200_000
    nodes = [helper.make_node("Relu", [f"v{i}" if i else "x"], [f"v{i + 1}"], name=f"{long}{i}") for i in range(100)]
    nodes.append(node("Identity", "v100", "y"))
    proto = calling(function("F", nodes))
    proto.graph.node[0].name = long
    content = proto.SerializeToString()
    with frugal():
        assert len(tg.load(content).nodes) == 100


def within(depth: int) -> onnx.GraphProto:
    """Branches within each other."""
    inner = [node("Relu", "x", "b")] if not depth else [branch(within(depth - 1), "b")]
    return helper.make_graph(inner, "g", [], [info("b", None)])


def branch(graph: onnx.GraphProto, y: str) -> onnx.NodeProto:
    return node("If", "cond", y, then_branch=graph, else_branch=graph)


@pytest.mark.parametrize("depth", [1, 5])
def test_branches_within_each_other_are_read(depth: int) -> None:
    proto = model([branch(within(depth), "y")], {"x": [2]}, {"y": None}, {"cond": np.array(True)})
    assert [n.op.name for n in tg.load(proto.SerializeToString()).nodes] == ["relu"]


def test_calls_and_branches_too_deep_within_each_other_are_refused() -> None:
    chain = [function(f"F{i}", [call(f"F{i + 1}", "x", "y")]) for i in range(40)]
    refused(calling(*chain, function("F40", [node("Relu", "x", "y")])), tg.ModelFormatError, "more than 32")


def loop(trips: int, nodes: list[onnx.NodeProto], weights: list[TensorProto] | None = None) -> onnx.ModelProto:
    ends = [info("on", [], 9), info("next", None)]
    starts = [info("i", [], 7), info("go", [], 9), info("state", None)]
    body = helper.make_graph(nodes, "body", starts, ends, weights or [])
    looped = node("Loop", "trips - x", "y", body=body)
    return model([looped], {"x": [2]}, {"y": None}, {"trips": np.array(trips, np.int64)})


STEP = [node("Identity", "go", "on"), node("Relu", "state", "next")]


def test_endless_loops_are_refused_before_they_begin() -> None:
    refused(loop(2**62, STEP), tg.BudgetError, "branches and loops", tg.Budget())


def test_a_loop_of_nothing_counts_too() -> None:
    idle = loop(2**62, [])
    idle.graph.node[0].attribute[0].g.output[0].name = "go"
    idle.graph.node[0].attribute[0].g.output[1].name = "state"
    refused(idle, tg.BudgetError, "branches and loops", tg.Budget())
    idle.graph.node[0].input[1] = "yes"
    idle.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
    refused(idle, tg.BudgetError, "branches and loops")


def test_weights_in_the_body_of_a_loop_are_counted_each_time() -> None:
    large = onnx.numpy_helper.from_array(np.zeros(2**18, np.float32), "w")
    refused(loop(1000, STEP, [large]), tg.BudgetError, "all weights and constants take")


def test_a_scan_of_more_inputs_than_there_are_is_refused() -> None:
    body = helper.make_graph([node("Relu", "a", "b")], "body", [info("a", [2])], [info("b", [2])])
    proto = model([node("Scan", "x", "y", body=body, num_scan_inputs=2**40)], {"x": [3, 2]}, {"y": None})
    refused(proto, tg.ModelFormatError, "scans 1099511627776 of its 1 inputs")


def test_a_split_into_trillions_is_refused() -> None:
    nodes = [node("SplitToSequence", "x", "s", axis=0), node("SequenceLength", "s", "y")]
    proto = model(nodes, {"x": [2**40, 0]}, [info("y", None, 7)])
    refused(proto, tg.BudgetError, "branches and loops")


@pytest.mark.parametrize("place", ["constant", "branch", "initializer of a branch"])
def test_numbers_in_other_files_are_read_from_nowhere_but_the_folder(place: str, tmp_path: Any) -> None:
    outside = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="../secret")
    (tmp_path / "secret").write_bytes(bytes(8))
    (tmp_path / "in").mkdir()
    constant = node("Constant", "", "b", value=outside)
    if place == "constant":
        nodes = [constant, node("Add", "x b", "y")]
    else:
        inner = [constant] if place == "branch" else [node("Add", "x w", "b")]
        weights = [] if place == "branch" else [outside]
        nodes = [branch(helper.make_graph(inner, "g", [], [info("b", None)], weights), "y")]
    proto = model(nodes, {"x": [2]}, {"y": None}, {"cond": np.array(True)})
    path = tmp_path / "in" / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(tg.ModelFormatError, match=r"other file|folder of the model"):
        tg.load(path)


def test_inference_of_onnx_that_ends_its_process_leaves_this_one() -> None:
    trees = helper.make_node("TreeEnsemble", [""], ["y"], domain="ai.onnx.ml")
    proto = model([node("Relu", "x", "z"), trees], {"x": [2]}, {"y": None, "z": None}, domains={"ai.onnx.ml": 5})
    graph, unread = load_partly(proto.SerializeToString())
    assert [n.op.name for n in graph.nodes] == ["relu"]
    assert [part.operator for part in unread] == ["TreeEnsemble"]


@pytest.mark.parametrize("version", range(3, onnx.IR_VERSION + 1))
def test_every_version_of_the_format_is_read(version: int) -> None:
    proto = model([node("Relu", "x", "y")], {"x": [2]}, {"y": [2]}, opset=7, ir_version=version)
    assert len(tg.load(proto.SerializeToString()).nodes) == 1
