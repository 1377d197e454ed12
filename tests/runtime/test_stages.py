"""Sizes that come out while a graph runs: the graph is cut where they do, and answers as one that is walked."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import tinygraph as tg
from tests.onnx.files import model, node
from tinygraph.errors import UsageError
from tinygraph.ir import Graph
from tinygraph.onnx.load import from_proto
from tinygraph.runtime.evaluate import evaluate
from tinygraph.runtime.stages import cut, found_sizes

INDEX = onnx.TensorProto.INT64


def picked() -> Graph:
    """The rows of relu(x) whose first number is positive, doubled; and how many there are, twice over."""
    nodes = [
        node("Relu", "x", "r"),
        node("Slice", "r from to axis", "column"),
        node("Squeeze", "column axis", "first"),
        node("Greater", "first zero", "positive"),
        node("NonZero", "positive", "places"),
        node("Squeeze", "places zeroth", "rows"),
        node("Gather", "r rows", "taken"),
        node("Mul", "taken two", "y"),
        node("Shape", "taken", "shape"),
        node("Add", "shape shape", "twice"),
        node("Mul", "y keep", "kept"),
    ]
    weights = {
        "from": np.array([0]),
        "to": np.array([1]),
        "axis": np.array([1]),
        "zeroth": np.array([0]),
        "zero": np.float32(0),
        "two": np.float32(2),
        "keep": np.float32([1, 0, 1]),
    }
    outputs = [onnx.helper.make_tensor_value_info(n, t, None) for n, t in (("y", 1), ("twice", INDEX), ("kept", 1))]
    infos = [onnx.helper.make_tensor_value_info("x", 1, ["N", 3])]
    return from_proto(model(nodes, infos, outputs, weights))


@pytest.mark.parametrize("rows", [1, 5, 40])
@pytest.mark.parametrize("passes", ["none", "inference"])
def test_a_session_answers_as_the_walk_does(rows: int, passes: str) -> None:
    graph = picked()
    x = np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32)
    wanted = evaluate(graph, {"x": x})
    kept = np.maximum(x, 0)[x[:, 0] > 0] * 2
    np.testing.assert_array_equal(wanted["y"], kept)
    run = tg.compile(graph, passes=passes)
    for _ in range(2):
        found = run(x)
        for name, want in wanted.items():
            np.testing.assert_array_equal(found[name], want)
            assert found[name].flags.writeable


def test_nothing_may_be_found() -> None:
    answer = tg.compile(picked())(-np.ones((4, 3), np.float32))
    assert answer["y"].shape == (0, 3)
    np.testing.assert_array_equal(answer["twice"], [0, 6])


def test_a_graph_is_cut_behind_each_size_that_is_found() -> None:
    graph = picked()
    assert len(found_sizes(graph)) == 1
    stages = cut(graph)
    assert [[n.op.name for n in stage.finders] for stage in stages] == [["nonzero"], []]
    assert sum(len(stage.graph.nodes) + len(stage.finders) for stage in stages) == len(graph.nodes)
    for stage in stages:
        tg.verify(stage.graph)


def test_what_depends_on_them_is_not_known_before() -> None:
    run = tg.compile(picked())
    with pytest.raises(UsageError, match="found only when the graph runs"):
        _ = run.memory
    report = tg.analyze(picked())
    assert not report.complete
    unknown = {row.op for row in report.rows if not row.complete}
    assert {"nonzero", "gather"} <= unknown
    assert "relu" not in unknown


def test_the_budget_holds_for_sizes_that_are_found() -> None:
    run = tg.compile(picked(), budget=tg.Budget(bytes=10_000))
    x: Any = np.ones((100, 3), np.float32)
    run(x)
    with pytest.raises(tg.BudgetError):
        run(np.ones((5000, 3), np.float32))


def test_parts_of_open_size_are_joined() -> None:
    nodes = [node("Concat", "a b a", "joined", axis=0), node("Relu", "joined", "y")]
    graph = from_proto(model(nodes, {"a": ["N", 2], "b": ["M", 2]}, {"y": None}))
    a, b = -np.ones((3, 2), np.float32), np.ones((1, 2), np.float32)
    wanted = np.maximum(np.concatenate([a, b, a]), 0)
    np.testing.assert_array_equal(evaluate(graph, {"a": a, "b": b})["y"], wanted)
    np.testing.assert_array_equal(tg.compile(graph)(a, b), wanted)
    assert str(tg.parse(str(graph))) == str(graph)


@pytest.mark.parametrize("passes", ["none", "inference"])
def test_a_node_that_is_needed_only_for_the_size_it_finds_stays(passes: str) -> None:
    nodes = [
        node("NonZero", "x", "places"),
        node("Shape", "places", "count", start=1),
        node("Expand", "one count", "y"),
    ]
    graph = from_proto(model(nodes, {"x": [4]}, {"y": None}, {"one": np.float32([1])}))
    run = tg.compile(graph, passes=passes)
    np.testing.assert_array_equal(run(np.float32([0, 2, 0, 3])), [1, 1])
    np.testing.assert_array_equal(run(np.float32([0, 0, 0, 3])), [1])
