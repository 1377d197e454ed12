"""Sizes, receptive fields and costs of layers that textbooks and lectures state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, ops
from tinygraph.autodiff import gradients

# ---- sizes ---------------------------------------------------------------------------------------


def out(size: int, kernel: int, padding: Any = 0, stride: int = 1) -> int:
    """Size of a square map after a convolution."""
    graph = tg.trace(
        lambda x: ops.conv2d(x, np.ones((1, 1, kernel, kernel), np.float32), stride=stride, padding=padding),
        tg.Spec((1, 1, size, size)),
    )
    return graph.outputs[0][1].type.dims[2]


@pytest.mark.parametrize(
    ("size", "kernel", "padding", "stride", "wanted"),
    [
        (7, 3, 0, 1, 5),
        (7, 3, 1, 1, 7),
        (7, 3, 0, 2, 3),
        (32, 5, 0, 1, 28),
        (14, 5, 0, 1, 10),
        (224, 11, 2, 4, 55),
        (227, 11, 0, 4, 55),
        (7, 3, 0, 3, 2),
    ],
)
def test_size_after_a_convolution(size: int, kernel: int, padding: int, stride: int, wanted: int) -> None:
    assert out(size, kernel, padding, stride) == wanted


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 11])
def test_padding_of_half_an_odd_kernel_keeps_the_size(kernel: int) -> None:
    assert out(14, kernel, (kernel - 1) // 2) == 14
    assert out(14, kernel, "same") == 14
    assert out(14, kernel, "valid") == 14 - kernel + 1


def test_size_after_a_pool() -> None:
    assert ops.max_pool(np.ones((1, 20, 28, 28)), 2).shape == (1, 20, 14, 14)
    assert ops.max_pool(np.ones((1, 50, 14, 14)), 2).shape == (1, 50, 7, 7)


def test_padding_of_two_makes_36_of_32_with_zeros_at_the_rim() -> None:
    y = ops.pad(np.ones((1, 3, 32, 32)), ((0, 0), (0, 0), (2, 2), (2, 2)))
    assert y.shape == (1, 3, 36, 36)
    assert y[:, :, 2:-2, 2:-2].sum() == y.sum() == 3 * 32 * 32


def test_a_filter_reads_all_channels_and_makes_one_map() -> None:
    layer = nn.Conv2d(3, 1, 5)
    assert layer(np.ones((1, 3, 10, 10), np.float32)).shape == (1, 1, 6, 6)
    assert params(layer) == 76
    assert nn.Conv2d(3, 1, 5, padding=2)(np.ones((1, 3, 10, 10), np.float32)).shape == (1, 1, 10, 10)
    assert nn.Conv2d(3, 6, 5)(np.ones((1, 3, 32, 32), np.float32)).shape == (1, 6, 28, 28)


def test_colour_and_grey_images_of_39_by_31_are_laid_out_channels_first() -> None:
    assert nn.Conv2d(3, 20, 4)(np.ones((1, 3, 39, 31), np.float32)).shape == (1, 20, 36, 28)
    assert nn.Conv2d(1, 20, 4)(np.ones((1, 1, 39, 31), np.float32)).shape == (1, 20, 36, 28)
    with pytest.raises(tg.ShapeError, match="channels"):
        nn.Conv2d(3, 20, 4)(np.ones((1, 39, 31, 3), np.float32))


# ---- receptive fields, measured: which inputs does one output depend on? ------------------------

Layers = Callable[[Any], Any]


def conv(kernel: int, stride: int = 1, dilation: int = 1) -> Layers:
    """A convolution whose weights are all positive, so that no influence cancels."""
    weight = np.full((1, 1, kernel, kernel), 1 / kernel**2)
    return lambda x: ops.conv2d(x, weight, stride=stride, dilation=dilation)


def pool(kernel: int, stride: int) -> Layers:
    """A pool that averages: unlike the maximum, it lets the gradient reach all of its window."""
    return lambda x: ops.avg_pool(x, kernel, stride)


def field(*layers: Layers, size: int) -> int:
    """Width of the part of the input that the middle output has a gradient to."""

    def middle(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x[0, 0, x.shape[2] // 2, x.shape[3] // 2]

    graph = gradients(tg.trace(middle, tg.Spec((1, 1, size, size), np.float64, "x")), wrt=["x"])
    slope = tg.compile(graph, passes="none")(np.ones((1, 1, size, size)))["grad.x"][0, 0]
    rows, columns = np.nonzero(slope)
    assert np.ptp(rows) == np.ptp(columns)
    assert rows.min() > 0 or rows.max() < size - 1, "the field may reach beyond the input: take a larger one"
    return int(np.ptp(rows)) + 1


@pytest.mark.parametrize(
    ("kernel", "count", "wanted"),
    [(3, 1, 3), (3, 2, 5), (3, 3, 7), (3, 10, 21), (3, 20, 41), (5, 1, 5), (5, 2, 9), (5, 3, 13)],
)
def test_receptive_field_of_a_stack(kernel: int, count: int, wanted: int) -> None:
    assert field(*[conv(kernel)] * count, size=wanted + 3) == wanted


def test_a_stride_enlarges_the_receptive_field_of_what_comes_after() -> None:
    assert field(conv(3), conv(3), size=10) == 5
    assert field(conv(3, stride=2), conv(3), size=14) == 7


def test_receptive_fields_of_known_networks() -> None:
    lenet = [conv(5), pool(2, 2), conv(5), pool(2, 2)]
    assert field(*lenet, size=32) == 16
    alexnet = [conv(11, stride=4), pool(3, 2), conv(5), pool(3, 2), conv(3), conv(3), conv(3)]
    assert field(*alexnet, size=227) == 163
    vgg = [conv(3), conv(3), pool(2, 2)] * 2 + [conv(3), conv(3), conv(3), pool(2, 2)] * 3
    assert field(*vgg[:-1], size=260) == 196
    assert field(*vgg, size=260) == 212


def test_dilation_enlarges_the_receptive_field_without_parameters() -> None:
    assert field(conv(3, dilation=2), size=9) == 5
    assert field(conv(3), conv(3, dilation=2), conv(3, dilation=4), size=19) == 15
    assert params(nn.Conv2d(8, 8, 3, dilation=4)) == params(nn.Conv2d(8, 8, 3))


# ---- fully convolutional networks ----------------------------------------------------------------


def test_a_dense_classifier_turned_into_convolutions_takes_larger_images() -> None:
    rng = np.random.default_rng(0)
    features = [rng.standard_normal((2, channels, 3, 3)) * 0.4 for channels in (3, 2, 2, 2, 2)]
    dense, scores = rng.standard_normal((5, 2 * 7 * 7)), rng.standard_normal((4, 5))

    def body(x: Any) -> Any:
        for weight in features:
            x = ops.max_pool(ops.relu(ops.conv2d(x, weight, padding=1)), 2)
        return x

    def classifier(x: Any) -> Any:
        return ops.linear(ops.relu(ops.linear(ops.flatten(body(x)), dense)), scores)

    def convolutional(x: Any) -> Any:
        hidden = ops.relu(ops.conv2d(body(x), dense.reshape(5, 2, 7, 7)))
        return ops.conv2d(hidden, scores[:, :, None, None])

    image = rng.standard_normal((1, 3, 224, 224))
    found = tg.compile(convolutional, tg.Spec(image.shape, np.float64), passes="none")(image)
    wanted = tg.compile(classifier, tg.Spec(image.shape, np.float64), passes="none")(image)
    assert found.shape == (1, 4, 1, 1)
    np.testing.assert_allclose(found[:, :, 0, 0], wanted, atol=1e-10)
    larger = tg.trace(convolutional, tg.Spec((1, 3, 384, 384), np.float64))
    assert larger.outputs[0][1].type.shape == (1, 4, 6, 6)


# ---- costs ---------------------------------------------------------------------------------------


def params(*layers: nn.Module) -> int:
    """Numbers in the parameters of layers."""
    return sum(p.type.size for layer in layers for _, p in layer.named_parameters())


def weights(*layers: nn.Module) -> int:
    """The same without the biases."""
    return sum(p.type.size for layer in layers for name, p in layer.named_parameters() if name == "weight")


def macs(layer: Any, *shape: int) -> int:
    """Multiply-adds of a layer for one input."""
    nodes = tg.trace(layer, tg.Spec(shape)).nodes
    return sum(node.op.macs(node.input_types, node.output_types) for node in nodes)


def test_a_dense_layer_on_an_image_and_a_convolution() -> None:
    assert params(nn.Linear(300 * 300 * 3, 100)) == 27_000_100
    assert params(nn.Conv2d(3, 100, 5)) == 7_600


@pytest.mark.parametrize(("units", "wanted"), [(1, 10_000), (10, 100_000), (100, 1_000_000), (100_000, 1_000_000_000)])
def test_weights_of_dense_layers_on_ten_thousand_inputs(units: int, wanted: int) -> None:
    assert params(nn.Linear(10_000, units, bias=False)) == wanted
    assert macs(nn.Linear(10_000, units, bias=False), 1, 10_000) == wanted


def test_the_classifier_of_vgg() -> None:
    assert params(nn.Linear(4096, 1000)) == 4_097_000


def test_parameters_do_not_depend_on_padding_and_stride() -> None:
    assert weights(nn.Conv2d(128, 64, 3, padding=1)) == 73_728
    assert params(nn.Conv2d(128, 64, 3, padding=1)) == 73_728 + 64
    assert params(nn.Conv2d(128, 64, 3, stride=2)) == 73_728 + 64


@pytest.mark.parametrize(
    ("layer", "shape", "wanted"),
    [
        (nn.Conv2d(1, 1, 3), (1, 1, 4, 4), 36),
        (nn.Conv2d(3, 1, 3), (1, 3, 6, 6), 432),
        (nn.Conv2d(3, 2, 3), (1, 3, 6, 6), 864),
    ],
)
def test_multiplications_of_small_convolutions(layer: nn.Module, shape: tuple[int, ...], wanted: int) -> None:
    assert macs(layer, *shape) == wanted


def test_multiply_adds_are_weights_of_a_filter_times_output_numbers() -> None:
    layer = nn.Conv2d(6, 8, (3, 2), stride=2, padding=1, groups=2)
    y = layer(np.ones((1, 6, 9, 10), np.float32))
    assert params(layer) == 8 * (3 * 3 * 2 + 1)
    assert macs(layer, 1, 6, 9, 10) == (3 * 3 * 2) * y.size


def test_a_one_by_one_convolution_in_front_makes_the_inception_branch_ten_times_cheaper() -> None:
    plain = macs(nn.Conv2d(192, 32, 5, padding=2), 1, 192, 28, 28)
    assert plain == 120_422_400
    first, second = nn.Conv2d(192, 16, 1), nn.Conv2d(16, 32, 5, padding=2)
    assert macs(first, 1, 192, 28, 28) == 2_408_448
    assert macs(second, 1, 16, 28, 28) == 10_035_200
    reduced = macs(nn.Sequential(first, second), 1, 192, 28, 28)
    assert reduced == 12_443_648
    assert round(reduced / plain, 4) == 0.1033


def test_stacked_three_by_three_layers_see_as_far_with_fewer_parameters() -> None:
    assert field(conv(3), conv(3), size=10) == field(conv(5), size=10) == 5
    assert weights(nn.Conv2d(128, 128, 3), nn.Conv2d(128, 128, 3)) == 294_912
    assert weights(nn.Conv2d(128, 128, 5)) == 409_600
    assert field(conv(3), conv(3), conv(3), size=10) == field(conv(7), size=10) == 7
    assert weights(*[nn.Conv2d(10, 10, 3) for _ in range(3)]) == 27 * 10**2
    assert weights(nn.Conv2d(10, 10, 7)) == 49 * 10**2


def test_reducing_channels_by_one_by_one_saves_weights() -> None:
    assert weights(nn.Conv2d(128, 128, 3)) == 147_456
    assert weights(nn.Conv2d(128, 32, 1), nn.Conv2d(32, 128, 3)) == 40_960
    bottleneck = nn.Conv2d(256, 64, 1), nn.Conv2d(64, 64, 3), nn.Conv2d(64, 256, 1)
    assert weights(*bottleneck) == 69_632
    assert weights(nn.Conv2d(256, 256, 3)) == 589_824


def test_a_dense_layer_has_as_many_weights_as_a_convolution() -> None:
    assert weights(nn.Linear(25_088, 4096)) == weights(nn.Conv2d(512, 4096, 7)) == 102_760_448
    assert weights(nn.Linear(4 * 4 * 16, 10)) == weights(nn.Conv2d(16, 10, 4)) == 2_560


def test_a_pool_learns_nothing() -> None:
    assert params(nn.MaxPool2d(2), nn.AvgPool2d(2)) == 0
    assert params(nn.Conv2d(3, 4, 2)) > 0
