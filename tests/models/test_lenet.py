"""LeNet-5: what the paper and the lectures state about its variants."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygraph as tg
from tests.models.layers import maps, params, traced
from tinygraph.models.lenet_1998 import CONNECTIONS, SparseConv, squash
from tinygraph.runtime.evaluate import evaluate


def test_sizes_of_the_classic_network() -> None:
    graph = traced("lenet5")
    assert maps(graph, "conv", "avg_pool") == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5)]
    layers = ["features.0", "features.3", "classifier.0", "classifier.2", "classifier.4"]
    assert [params(graph, layer) for layer in layers] == [156, 2416, 48_120, 10_164, 850]


def test_sizes_params_and_volumes_of_the_wide_network() -> None:
    graph = traced("lenet5_eecs498")
    sizes = maps(graph, "conv", "max_pool", "reshape", "linear")
    assert sizes == [(20, 28, 28), (20, 14, 14), (50, 14, 14), (50, 7, 7), (2450,), (500,), (10,)]
    volumes = [math.prod(shape) for shape in [graph.inputs[0].type.dims, *maps(graph, "conv", "max_pool")]]
    assert volumes == [784, 15_680, 3920, 9800, 2450]
    layers = ["features.0", "features.3", "classifier.0", "classifier.2"]
    assert [params(graph, layer) for layer in layers] == [520, 25_050, 1_225_500, 5010]


def test_only_the_wide_network_has_over_a_million_params() -> None:
    lenets = ("lenet5", "lenet5_1998", "lenet5_rgb", "lenet5_eecs498", "lenet_caffe")
    large = [name for name in lenets if tg.analyze(traced(name)).totals.params > 1_000_000]
    assert large == ["lenet5_eecs498"]


def test_params_of_the_original_layer_by_layer() -> None:
    graph = traced("lenet5_1998")
    counts = {layer: params(graph, layer) for layer in ("c1", "s2", "c3", "s4", "c5", "f6")}
    assert counts == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert sum(counts.values()) == tg.analyze(graph).totals.params == 60_000


def test_connections_of_the_original() -> None:
    """A connection is one input, or the bias, of one unit: the paper counts 340,908."""
    connections = 0
    for node in traced("lenet5_1998").nodes:
        types = node.input_types, node.output_types
        units = node.outputs[0].type.size
        if node.op.name in ("conv", "linear"):
            connections += node.op.macs(*types) + units
        elif node.op.name == "avg_pool":  # four inputs and the bias of each unit of a subsampling layer
            connections += (4 + 1) * units
        elif node.op.name == "sum":  # the distances: each answer reads all of F6
            connections += node.inputs[0].type.size
    assert connections == 340_908


def test_60_of_96_pairs_of_maps_are_connected() -> None:
    assert len(CONNECTIONS) == 16
    assert sum(map(len, CONNECTIONS)) == 60
    assert len(set(CONNECTIONS)) == 16
    read = [sum(i in row for row in CONNECTIONS) for i in range(6)]
    assert read == [10] * 6


def test_sparse_convolution_is_a_dense_one_with_zeros() -> None:
    net = SparseConv(6, CONNECTIONS, 5)
    net.reseed(3)
    dense = np.zeros((16, 6, 5, 5), np.float32)
    weights = [net.state_dict()[f"convs.{i}.weight"] for i in range(3)]
    rows = [row for part in weights for row in part]
    for output, (row, weight) in enumerate(zip(CONNECTIONS, rows, strict=True)):
        for place, source in enumerate(row):
            dense[output, source] = weight[place]
    bias = np.concatenate([net.state_dict()[f"convs.{i}.bias"] for i in range(3)])
    x = np.random.default_rng(0).standard_normal((2, 6, 14, 14), np.float32)
    got = evaluate(tg.trace(net, tg.Spec(x.shape)), {"x": x})["output"]
    np.testing.assert_allclose(got, tg.nn.functional.conv2d(x, dense, bias), rtol=1e-4, atol=1e-5)


def test_scores_of_the_original_are_distances_to_drawn_digits() -> None:
    """F6 exactly at a drawing is at distance 0 from it, and farther from every other digit."""
    net = tg.models.create("lenet5_1998")
    drawings = net.state_dict()["drawings"]
    assert drawings.shape == (10, 7 * 12)
    assert set(np.unique(drawings)) == {-1.0, 1.0}
    assert len(np.unique(drawings, axis=0)) == 10
    state = dict(net.state_dict())
    state["f6.weight"] = np.zeros_like(state["f6.weight"])
    # the squashing function maps 1 to 1, so a bias of +-1 puts F6 onto a drawing
    state["f6.bias"] = drawings[3]
    net.load_state_dict(state)
    scores = evaluate(tg.trace(net, *tg.models.inputs("lenet5_1998")), {"x": np.zeros((1, 1, 32, 32), np.float32)})
    differing = (drawings != drawings[3]).sum(axis=1)
    np.testing.assert_allclose(scores["output"][0], -4.0 * differing, atol=0.01)
    assert scores["output"].argmax() == 3


def test_the_squashing_function_maps_1_to_1() -> None:
    np.testing.assert_allclose(squash(np.array([-1.0, 0.0, 1.0])), [-1, 0, 1], atol=1e-4)


def test_there_are_no_more_classes_than_drawings() -> None:
    with pytest.raises(tg.UsageError, match="drawings of 10 digits"):
        tg.models.create("lenet5_1998", num_classes=11)
