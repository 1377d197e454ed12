"""Residual networks: what the paper and the lectures state about them."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tests.models.layers import maps, nodes, traced
from tinygraph.autodiff import gradients
from tinygraph.models import resnet, resnet_cifar
from tinygraph.runtime.evaluate import evaluate


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_depth_counts_convolutions_and_the_linear_layer_but_no_projections(depth: int) -> None:
    graph = traced(f"resnet{depth}")
    convolutions = [node.where.module for node in nodes(graph, "conv")]
    projections = [module for module in convolutions if ".downsample." in module]
    assert len(projections) == (3 if depth < 50 else 4)
    assert len(convolutions) - len(projections) == depth - 1
    assert len(nodes(graph, "linear")) == 1


@pytest.mark.parametrize(("depth", "blocks"), [(20, 3), (32, 5), (44, 7), (56, 9), (110, 18), (1202, 200)])
def test_cifar_networks_have_6n_plus_2_layers(depth: int, blocks: int) -> None:
    graph = traced(f"resnet{depth}_cifar")
    assert len(nodes(graph, "conv", "linear")) == 6 * blocks + 2 == depth


def test_sizes_of_the_stages() -> None:
    graph = traced("resnet50")
    assert maps(graph, "conv", "max_pool")[:2] == [(64, 112, 112), (64, 56, 56)]
    blocks = [(256, 56, 56)] * 3 + [(512, 28, 28)] * 4 + [(1024, 14, 14)] * 6 + [(2048, 7, 7)] * 3
    assert maps(graph, "add") == blocks


def test_the_paper_has_the_stride_in_the_first_convolution_torchvision_in_the_second() -> None:
    def strides(name: str) -> list[tuple[int, int]]:
        convolutions = {node.where.module: node for node in nodes(traced(name), "conv")}
        return [convolutions[f"layer2.0.conv{i}"].op.stride for i in (1, 2, 3)]

    assert strides("resnet50_v1") == [(2, 2), (1, 1), (1, 1)]
    assert strides("resnet50") == [(1, 1), (2, 2), (1, 1)]


@pytest.mark.parametrize("block", [resnet.BasicBlock(8, 8), resnet.Bottleneck(8, 2), resnet_cifar.BasicBlock(8, 8)])
def test_with_zero_weights_a_block_is_the_identity_of_what_is_not_negative(block: tg.nn.Module) -> None:
    state = block.state_dict()
    block.load_state_dict({name: np.zeros_like(array) for name, array in state.items() if "num_batches" not in name})
    x = np.random.default_rng(0).random((2, 8, 5, 5), np.float32)
    assert np.array_equal(evaluate(tg.trace(block, tg.Spec(x.shape)), {"x": x})["output"], x)


def test_the_gradient_passes_a_shortcut_unchanged() -> None:
    block = resnet.BasicBlock(4, 4)
    block.load_state_dict({name: np.zeros_like(array) for name, array in block.state_dict().items()})
    x = np.random.default_rng(0).random((1, 4, 5, 5), np.float32) + 1
    graph = tg.trace(lambda x: tg.nn.functional.sum(block(x)), tg.Spec(x.shape))
    gradient = evaluate(gradients(graph, wrt=["x"]), {"x": x})["grad.x"]
    np.testing.assert_array_equal(gradient, np.ones_like(x))


def test_a_shortcut_without_params_subsamples_and_pads_channels_on_both_sides() -> None:
    x = np.arange(1.0, 2 * 4 * 4 * 4 + 1, dtype=np.float32).reshape(2, 4, 4, 4)
    y = evaluate(tg.trace(resnet_cifar.Shortcut(4), tg.Spec(x.shape)), {"x": x})["output"]
    assert y.shape == (2, 8, 2, 2)
    assert not y[:, :2].any()
    assert not y[:, 6:].any()
    assert np.array_equal(y[:, 2:6], x[:, :, ::2, ::2])


def test_weights_start_as_in_torchvision() -> None:
    """Convolutions normal with deviation sqrt(2 / fan_out), the linear layer uniform, BatchNorm 1 and 0."""
    state = tg.models.create("resnet18").state_dict()
    weight = state["layer3.0.conv1.weight"]
    assert weight.std() == pytest.approx(np.sqrt(2 / (256 * 9)), rel=0.01)
    assert abs(state["fc.weight"]).max() == pytest.approx(1 / np.sqrt(512), rel=1e-3)
    assert set(state["bn1.weight"]) | set(state["bn1.running_var"]) == {1.0}
    assert set(state["bn1.bias"]) | set(state["bn1.running_mean"]) == {0.0}
