"""Whole networks: saved, checked, run by the standard's evaluator, and read back as the same graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.onnx.files import check_loaded, check_saved, example, model, node, same
from tinygraph import models, nn, ops
from tinygraph.ir import Graph
from tinygraph.onnx.load import from_proto
from tinygraph.onnx.save import to_proto
from tinygraph.runtime.evaluate import evaluate
from tinygraph.text import dump


def network(name: str, *shape: Any) -> Graph:
    return tg.trace(models.create(name), tg.Spec(shape))


def read_parts(graph: Graph) -> list[str]:
    """The dump without the numbers, and without the data that no node reads."""
    read = {v.name for node in graph.nodes for v in node.inputs}
    lines = []
    for line in dump(graph).splitlines():
        kind, _, rest = line.partition(" %")
        if kind in ("param", "frozen", "buffer", "const"):
            lines += [line.partition(" = ")[0]] if rest.partition(":")[0] in read else []
        else:
            lines.append(line)
    return lines


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("lenet5", ("N", 1, 32, 32)),
        ("lenet5_1998", (1, 1, 32, 32)),
        ("cnn_39x31", (2, 1, 39, 31)),
        ("digits_cnn", ("N", 1, 8, 8)),
        ("resnet20_cifar", ("N", 3, 32, 32)),
        pytest.param("resnet18", (1, 3, 64, 64), marks=pytest.mark.slow),
    ],
)
def test_a_network_comes_back_as_it_was(name: str, shape: Any) -> None:
    graph = network(name, *shape)
    _, loaded = check_saved(graph)
    assert read_parts(loaded) == read_parts(graph)
    assert dump(from_proto(to_proto(loaded))) == dump(loaded)


def test_the_convolutions_of_vgg_come_back_as_they_were() -> None:
    graph = tg.trace(models.create("vgg11").features, tg.Spec((1, 3, 32, 32)))
    _, loaded = check_saved(graph)
    assert read_parts(loaded) == read_parts(graph)


class Small(nn.Module):
    """A piece of every kind: VGG's blocks, strides, groups, pools, shortcuts, several heads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.shared = nn.Conv2d(8, 8, 1)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        y = self.stem(x)
        y = ops.relu(self.shared(self.depthwise(y)) + y)
        y = self.shared(ops.max_pool(y, 2, ceil_mode=True))
        pooled = ops.flatten(ops.global_avg_pool(y))
        return {
            "scores": ops.softmax(self.head(self.drop(pooled))),
            "mask": ops.sigmoid(self.up(y)),
            "features": pooled,
        }


@pytest.mark.parametrize("batch", [2, "N"])
def test_a_network_of_many_pieces_comes_back_as_it_was(batch: Any) -> None:
    graph = tg.trace(Small(), tg.Spec((batch, 3, 15, 13), name="image"))
    proto, loaded = check_saved(graph)
    assert read_parts(loaded) == read_parts(graph)
    assert [o.name for o in proto.graph.output] == ["scores", "mask", "features"]


def test_an_optimized_network_answers_alike_after_a_round_trip() -> None:
    graph = tg.trace(Small(), tg.Spec((2, 3, 15, 13)))
    _, loaded = check_saved(tg.optimize(graph))
    same(evaluate(graph, example(graph)), evaluate(loaded, example(loaded)))


def test_other_numbers_make_another_file_and_equal_ones_the_same() -> None:
    graphs = [tg.trace(models.create("lenet5", seed=seed), tg.Spec((1, 1, 32, 32))) for seed in (0, 0, 1)]
    first, again, other = (to_proto(graph).SerializeToString() for graph in graphs)
    assert first == again != other


def test_half_precision_weights_come_back() -> None:
    w = np.array([[1, 2], [3, 4]], np.float16)
    check_saved(tg.trace(lambda x: ops.matmul(x, w), tg.Spec((3, 2), np.float16)))


# ---- files of others, optimized ------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_and_batch_normalization_become_one_linear_layer(transposed: int) -> None:
    rng = np.random.default_rng(0)
    weights = {name: rng.uniform(0.5, 2, 4).astype(np.float32) for name in ("bias", "gamma", "beta", "mean", "var")}
    weights["w"] = rng.standard_normal((4, 3) if transposed else (3, 4)).astype(np.float32)
    nodes = [
        node("Gemm", "x w bias", "h", "fc", transB=transposed),
        node("BatchNormalization", "h gamma beta mean var", "y", "bn", epsilon=0.25),
    ]
    graph = check_loaded(model(nodes, {"x": ["N", 3]}, {"y": ["N", 4]}, weights))
    after = tg.optimize(graph, check=True)
    assert [n.op.name for n in after.nodes] == ["linear"]


POOLS: list[tuple[str, dict[str, Any]]] = [
    ("MaxPool", {}),
    ("MaxPool", {"pads": [1, 1, 1, 1]}),
    ("AveragePool", {}),
    ("AveragePool", {"pads": [1, 1, 1, 1]}),
    ("AveragePool", {"pads": [1, 1, 1, 1], "count_include_pad": 1}),
]


@pytest.mark.parametrize(("pool", "attributes"), POOLS)
def test_zeros_in_front_of_a_pool_count_even_if_all_else_is_negative(pool: str, attributes: dict[str, Any]) -> None:
    nodes = [
        node("Pad", "x pads", "p"),
        node(pool, "p", "y", kernel_shape=[3, 3], strides=[2, 2], **attributes),
    ]
    weights = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)}
    size = 4 if attributes else 3
    proto = model(nodes, {"x": [1, 1, 5, 5]}, {"y": [1, 1, size, size]}, weights)
    x = -1 - np.random.default_rng(0).random((1, 1, 5, 5), np.float32)
    graph = check_loaded(proto, x=x)
    y = tg.compile(tg.optimize(graph, check={"x": x}))(x)
    same({"y": y}, evaluate(graph, {"x": x}))
    assert (y[0, 0, 0, 0] == 0) == (pool == "MaxPool")


@pytest.mark.parametrize("shape", [[1000, 1000, 70], [2**40, 2**40], [2**62, 2**62]])
def test_a_tiny_file_that_asks_for_huge_constants_is_optimized_without_making_them(shape: list[int]) -> None:
    nodes = [node("Expand", "one shape", "e"), node("Add", "x e", "y")]
    weights = {"one": np.ones(1, np.float32), "shape": np.array(shape, np.int64)}
    content = model(nodes, {"x": [1]}, {"y": None}, weights).SerializeToString()
    assert len(content) < 200
    after = tg.optimize(tg.load(content))
    assert [n.op.name for n in after.nodes] == ["broadcast_to", "add"]
    assert after.outputs[0][1].type.shape == tuple(shape)
    assert all(value.type.nbytes < 100 for value in after.data)
