"""Worked examples of convolution that textbooks and lectures print, number by number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import nn, ops
from tinygraph.autodiff import gradients

X4 = [[1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1]]
K = [[2, 0, 1], [0, 1, 2], [1, 0, 2]]
X5 = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
K5 = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]
X7 = [np.resize(row, 7).tolist() for row in ([1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1])]
X7 = X7 + X7[:3]
CROSS = [[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]]
DIAGONALS = [[1, 0, 1], [0, 1, 0], [1, 0, 1]]


def image(rows: Any) -> np.ndarray:
    """Rows of one channel of one image, as [1, 1, H, W]."""
    return np.asarray(rows, np.float64)[None, None]


def conv(x: Any, k: Any, **options: Any) -> list[list[float]]:
    """A convolution of one channel by one filter, as rows."""
    return ops.conv2d(image(x), image(k), **options)[0, 0].tolist()  # type: ignore[no-any-return]


def flipped(k: Any) -> np.ndarray:
    """The kernel turned by 180 degrees."""
    return np.asarray(k)[::-1, ::-1]


# ---- examples ------------------------------------------------------------------------------------


def test_a_convolution_does_not_flip_its_kernel() -> None:
    assert conv(X4, K) == [[15, 16], [6, 15]]
    assert conv(X4, flipped(K)) == [[11, 12], [10, 11]]
    assert conv(X5, K5) == [[12, 12, 17], [10, 17, 19], [9, 6, 14]]
    assert conv(X5, flipped(K5)) == [[18, 20, 19], [10, 9, 17], [11, 8, 14]]


def test_a_bias_is_added_everywhere() -> None:
    assert conv(X4, K, bias=np.array([3.0])) == [[18, 19], [9, 18]]


def test_padding_and_stride() -> None:
    assert conv(X4, K, padding=1) == [[7, 12, 10, 2], [4, 15, 16, 10], [10, 6, 15, 6], [8, 10, 4, 3]]
    assert conv(X4, K, padding="same") == conv(X4, K, padding=1)
    assert conv(X4, K, padding=1, stride=2) == [[7, 10], [10, 15]]
    assert conv(X5, K5, padding=1, stride=2) == [[6, 17, 3], [8, 17, 13], [6, 4, 4]]
    assert conv(X5, K5, padding=1) == [
        [6, 14, 17, 11, 3],
        [14, 12, 12, 17, 11],
        [8, 10, 17, 19, 13],
        [11, 9, 6, 14, 12],
        [6, 4, 4, 6, 4],
    ]


def test_padding_by_all_but_one_tap_makes_the_full_convolution() -> None:
    full = np.array(conv(X5, K5, padding=2))
    assert full.shape == (7, 7)
    assert full[1:-1, 1:-1].tolist() == conv(X5, K5, padding=1)


def test_a_seven_by_seven_image_at_strides_1_2_3_and_dilation_2() -> None:
    assert conv(X7, K, stride=2) == [[15, 17, 15], [17, 15, 17], [15, 17, 15]]
    assert conv(X7, K) == [
        [15, 16, 17, 6, 15],
        [6, 15, 16, 17, 6],
        [17, 6, 15, 16, 17],
        [16, 17, 6, 15, 16],
        [15, 16, 17, 6, 15],
    ]
    assert conv(X7, K, stride=3) == [[15, 6], [16, 15]]
    assert conv(X7, K, dilation=2) == [[13, 14, 23], [4, 13, 14], [23, 4, 13]]


def test_a_binary_image() -> None:
    assert conv(CROSS, DIAGONALS) == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]
    assert conv(CROSS, DIAGONALS, stride=2) == [[4, 4], [2, 4]]
    assert conv(CROSS, DIAGONALS, padding=1) == [
        [2, 2, 3, 1, 1],
        [1, 4, 3, 4, 1],
        [1, 2, 4, 3, 3],
        [1, 2, 3, 4, 1],
        [0, 2, 2, 1, 1],
    ]


def test_three_channels_with_weights_and_bias_of_ten() -> None:
    layer = nn.Conv2d(3, 1, 3)
    ten = {"weight": np.full((1, 3, 3, 3), 10, np.float32), "bias": np.full(1, 10, np.float32)}
    layer.load_state_dict(ten)
    assert sum(p.type.size for _, p in layer.named_parameters()) == 28
    x = np.random.default_rng(0).integers(0, 9, (1, 3, 10, 10)).astype(np.float32)
    y = layer(x)
    assert y.shape == (1, 1, 8, 8)
    sums = [[x[0, :, i : i + 3, j : j + 3].sum() for j in range(8)] for i in range(8)]
    np.testing.assert_array_equal(y[0, 0], 10 * np.array(sums) + 10)
    np.testing.assert_array_equal(layer(np.ones_like(x)), np.full((1, 1, 8, 8), 280))


def test_a_vertical_edge_filter_sees_vertical_edges_only() -> None:
    edge = [[1, 0, -1]] * 3
    step = [[10, 10, 10, 0, 0, 0]] * 6
    assert conv(step, edge) == [[0, 30, 30, 0]] * 4
    assert conv(np.transpose(step), edge) == [[0, 0, 0, 0]] * 4


def test_one_and_three_axes() -> None:
    line = np.arange(1.0, 6.0)[None, None]
    assert ops.conv1d(line, np.array([[[1.0, 0.0, -1.0]]]))[0, 0].tolist() == [-2, -2, -2]
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 7, 8)), rng.standard_normal((4, 3, 3, 3))
    flat, deep = ops.conv2d(x, w), ops.conv3d(x[:, :, None], w[:, :, None])
    np.testing.assert_allclose(deep[:, :, 0], flat, atol=1e-12)
    volume = ops.conv3d(np.ones((1, 2, 9, 8, 7)), np.ones((5, 2, 3, 3, 3)), stride=2, padding=1)
    assert volume.shape == (1, 5, 5, 4, 4)
    assert nn.Conv1d(2, 4, 3).weight.shape == (4, 2, 3)
    assert nn.Conv3d(2, 4, 3).weight.shape == (4, 2, 3, 3, 3)


# ---- gradients and transposes ------------------------------------------------------------------


def slopes(x: Any, k: Any, **options: Any) -> tuple[list[list[float]], list[list[float]]]:
    """Gradients of the sum of a convolution's outputs, by its input and by its kernel."""
    specs = tg.Spec(image(x).shape, np.float64, "x"), tg.Spec(image(k).shape, np.float64, "w")
    graph = tg.trace(lambda x, w: ops.sum(ops.conv2d(x, w, **options)), *specs)
    found = tg.compile(gradients(graph, wrt=["x", "w"]), passes="none")(image(x), image(k))
    return found["grad.x"][0, 0].tolist(), found["grad.w"][0, 0].tolist()


def test_the_gradient_by_the_input_is_the_full_convolution_with_the_flipped_kernel() -> None:
    dx, dw = slopes(X4, K)
    assert dx == [[2, 2, 1, 1], [2, 3, 4, 3], [1, 2, 5, 4], [1, 1, 2, 2]]
    assert dw == [[4, 8, 8], [4, 4, 8], [8, 4, 4]]
    assert dx == conv(np.ones((2, 2)), flipped(K), padding=2)


def test_gradients_of_a_convolution_with_stride() -> None:
    dx, dw = slopes(X7, K, stride=2)
    assert dx == [
        [2, 0, 3, 0, 3, 0, 1],
        [0, 1, 2, 1, 2, 1, 2],
        [3, 0, 6, 0, 6, 0, 3],
        [0, 1, 2, 1, 2, 1, 2],
        [3, 0, 6, 0, 6, 0, 3],
        [0, 1, 2, 1, 2, 1, 2],
        [1, 0, 3, 0, 3, 0, 2],
    ]
    assert dw == [[17, 10, 19], [8, 17, 10], [19, 8, 17]]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, [[2, 4, 1, 2], [6, 9, 7, 8], [1, 5, 12, 12], [3, 4, 6, 8]]),
        (
            {"stride": 2},
            [[2, 0, 5, 0, 2], [0, 1, 2, 2, 4], [7, 0, 15, 0, 8], [0, 3, 6, 4, 8], [3, 0, 10, 0, 8]],
        ),
        ({"stride": 2, "padding": 1}, [[1, 2, 2], [0, 15, 0], [3, 6, 4]]),
    ],
    ids=str,
)
def test_a_deconvolution_is_the_gradient_of_a_convolution_by_its_input(options: Any, wanted: Any) -> None:
    small = image([[1, 2], [3, 4]])
    y = ops.conv_transpose(small, image(K), **options)
    assert y[0, 0].tolist() == wanted
    stride, padding = options.get("stride", 1), options.get("padding", 0)
    assert y.shape[2] == (2 - 1) * stride - 2 * padding + 3

    specs = tg.Spec(y.shape, np.float64, "x"), tg.Spec(small.shape, np.float64, "g")
    graph = tg.trace(lambda x, g: ops.sum(ops.conv2d(x, image(K), **options) * g), *specs)
    found = tg.compile(gradients(graph, wrt=["x"]), passes="none")(x=np.zeros(y.shape), g=small)
    assert found["grad.x"][0, 0].tolist() == wanted


# ---- laws --------------------------------------------------------------------------------------


def mathematical(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The full convolution of mathematics: y[i, j] = sum over m, n of a[m, n] b[i - m, j - n]."""
    y = np.zeros((a.shape[0] + b.shape[0] - 1, a.shape[1] + b.shape[1] - 1))
    for i, j in np.ndindex(*y.shape):
        for m, n in np.ndindex(*a.shape):
            if 0 <= i - m < b.shape[0] and 0 <= j - n < b.shape[1]:
                y[i, j] += a[m, n] * b[i - m, j - n]
    return y


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_mathematical_convolution_is_correlation_with_the_flipped_kernel_and_commutes(
    seed: int, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((4, 5)), rng.standard_normal((height, width))
    full = conv(a, flipped(b), padding=(height - 1, width - 1))
    np.testing.assert_allclose(full, mathematical(a, b), atol=1e-12)
    np.testing.assert_allclose(mathematical(a, b), mathematical(b, a), atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_channels_add_up_and_each_filter_makes_a_channel(seed: int, channels: int, filters: int) -> None:
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((1, channels, 5, 6)), rng.standard_normal((filters, channels, 3, 2))
    y = ops.conv2d(x, w)
    assert y.shape[1] == filters
    for f in range(filters):
        parts = [conv(x[0, c], w[f, c]) for c in range(channels)]
        np.testing.assert_allclose(y[0, f], np.sum(parts, axis=0), atol=1e-12)


def test_a_one_by_one_convolution_is_a_linear_layer_at_every_pixel() -> None:
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((6, 3)), rng.standard_normal(6)
    pixels = ops.linear(np.moveaxis(x, 1, -1), w, b)
    np.testing.assert_allclose(ops.conv2d(x, w[:, :, None, None], b), np.moveaxis(pixels, -1, 1), atol=1e-12)


def test_convolutions_without_an_activation_between_them_are_one_convolution() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 2, 9, 9))
    first, second = rng.standard_normal((3, 2, 3, 3)), rng.standard_normal((4, 3, 3, 3))
    composed = ops.conv_transpose(second, first)  # every tap of the second sees all taps of the first
    assert composed.shape == (4, 2, 5, 5)
    once = ops.conv2d(x, composed)
    np.testing.assert_allclose(ops.conv2d(ops.conv2d(x, first), second), once, atol=1e-12)
    assert not np.allclose(ops.conv2d(ops.relu(ops.conv2d(x, first)), second), once)


def test_a_shifted_image_gives_a_shifted_map() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 2, 12, 12)), rng.standard_normal((3, 2, 3, 3))
    shifted = np.roll(x, (2, 1), axis=(2, 3))
    y, moved = (ops.conv2d(a, w, padding=1) for a in (x, shifted))
    np.testing.assert_allclose(moved[:, :, 4:-2, 3:-2], np.roll(y, (2, 1), axis=(2, 3))[:, :, 4:-2, 3:-2], atol=1e-12)


def test_a_max_pool_does_not_notice_a_shift_inside_its_windows() -> None:
    spot, moved = np.zeros((1, 1, 8, 8)), np.zeros((1, 1, 8, 8))
    spot[0, 0, 2, 4] = moved[0, 0, 3, 5] = 1
    np.testing.assert_array_equal(ops.max_pool(spot, 2), ops.max_pool(moved, 2))


def test_a_kernel_that_sums_to_zero_answers_a_constant_image_with_zero() -> None:
    sharpen = [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]
    assert conv(np.full((6, 6), 7), sharpen) == [[0] * 4] * 4
    assert np.any(conv(np.eye(6), sharpen))


def test_a_folded_batch_norm_is_another_weight_and_bias() -> None:
    def scalar(number: float) -> np.ndarray:
        return np.full(1, number, np.float64)

    def network(x: Any) -> Any:
        y = ops.conv2d(x, np.full((1, 1, 1, 1), 2.0), scalar(1))
        return ops.batch_norm(y, scalar(3), scalar(-1), scalar(4), scalar(9), eps=0.0)

    graph = tg.trace(network, tg.Spec((1, 1, 2, 2), np.float64))
    small = tg.optimize(graph)
    (node,) = small.nodes
    assert node.op.name == "conv"
    _, w, b = node.inputs
    assert (small.array(w).item(), small.array(b).item()) == (2, -4)
    macs = [sum(n.op.macs(n.input_types, n.output_types) for n in g.nodes) for g in (graph, small)]
    assert macs == [4, 4]
    x = np.arange(4.0).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(tg.compile(graph, passes="none")(x), 2 * x - 4)
    np.testing.assert_array_equal(tg.compile(small, passes="none")(x), 2 * x - 4)
