"""Whole networks: saved, checked, run by the standard's evaluator, and read back as the same graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.onnx.files import check_saved, example, same
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
