"""Networks as PyTorch's two exporters write them; `tools/goldens_exports.py` made the files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tinygraph as tg
from tests.onnx.files import info, model, node
from tinygraph.errors import UnsupportedOp
from tinygraph.ir import Array, Graph
from tinygraph.onnx import pytorch
from tinygraph.onnx.load import from_proto

FOLDER = Path(__file__).parents[1] / "data" / "torch"
NETWORKS = ("attention", "decoder", "inception", "residual")
EXPORTERS = ("script", "dynamo")
INT64 = onnx.TensorProto.INT64

OPS = {
    "residual": "conv relu conv conv add relu conv relu conv conv add relu {mean} reshape linear",
    "inception": "avg_pool conv conv conv conv relu concat max_pool slice slice concat avg_pool reshape linear",
    "decoder": "conv leaky_relu conv sigmoid mul conv_transpose resize concat pad conv resize resize",
}


def load(name: str, exporter: str, **options: Any) -> Graph:
    return tg.load(FOLDER / f"{name}_{exporter}.onnx", **options)


def example(name: str) -> tuple[Array, list[Array]]:
    """The input and PyTorch's answers."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return file["input"], [file[f"arr_{i}"] for i in range(len(file.files) - 1)]


def answers(made: Any) -> list[Array]:
    return list(made.values()) if isinstance(made, dict) else [made]


@pytest.mark.parametrize("passes", ["none", "inference"])
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_answers_are_pytorchs_for_every_batch(name: str, exporter: str, passes: str) -> None:
    graph = load(name, exporter)
    assert graph.symbols == ("N",)
    x, wanted = example(name)
    session = tg.compile(graph, passes=passes)
    many = np.concatenate([x, x[:1]])
    for answer, y in zip(answers(session(many)), wanted, strict=True):
        assert np.abs(answer - np.concatenate([y, y[:1]])).max() <= 1e-5 * np.abs(y).max()
    for answer, y in zip(answers(session(x[1:])), wanted, strict=True):
        assert np.abs(answer - y[1:]).max() <= 1e-5 * np.abs(y).max()


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("bind", [{}, {"N": 2}])
def test_no_arithmetic_of_shapes_is_left(name: str, exporter: str, bind: Any) -> None:
    graph = load(name, exporter, bind=bind)
    reached = set(graph.inputs)
    for made in graph.nodes:
        assert all(t.dtype == np.float32 for t in made.output_types), made
        assert not reached.isdisjoint(made.inputs) or made.op.name == "broadcast_to", made
        reached.update(made.outputs)
    assert not {"shape_of", "gather", "cast"} & {made.op.name for made in graph.nodes}


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", OPS)
def test_the_graph_is_that_of_the_network(name: str, exporter: str) -> None:
    mean = "adaptive_avg_pool" if exporter == "script" else "mean"
    graph = load(name, exporter)
    assert sorted(n.op.name for n in graph.nodes) == sorted(OPS[name].format(mean=mean).split())


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_nodes_stand_where_the_modules_stood(exporter: str) -> None:
    places = [n.where.module for n in load("residual", exporter).nodes if n.op.name in ("conv", "linear", "add")]
    block = ("conv1", "conv2", "downsample.0")
    wanted = [f"layer1.{i}.{part}" for i in (0, 1) for part in block] + ["layer1.0", "layer1.1", "fc"]
    assert sorted(places) == sorted(wanted)
    assert {n.where.module for n in load("attention", exporter).nodes} >= {"patches", "norm", "qkv", "mlp.0", ""}
    assert all(n.where.source for n in load("decoder", exporter).nodes)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_costs_are_those_of_the_network(exporter: str) -> None:
    totals = tg.analyze(load("residual", exporter, bind={"N": 1})).totals
    blocks = 64 * 9 * 4 * (3 + 4) + 64 * 3 * 4 + 16 * 9 * 6 * (4 + 6) + 16 * 4 * 6
    assert totals.macs == blocks + 6 * 5
    assert totals.params == 9 * 4 * (3 + 4) + 3 * 4 + 3 * 4 + 9 * 6 * (4 + 6) + 4 * 6 + 3 * 6 + 6 * 5 + 5


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/layers/layers.10/layers.10.1/layers/layers.5/Relu", "layers.10.1.layers.5"),
        ("/Flatten", ""),
        ("Flatten", ""),
        ("scope/Conv", ""),
        ("/", ""),
        ("", ""),
    ],
)
def test_modules_in_names(name: str, module: str) -> None:
    assert pytorch.module(onnx.NodeProto(name=name)) == module


@pytest.mark.parametrize(
    ("scopes", "rule", "module"),
    [
        ("['', 'layer1', 'layer1.0', 'layer1.0.bn1', 'batch_norm_2']", "", "layer1.0.bn1"),
        ("['', 'layer1', 'layer1.0', 'layer1.0.bn1', 'bn']", "FuseBatchNormIntoConv, Other", "layer1.0.conv1"),
        ("['', 'add']", "", ""),
        ("['add']", "", ""),
        ("]['", "", ""),
        ("", "", ""),
    ],
)
def test_modules_in_metadata(scopes: str, rule: str, module: str) -> None:
    conv = node("Conv", "x layer1.0.conv1.weight b", "y", "node_Conv_1")
    conv.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    if rule:
        conv.metadata_props.add(key="pkg.onnxscript.rewriter.rule_name", value=rule)
    assert pytorch.module(conv) == module


# ---- what only whole networks have ----


def test_numbers_up_to_an_open_dimension() -> None:
    nodes = [
        node("Shape", "x", "n", start=0, end=1),
        node("Squeeze", "n", "limit"),
        node("Range", "zero limit one", "y"),
    ]
    constants = {"zero": np.int64(0), "one": np.int64(1)}
    graph = from_proto(model(nodes, {"x": ["N", 2]}, [info("y", ["N"], INT64)], constants))
    session = tg.compile(graph)
    for batch in (3, 1, 0):
        assert np.array_equal(session(np.zeros((batch, 2), np.float32)), np.arange(batch))


def test_as_many_of_the_best_as_there_are() -> None:
    nodes = [
        node("NonZero", "x", "found"),
        node("Squeeze", "found zero", "places"),
        node("GatherElements", "x places", "scores"),
        node("Shape", "scores", "count"),
        node("Min", "count most", "k"),
        node("TopK", "scores k", "best order"),
    ]
    constants = {"zero": np.array([0]), "most": np.array([3])}
    outputs = [info("best", None), info("order", None, INT64)]
    session = tg.compile(from_proto(model(nodes, {"x": ["N"]}, outputs, constants)))
    for scores in ([0, 5, 0, 7, 6, 0, 8], [0, 2, 0], [0.0]):
        x = np.array(scores, np.float32)
        made = session(x)
        kept = x[x != 0]
        order = np.argsort(-kept)[:3]
        assert np.array_equal(made["best"], kept[order])
        assert np.array_equal(made["order"], order)


def branch(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
    return onnx.helper.make_graph(list(nodes), name, [], [info("result", None, INT64)])


def test_a_branch_is_taken_while_running() -> None:
    """As torchvision guards its suppression of boxes: nothing, or the places of what is found."""
    nothing = onnx.numpy_helper.from_array(np.zeros(0, np.int64))
    nodes = [
        node("NonZero", "x", "found"),
        node("Squeeze", "found zero", "places"),
        node("Size", "places", "count"),
        node("Less", "count few", "is_empty"),
        node(
            "If",
            "is_empty",
            "y",
            then_branch=branch("few", node("Constant", "", "result", value=nothing)),
            else_branch=branch("many", node("Add", "places one", "result")),
        ),
        node("Slice", "y zero most", "z"),
    ]
    constants = {"zero": np.array([0]), "one": np.int64(1), "few": np.int64(2), "most": np.array([3])}
    session = tg.compile(from_proto(model(nodes, {"x": ["N"]}, [info("z", None, INT64)], constants)))
    for numbers, wanted in (([1, 0, 1, 1, 1], [1, 3, 4]), ([0, 1, 1], [2, 3]), ([0, 1], []), ([], [])):
        assert session(np.array(numbers, np.float32)).tolist() == wanted


def test_branches_that_differ_in_more_than_sizes_are_refused() -> None:
    kinds = {
        "then_branch": branch("one", node("Constant", "", "result", value_int=1)),
        "else_branch": branch("two", node("Constant", "", "result", value_ints=[1, 2])),
    }
    nodes = [node("Cast", "x", "holds", to=onnx.TensorProto.BOOL), node("If", "holds", "y", **kinds)]
    with pytest.raises(UnsupportedOp, match="its condition is computed while the model runs, from 'x'"):
        from_proto(model(nodes, {"x": []}, [info("y", None, INT64)]))


@pytest.mark.parametrize(("start", "stop"), [(0, 2), (1, 9), (-2, 9), (3, 1), (-9, -1)])
def test_a_part_between_places_that_come_out_while_running(start: int, stop: int) -> None:
    nodes = [node("Add", "ends zero", "sum"), node("Split", "sum", "start stop", num_outputs=2)]
    nodes.append(node("Slice", "x start stop one two", "y"))
    constants = {"zero": np.array([0, 0]), "one": np.array([1]), "two": np.array([2])}
    inputs = [info("x", ["N", 5]), info("ends", [2], INT64)]
    session = tg.compile(from_proto(model(nodes, inputs, [info("y", None)], constants)))
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    assert np.array_equal(session(x, np.array([start, stop])), x[:, start:stop:2])


# ---- what tools/torch_exports.py found of torchvision's networks ----

FACTS = json.loads((FOLDER.parent / "torch_exports.json").read_text())
OURS = sorted(key for key, row in FACTS.items() if row["network"] in tg.models.names() and not row["failure"])


@pytest.mark.parametrize("key", OURS)
def test_exported_networks_are_those_of_our_own(key: str) -> None:
    """Torchvision's graph has the convolutions, linear layers and costs of the network of that name here."""
    row = FACTS[key]
    graph = tg.trace(tg.models.create(row["network"]), tg.Spec(row["input"]))
    assert tg.analyze(graph).totals.macs == row["macs"] == row["torch_macs"]
    census = Counter(n.op.name for n in graph.nodes)
    for op in ("conv", "conv_transpose", "linear", "max_pool", "concat"):
        assert census[op] == row["census"].get(op, 0), op


@pytest.mark.parametrize("key", sorted(FACTS))
def test_exported_networks_agreed_with_onnxruntime(key: str) -> None:
    row = FACTS[key]
    if row["failure"]:
        assert row["failure"].startswith("UnsupportedOp")
    else:
        assert row["difference"] < 1e-4
        assert row["optimized"] <= row["nodes"]
