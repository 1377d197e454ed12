"""What lectures and papers state about activations, losses, response normalization, pooling and regularization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, ops
from tinygraph.autodiff import gradients
from tinygraph.ir import Array
from tinygraph.nn import functional as F

SAMPLES = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])

# Two matrices that introductions to convolution compute with.
FOUR = np.array([[1.0, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1]])
FIVE = np.array([[3.0, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]])


def slopes(loss: Callable[..., Any], *arrays: Array) -> list[Array]:
    """The gradients of a scalar function by each of its arguments, as the compiled graph computes them."""
    specs = [tg.Spec(a.shape, a.dtype, f"x{i}") for i, a in enumerate(arrays)]
    graph = tg.trace(loss, *specs)
    names = [f"x{i}" for i in range(len(arrays))]
    results = tg.compile(gradients(graph, wrt=names))(*arrays)
    return [results[f"grad.{name}"] for name in names]


def close(actual: Any, wanted: Any, digits: int = 7) -> None:
    """Equal in so many digits after the point."""
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=0.5001 * 10.0**-digits)


# ---- activations -------------------------------------------------------------------------------


def test_sigmoid_tanh_and_relu_at_five_points() -> None:
    close(ops.sigmoid(SAMPLES), [0.1192029, 0.2689414, 0.5, 0.7310586, 0.8807971])
    close(ops.tanh(SAMPLES), [-0.9640276, -0.7615942, 0, 0.7615942, 0.9640276])
    close(ops.relu(SAMPLES), [0, 0, 0, 1, 2])


def test_leaky_relu_of_slope_one_tenth_is_the_larger_of_x_and_a_tenth_of_it() -> None:
    close(ops.leaky_relu(SAMPLES, 0.1), [-0.2, -0.1, 0, 1, 2])
    close(ops.leaky_relu(SAMPLES, 0.1), ops.maximum(0.1 * SAMPLES, SAMPLES))
    close(ops.leaky_relu(SAMPLES), [-0.02, -0.01, 0, 1, 2])
    close(nn.LeakyReLU()(SAMPLES), [-0.02, -0.01, 0, 1, 2])


def test_elu_saturates_at_minus_one() -> None:
    close(ops.elu(SAMPLES, 1.0), [-0.8646647, -0.6321206, 0, 1, 2])
    close(ops.elu(np.array([-50.0])), [-1])


def two_pieces(x: Any, w: Any, b: Any) -> Any:
    """Maxout of two linear pieces: max(w[0] x + b[0], w[1] x + b[1])."""
    return ops.maxout(ops.linear(x, w, b), 2)


@pytest.mark.parametrize(
    ("second", "wanted"), [(0.0, [0.0, 0, 0, 1, 2]), (-1.0, [2.0, 1, 0, 1, 2])], ids=["relu", "absolute value"]
)
def test_maxout_makes_relu_and_the_absolute_value(second: float, wanted: list[float]) -> None:
    w = np.array([[1.0], [second]])
    close(two_pieces(SAMPLES[:, None], w, np.zeros(2))[:, 0], wanted)


def test_maxout_sends_its_gradient_to_the_winning_piece_alone() -> None:
    x, w, b = np.array([[3.0]]), np.array([[1.0], [-2.0]]), np.array([0.5, 1.0])
    dx, dw, db = slopes(lambda x, w, b: ops.sum(two_pieces(x, w, b)), x, w, b)
    close(dx, [[1]])
    close(dw, [[3], [0]])
    close(db, [1, 0])


def test_maxout_is_convex() -> None:
    rng = np.random.default_rng(0)
    w, b = rng.standard_normal((8, 3)), rng.standard_normal(8)
    left, right = rng.standard_normal((2, 100, 3))
    share = rng.random((100, 1))
    between = two_pieces(share * left + (1 - share) * right, w, b)
    assert (between <= share * two_pieces(left, w, b) + (1 - share) * two_pieces(right, w, b) + 1e-12).all()


# ---- softmax and cross-entropy -----------------------------------------------------------------


def test_softmax_of_one_two_three() -> None:
    scores = np.array([1.0, 2, 3])
    close(ops.softmax(scores), [0.0900306, 0.2447285, 0.6652410])
    close(ops.softmax(scores).sum(), 1, digits=15)
    close(ops.softmax(scores + 1000), ops.softmax(scores), digits=12)


def entropy(p: Any, scores: Any) -> Any:
    """H(p, q) = -sum of p log q, with q = softmax(scores)."""
    return -ops.sum(p * ops.log_softmax(scores))


def test_cross_entropy_of_two_distributions() -> None:
    close(ops.cross_entropy(np.array([[1.0, 2, 3]]), np.array([2])), [0.4076060])
    close(entropy(np.array([0, 0, 1.0]), np.array([1.0, 2, 3])), 0.4076060)
    close(entropy(np.array([0.5, 0.5]), np.log([0.25, 0.75])), 0.8369882)


def test_the_loss_takes_labels_and_distributions() -> None:
    close(F.cross_entropy(np.array([[1.0, 2, 3]]), np.array([2])), 0.4076060)
    close(F.cross_entropy(np.array([[1.0, 2, 3]]), np.array([[0, 0, 1.0]])), 0.4076060)
    close(F.cross_entropy(np.log([[0.25, 0.75]]), np.array([[0.5, 0.5]])), 0.8369882)


def test_cross_entropy_is_least_where_the_distributions_agree() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4))
    least = entropy(p, np.log(p))
    assert all(entropy(p, np.log(p) + 0.1 * rng.standard_normal(4)) > least for _ in range(100))


def test_the_slope_of_cross_entropy_is_softmax_less_the_target() -> None:
    scores = np.array([[1.0, 2, 3]])
    (slope,) = slopes(lambda a: ops.sum(ops.cross_entropy(a, np.array([2]))), scores)
    close(slope, [[0.0900306, 0.2447285, -0.3347590]])
    (slope,) = slopes(lambda a: entropy(np.array([0.2, 0.3, 0.5]), a), scores[0])
    close(slope, [-0.1099694, -0.0552715, 0.1652410])


def test_a_classifier_that_knows_nothing_starts_at_the_logarithm_of_the_classes() -> None:
    close(ops.cross_entropy(np.zeros((1, 10)), np.array([3])), [2.302585], digits=6)
    close(ops.cross_entropy(np.zeros((1, 1000)), np.array([3])), [6.907755], digits=6)


# ---- local response normalization --------------------------------------------------------------


def test_local_response_normalization_of_one_to_four() -> None:
    a = np.array([1.0, 2, 3, 4]).reshape(1, 4, 1, 1)
    paper = ops.lrn(a, 5, alpha=1e-4, beta=0.75, k=2.0, alpha_over="one")
    close(paper.ravel(), [0.5942916, 1.1878710, 1.7818065, 2.3758310])
    caffe = ops.lrn(a, 5, alpha=1e-4, beta=0.75, k=1.0)
    close(caffe.ravel(), [0.9997901, 1.9991005, 2.9986507, 3.9982609])


# ---- regularization ----------------------------------------------------------------------------


def test_dropout_keeps_the_expectation() -> None:
    x = np.full(200_000, 3.0)
    y = ops.dropout(x, np.array([1, 2], np.uint64), 0.5, 0)
    assert set(np.unique(y)) == {0.0, 6.0}
    assert abs(y.mean() - 3) < 0.03  # 4.5 standard deviations
    np.testing.assert_array_equal(ops.dropout(x, np.array([1, 2], np.uint64), 0.0, 0), x)


def test_dropout_drops_in_training_only() -> None:
    spec, x = tg.Spec((4, 50)), np.ones((4, 50), np.float32)
    net = nn.Sequential(nn.Dropout(0.5))
    np.testing.assert_array_equal(tg.compile(tg.trace(net, spec))(x), x)
    training = tg.compile(tg.trace(net, spec, mode="training"))
    y = training(x, np.array([1, 2], np.uint64))
    assert 0 < np.count_nonzero(y) < y.size


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [([0.35, 100002342, 234.2, -11313434], 1.012846e16), ([0.13, -0.05, 1.2, 0.45], 1.6619)],
    ids=["overfitted", "ordinary"],
)
def test_overfitted_weights_pay_a_penalty(weights: list[float], wanted: float) -> None:
    np.testing.assert_allclose(F.l2_penalty(np.array(weights)), wanted, rtol=5e-7)


@pytest.mark.parametrize("strength", [0.001, 0.01, 0.1])
def test_the_penalty_pulls_each_weight_by_twice_itself(strength: float) -> None:
    w = np.array([0.13, -0.05, 1.2, 0.45])
    (pull,) = slopes(lambda w: strength * F.l2_penalty(w), w)
    close(pull, strength * np.array([0.26, -0.1, 2.4, 0.9]), digits=12)


# ---- style transfer ----------------------------------------------------------------------------


def content(features: Any, wanted: Any) -> Any:
    """Half the sum of the squared differences of feature maps [maps, positions]."""
    return 0.5 * F.mse_loss(features, wanted, reduction="sum")


def gram(features: Any) -> Any:
    """How the maps go together: the products of each with each, summed over the positions."""
    return ops.matmul(features, ops.transpose(features))


def style(features: Any, wanted: Any) -> Any:
    """Half the sum of the squared differences of the Gram matrices."""
    return 0.5 * F.mse_loss(gram(features), wanted, reduction="sum")


FEATURES, PICTURE, PAINTING = np.array([[1.0, 2], [3, 4]]), np.array([[0.0, 1], [1, 2]]), np.eye(2)


def test_content_loss() -> None:
    assert content(FEATURES, PICTURE) == 5
    (slope,) = slopes(lambda f: content(f, PICTURE), FEATURES)
    np.testing.assert_array_equal(slope, [[1, 1], [2, 2]])


def test_style_loss() -> None:
    np.testing.assert_array_equal(gram(FEATURES), [[5, 11], [11, 25]])
    assert style(FEATURES, PAINTING) == 417
    (slope,) = slopes(lambda f: style(f, PAINTING), FEATURES)
    np.testing.assert_array_equal(slope, [[74, 104], [166, 236]])
    maps, positions = FEATURES.shape
    assert style(FEATURES, PAINTING) * 2 / (4 * maps**2 * positions**2) == 13.03125  # as the paper scales it


def test_style_transfer_weighs_content_against_style() -> None:
    alpha, beta = 2.0, 0.25
    (slope,) = slopes(lambda f: alpha * content(f, PICTURE) + beta * style(f, PAINTING), FEATURES)
    np.testing.assert_array_equal(slope, [[20.5, 28], [45.5, 63]])


# ---- networks ----------------------------------------------------------------------------------


def residual(a: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """Two layers and the skip around them: g(w2 g(w1 a + b1) + b2 + a)."""
    hidden = ops.relu(ops.linear(a, w1, b1))
    return ops.relu(ops.linear(hidden, w2, b2) + a)


def test_a_residual_block_without_weights_is_the_identity_and_lets_gradients_through() -> None:
    a = np.array([[0.5, 1.0, 2.0]])
    nothing = [np.zeros((4, 3)), np.zeros(4), np.zeros((3, 4)), np.zeros(3)]
    np.testing.assert_array_equal(residual(a, *nothing), a)
    np.testing.assert_array_equal(residual(-a, *nothing), 0 * a)
    da, *_ = slopes(lambda *args: ops.sum(residual(*args)), a, *nothing)
    np.testing.assert_array_equal(da, [[1, 1, 1]])


def test_a_network_of_three_layers_and_its_gradients() -> None:
    rng = np.random.default_rng(0)
    inputs, first, second, classes = 5, 4, 6, 3

    def scores(x: Any, w1: Any, w2: Any, w3: Any) -> Any:
        return ops.linear(ops.relu(ops.linear(ops.relu(ops.linear(x, w1)), w2)), w3)

    arrays = [
        rng.standard_normal(shape) for shape in ((9, inputs), (first, inputs), (second, first), (classes, second))
    ]
    assert scores(*arrays).shape == (9, 3)

    def loss(*args: Any) -> Any:
        return ops.sum(ops.cross_entropy(scores(*args), np.arange(9) % 3))

    for position, slope in enumerate(slopes(loss, *arrays)):
        direction = rng.standard_normal(slope.shape)
        moved = [
            [a + (step * direction if i == position else 0) for i, a in enumerate(arrays)] for step in (1e-6, -1e-6)
        ]
        measured = (loss(*moved[0]) - loss(*moved[1])) / 2e-6
        assert abs(measured - np.sum(slope * direction)) < 1e-7
        assert abs(measured) > 1e-3


# ---- pooling -----------------------------------------------------------------------------------


def test_pooling_a_four_by_four_matrix_by_two() -> None:
    x = FOUR[None, None]
    np.testing.assert_array_equal(ops.max_pool(x, 2)[0, 0], [[2, 3], [3, 2]])
    np.testing.assert_array_equal(ops.min_pool(x, 2)[0, 0], [[0, 0], [0, 0]])
    np.testing.assert_array_equal(ops.avg_pool(x, 2)[0, 0], [[1, 2], [2, 1]])


def test_overlapping_maxima_of_a_five_by_five_matrix() -> None:
    pooled = ops.max_pool(FIVE[None, None], 3, stride=1)
    np.testing.assert_array_equal(pooled[0, 0], [[3, 3, 3], [3, 3, 3], [3, 2, 3]])


def test_pooling_halves_the_size_keeps_the_channels_and_has_no_parameters() -> None:
    graph = tg.trace(nn.MaxPool2d(2), tg.Spec((1, 3, 6, 6)))
    assert graph.outputs[0][1].type.shape == (1, 3, 3, 3)
    assert tg.analyze(graph).totals.params == 0


def test_windows_side_by_side_touch_each_element_once() -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 6, 6))
    (once,) = slopes(lambda x: 4 * ops.sum(ops.avg_pool(x, 2)), x)
    np.testing.assert_array_equal(once, np.ones((1, 3, 6, 6)))
    (often,) = slopes(lambda x: 9 * ops.sum(ops.avg_pool(x, 3, stride=1)), x)
    close(often[0, 0, 0], [1, 2, 3, 3, 2, 1], digits=12)
    close(often[0, 0, 2], [3, 6, 9, 9, 6, 3], digits=12)
