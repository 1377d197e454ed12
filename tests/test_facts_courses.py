"""Sizes and costs that exercises of courses on convolutional networks ask for."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, ops
from tinygraph.autodiff import gradients


def sizes(net: nn.Module, *shape: int) -> list[tuple[int, ...]]:
    """What each node makes of one input, without the batch."""
    return [node.outputs[0].type.dims[1:] for node in tg.trace(net, tg.Spec((1, *shape))).nodes]


@pytest.mark.parametrize(
    ("layer", "shape", "wanted"),
    [
        (nn.Conv2d(16, 32, 7, stride=2), (16, 63, 63), (32, 29, 29)),
        (nn.Conv2d(16, 4, 7, padding=3), (16, 63, 63), (4, 63, 63)),
        (nn.MaxPool2d(2, stride=2), (16, 32, 32), (16, 16, 16)),
        (nn.Conv2d(3, 10, 5, padding=2), (3, 32, 32), (10, 32, 32)),
        (nn.Conv2d(64, 32, 1), (64, 56, 56), (32, 56, 56)),
    ],
)
def test_size_after_a_layer(layer: nn.Module, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    assert sizes(layer, *shape) == [wanted]


def test_padding_of_two_makes_19_of_15() -> None:
    volume = np.ones((1, 8, 15, 15), np.float32)
    assert ops.pad(volume, ((0, 0), (0, 0), (2, 2), (2, 2))).shape == (1, 8, 19, 19)


def test_a_same_convolution_of_7_by_7_pads_by_3() -> None:
    graph = tg.trace(nn.Conv2d(1, 1, 7, padding="same"), tg.Spec((1, 1, 63, 63)))
    assert graph.nodes[0].op.padding == ((3, 3), (3, 3))  # type: ignore[attr-defined]
    assert graph.outputs[0][1].type.shape == (1, 1, 63, 63)


def test_pooling_does_affect_backpropagation() -> None:
    """It has no parameters, but it decides which inputs the gradient reaches."""
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    graph = tg.trace(lambda x: ops.sum(ops.max_pool(x, 2)), tg.Spec(x.shape, np.float64, "x"))
    slope = tg.compile(gradients(graph, wrt=["x"]))(x)["grad.x"]
    np.testing.assert_array_equal(slope[0, 0], [[0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]])


def test_cost_of_ten_filters_on_a_small_image() -> None:
    totals = tg.analyze(tg.trace(nn.Conv2d(3, 10, 5, padding=2), tg.Spec((1, 3, 32, 32)))).totals
    assert (totals.params, totals.macs) == (760, 768_000)


def test_a_stack_of_three_convolutions() -> None:
    stack = nn.Sequential(nn.Conv2d(3, 6, 5), nn.Conv2d(6, 10, 3), nn.Conv2d(10, 12, 3))
    assert sizes(stack, 3, 32, 32) == [(6, 28, 28), (10, 26, 26), (12, 24, 24)]
    assert tg.analyze(tg.trace(stack, tg.Spec((1, 3, 32, 32)))).totals.params == 2_098


def test_three_convolutions_and_a_classifier() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 10, 3), nn.Conv2d(10, 20, 5, stride=2), nn.Conv2d(20, 40, 5, stride=2), nn.Flatten()
    )
    assert sizes(net, 3, 39, 39) == [(10, 37, 37), (20, 17, 17), (40, 7, 7), (1960,)]
