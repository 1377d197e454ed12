"""VGG: what the paper and the lectures state about it."""

from __future__ import annotations

import pytest

import tinygraph as tg
from tests.models.layers import maps, nodes, params, traced
from tinygraph import nn


@pytest.mark.parametrize(("depth", "convolutions"), [(11, 8), (13, 10), (16, 13), (19, 16)])
@pytest.mark.parametrize("suffix", ["", "_bn"])
def test_depth_counts_convolutions_and_three_linear_layers(depth: int, convolutions: int, suffix: str) -> None:
    graph = traced(f"vgg{depth}{suffix}")
    assert len(nodes(graph, "conv")) == convolutions
    assert len(nodes(graph, "linear")) == depth - convolutions == 3
    assert len(nodes(graph, "batch_norm")) == (convolutions if suffix else 0)


def test_each_stage_halves_the_size_while_the_depth_grows() -> None:
    graph = traced("vgg16")
    sizes = list(dict.fromkeys(shape[1] for shape in maps(graph, "conv", "max_pool")))
    assert sizes == [224, 112, 56, 28, 14, 7]
    assert [shape[0] for shape in maps(graph, "max_pool")] == [64, 128, 256, 512, 512]


def test_every_convolution_is_3x3_and_keeps_the_size() -> None:
    for node in nodes(traced("vgg19"), "conv"):
        assert node.inputs[1].type.dims[2:] == (3, 3)
        assert (node.op.stride, node.op.padding) == ((1, 1), ((1, 1), (1, 1)))


def test_most_of_138_million_params_are_in_the_first_linear_layer() -> None:
    graph = traced("vgg16")
    assert sum(v.type.size for v in graph.data) == 138_357_544
    assert params(graph, "classifier.0") == 25_088 * 4096 + 4096
    assert params(graph, "classifier.6") == 4_097_000  # 4096 -> 1000


def test_as_a_fully_convolutional_network_it_scores_36_places_of_a_larger_image() -> None:
    classifier = [nn.Conv2d(512, 4096, 7), nn.ReLU(), nn.Conv2d(4096, 4096, 1), nn.ReLU(), nn.Conv2d(4096, 1000, 1)]
    net = nn.Sequential(tg.models.create("vgg16").features, *classifier)
    small, large = (tg.trace(net, tg.Spec((1, 3, size, size))) for size in (224, 384))
    assert small.outputs[0][1].type.shape == (1, 1000, 1, 1)
    assert large.outputs[0][1].type.shape == (1, 1000, 6, 6)
    totals = tg.analyze(small).totals
    assert (totals.params, totals.macs) == (138_357_544, 15_470_264_320)  # those of VGG-16 itself
