"""Maps laid out channels last when a plan is made: which nodes go along, and that the answers stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, ops
from tinygraph.ir import Graph
from tinygraph.runtime.channels_last import ChannelsLast, channels_last
from tinygraph.runtime.evaluate import evaluate

SHAPE = (2, 6, 13, 11)


class Net(nn.Module):
    """A convolution, what is done to its result, and another convolution."""

    def __init__(self, between: Callable[[Net, Any], Any], channels: int) -> None:
        super().__init__()
        self.between = between
        self.first = nn.Conv2d(6, 32, 3, padding=1)
        self.norm = nn.BatchNorm2d(32)
        rng = np.random.default_rng(1)
        self.norm.load_state_dict(
            {
                name: rng.random(array.shape, np.float32) + 0.5 if array.ndim else array
                for name, array in self.norm.state_dict().items()
            }
        )
        self.up = nn.ConvTranspose2d(32, 32, 2, 2)
        self.third = nn.Conv2d(32, 32, 1)
        self.second = nn.Conv2d(channels, 5, 1)
        self.square = nn.Conv2d(6, 2, 6)

    def forward(self, x: Any) -> Any:
        return self.second(self.between(self, self.first(x)))


def traced(between: Callable[[Net, Any], Any], channels: int = 32) -> Graph:
    return tg.trace(Net(between, channels), tg.Spec(SHAPE))


def laid_out(graph: Graph) -> list[str]:
    """The nodes that a plan runs; those with kernels for channels last in capitals."""
    nodes = channels_last(graph, {v: graph.array(v) for v in graph.data}, "exact").nodes
    return [n.op.op.name.upper() if isinstance(n.op, ChannelsLast) else n.op.name for n in nodes]


def check(graph: Graph) -> None:
    """The answers are those of the graph in double precision."""
    rng = np.random.default_rng(0)
    sessions = [tg.compile(graph, passes="none", threads=threads) for threads in (1, 2)]
    for _ in range(2):
        x = rng.standard_normal(graph.inputs[0].type.dims).astype(np.float32)
        (wanted,) = evaluate(graph, {"x": x}, np.float64).values()
        for session in sessions:
            np.testing.assert_allclose(session(x), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("between", "names"),
    [
        (lambda net, x: ops.max_pool(x, 3, 2, 1), ["MAX_POOL"]),
        (lambda net, x: ops.min_pool(x, (2, 3), (1, 2), dilation=2), ["MIN_POOL"]),
        (lambda net, x: ops.avg_pool(x, 3, 2, 1, ceil_mode=True, count_include_pad=False), ["AVG_POOL"]),
        (lambda net, x: ops.relu(ops.max_pool(x, 2)), ["MAX_POOL", "relu"]),
        (lambda net, x: ops.relu(net.up(x)), ["CONV_TRANSPOSE"]),
        (lambda net, x: net.up(x) + net.up(x + x), ["CONV_TRANSPOSE", "add", "CONV_TRANSPOSE"]),
        (lambda net, x: ops.adaptive_avg_pool(x, (5, 3)), ["ADAPTIVE_AVG_POOL"]),
        (lambda net, x: ops.relu(net.norm(x)), ["BATCH_NORM"]),
        (lambda net, x: ops.relu(net.norm(ops.relu(x)) + x), ["relu", "BATCH_NORM"]),
        (lambda net, x: ops.pad(x, ((0, 0), (0, 0), (1, 2), (0, 3))), ["PAD"]),
        (lambda net, x: ops.resize(x, scales=(2, 2), axes=(2, 3), mode="linear"), ["RESIZE"]),
        (lambda net, x: x * ops.sigmoid(ops.adaptive_avg_pool(x, 1)), ["ADAPTIVE_AVG_POOL", "sigmoid", "mul"]),
        (lambda net, x: ops.clip(x, 0.0, 1.0) * 2.0, ["mul"]),
    ],
)
def test_between_convolutions(between: Any, names: list[str]) -> None:
    """What is in capitals has kernels of its own; what is in neither is taken along by what comes before."""
    graph = traced(between)
    assert laid_out(graph) == ["transpose", "CONV", *names, "CONV", "transpose"]
    check(graph)


def test_branches_that_join() -> None:
    def block(net: Net, x: Any) -> Any:
        pooled = ops.avg_pool(ops.max_pool(x, 2), 3, 1, 1)
        joined = ops.concat([net.up(pooled), x[:, :, :12, :10], net.first(x[:, :6, :12, :10])])
        return ops.relu(joined)

    graph = traced(block, 96)
    assert [name for name in laid_out(graph) if name not in ("slice", "transpose")] == [
        "CONV",
        "MAX_POOL",
        "AVG_POOL",
        "CONV_TRANSPOSE",
        "CONV",
        "concat",
        "relu",
        "CONV",
    ]
    check(graph)


def test_what_is_returned_or_read_as_it_was_is_given_back() -> None:
    def last(net: Net, x: Any) -> Any:
        y = ops.max_pool(x, 2)
        return ops.softmax(y, 1) + ops.relu(y)

    graph = traced(last)
    assert laid_out(graph) == [
        "transpose",
        "CONV",
        "MAX_POOL",
        "transpose",
        "softmax",
        "relu",
        "transpose",
        "add",
        "CONV",
        "transpose",
    ]
    check(graph)


def test_a_graph_without_convolutions_stays_as_it_is() -> None:
    graph = tg.trace(lambda x: ops.max_pool(ops.relu(x), 2), tg.Spec(SHAPE))
    assert channels_last(graph, {}, "exact") is graph


def test_a_map_whose_channels_come_first_is_read_anew_in_each_call() -> None:
    """Its rows are no part of its memory, so a kernel that is bound to its arrays has to copy them each time."""
    graph = traced(lambda net, x: net.third(net.third(ops.softmax(x, 1))))
    check(graph)
    graph = traced(lambda net, x: net.third(x) + ops.softmax(x, 1))
    check(graph)


def test_a_constant_map_stays_as_it_is() -> None:
    """The weight [2, 6, 6, 6] would fit either layout."""
    check(traced(lambda net, x: net.first(net.square.weight) + x[:, :, :6, :6]))
