"""nn.functional: PyTorch's names and conventions, on arrays and on tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.nn import functional as F
from tinygraph.runtime.evaluate import evaluate

X = np.arange(1.0, 17.0, dtype=np.float32).reshape(1, 1, 4, 4)
LOGITS = np.log(np.array([[1, 2, 5], [3, 3, 2]], np.float32))  # softmax: an eighth, a quarter, ...
ONE = np.ones((1, 1, 1, 1), np.float32)


def array(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


# function of one array, the array, the expected answer worked out by hand
CASES: list[tuple[str, Callable[[Any], Any], np.ndarray, Any]] = [
    ("conv2d", lambda x: F.conv2d(x, weight=ONE * 2, bias=array(1), stride=2), X, [[[[3, 7], [19, 23]]]]),
    (
        "conv1d",
        lambda x: F.conv1d(x, array(1, 0, -1).reshape(1, 1, 3)),
        array(1, 2, 4, 8).reshape(1, 1, 4),
        [[[-3, -6]]],
    ),
    ("conv3d", lambda x: F.conv3d(x, np.ones((1, 1, 1, 2, 2), np.float32)), X[None, :, :, :2, :2], [[[[[14]]]]]),
    (
        "conv_transpose2d, with groups before dilation",
        lambda x: F.conv_transpose2d(x, np.ones((1, 1, 2, 2), np.float32), None, 1, 0, 0, 1, 2),
        X[:, :, :1, :1],
        [[[[1, 0, 1], [0, 0, 0], [1, 0, 1]]]],
    ),
    (
        "conv_transpose1d",
        lambda x: F.conv_transpose1d(x, array(1, 10).reshape(1, 1, 2), stride=2),
        array(1, 2).reshape(1, 1, 2),
        [[[1, 10, 2, 20]]],
    ),
    (
        "conv_transpose3d",
        lambda x: F.conv_transpose3d(x, np.ones((1, 1, 1, 1, 2), np.float32)),
        ONE[None],
        [[[[[1, 1]]]]],
    ),
    ("linear", lambda x: F.linear(x, weight=array(1, 2).reshape(1, 2), bias=array(5)), array(3, 4), [16]),
    ("max_pool2d", lambda x: F.max_pool2d(x, 2), X, [[[[6, 8], [14, 16]]]]),
    ("max_pool2d, ceil", lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), X, [[[[11, 12], [15, 16]]]]),
    ("max_pool1d", lambda x: F.max_pool1d(x, 2, 1), array(1, 3, 2).reshape(1, 1, 3), [[[3, 3]]]),
    ("max_pool3d", lambda x: F.max_pool3d(x, (1, 4, 4)), X[None], [[[[[16]]]]]),
    ("min_pool2d", lambda x: F.min_pool2d(x, 2), X, [[[[1, 3], [9, 11]]]]),
    ("avg_pool2d", lambda x: F.avg_pool2d(x, 2), X, [[[[3.5, 5.5], [11.5, 13.5]]]]),
    ("avg_pool2d, padded", lambda x: F.avg_pool2d(x, 2, padding=1), X[:, :, :2, :2], [[[[0.25, 0.5], [1.25, 1.5]]]]),
    (
        "avg_pool2d, padding not counted",
        lambda x: F.avg_pool2d(x, 2, padding=1, count_include_pad=False),
        X[:, :, :2, :2],
        [[[[1, 2], [5, 6]]]],
    ),
    ("avg_pool1d", lambda x: F.avg_pool1d(x, 2), array(1, 3).reshape(1, 1, 2), [[[2]]]),
    ("avg_pool3d", lambda x: F.avg_pool3d(x, (1, 4, 4)), X[None], [[[[[8.5]]]]]),
    ("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (1, 2)), X, [[[[7.5, 9.5]]]]),
    (
        "batch_norm, given statistics",
        lambda x: F.batch_norm(x, array(2), array(4), array(3), array(1), eps=0.0),
        array(2, 4, 6).reshape(3, 1),
        [[1], [4], [7]],
    ),
    ("batch_norm, no weights", lambda x: F.batch_norm(x, array(2), array(4), eps=0.0), array(6).reshape(1, 1), [[2]]),
    (
        "batch_norm, own statistics: mean 2.5, variance 1.25",
        lambda x: F.batch_norm(x, None, None, training=True, eps=0.0),
        array(1, 2, 3, 4).reshape(4, 1),
        np.array([[-1.5], [-0.5], [0.5], [1.5]]) / np.sqrt(1.25),
    ),
    (
        "layer_norm, mean 2 and deviation 1 of each row",
        lambda x: F.layer_norm(x, (2,), array(1, 10), array(0, 5), eps=0.0),
        array(1, 3, 7, 5).reshape(2, 2),
        [[-1, 15], [1, -5]],
    ),
    (
        "group_norm, two groups of two channels",
        lambda x: F.group_norm(x, 2, array(1, 1, 1, 10), eps=0.0),
        array(1, 3, 2, 0).reshape(1, 4, 1),
        [[[-1], [1], [1], [-10]]],
    ),
    (
        "instance_norm",
        lambda x: F.instance_norm(x, weight=array(2, 1), eps=0.0),
        array(1, 3, 4, 2).reshape(1, 2, 2),
        [[[-2, 2], [1, -1]]],
    ),
    (
        "instance_norm, given statistics",
        lambda x: F.instance_norm(x, array(2), array(4), use_input_stats=False, eps=0.0),
        array(6, 2).reshape(1, 1, 2),
        [[[2, 0]]],
    ),
    (
        "local_response_norm, alpha divided by the size",
        lambda x: F.local_response_norm(x, 3, alpha=3.0, beta=1.0, k=1.0),
        array(1, 2, 3).reshape(1, 3, 1),
        np.array([1 / 6, 2 / 15, 3 / 14]).reshape(1, 3, 1),
    ),
    ("relu", F.relu, array(-1, 0, 2), [0, 0, 2]),
    ("leaky_relu", lambda x: F.leaky_relu(x, negative_slope=0.1), array(-1, 0, 2), [-0.1, 0, 2]),
    ("leaky_relu, PyTorch's slope", F.leaky_relu, array(-1), [-0.01]),
    ("prelu", lambda x: F.prelu(x, array(0.25)), array(-4, 2), [-1, 2]),
    ("elu", lambda x: F.elu(x, alpha=2.0), array(-1, 2), [2 * np.expm1(-1), 2]),
    ("sigmoid", F.sigmoid, array(0, np.log(3)), [0.5, 0.75]),
    ("tanh", F.tanh, array(0, np.log(3)), [0, 0.8]),
    ("softmax", lambda x: F.softmax(x, dim=1), LOGITS, [[1 / 8, 2 / 8, 5 / 8], [3 / 8, 3 / 8, 2 / 8]]),
    ("softmax over rows", lambda x: F.softmax(x, dim=0), LOGITS, [[1 / 4, 2 / 5, 5 / 7], [3 / 4, 3 / 5, 2 / 7]]),
    ("log_softmax", F.log_softmax, LOGITS, np.log([[1 / 8, 2 / 8, 5 / 8], [3 / 8, 3 / 8, 2 / 8]])),
    ("maxout", lambda x: F.maxout(x, 2), array(1, 5, 4, 3).reshape(1, 4), [[5, 4]]),
    ("cross_entropy", lambda x: F.cross_entropy(x, np.array([1, 2])), LOGITS, np.log(4)),
    (
        "cross_entropy, sum",
        lambda x: F.cross_entropy(x, np.array([1, 2]), reduction="sum"),
        LOGITS,
        2 * np.log(4),
    ),
    (
        "cross_entropy, one by one",
        lambda x: F.cross_entropy(x, np.array([0, 2]), reduction="none"),
        LOGITS,
        np.log([8, 4]),
    ),
    (
        "cross_entropy, mean over what is not ignored",
        lambda x: F.cross_entropy(x, np.array([-100, 0])),
        LOGITS,
        np.log(8 / 3),
    ),
    (
        "cross_entropy, another ignored label",
        lambda x: F.cross_entropy(x, np.array([1, 2], np.uint8), ignore_index=2),
        LOGITS,
        np.log(4),
    ),
    ("mse_loss", lambda x: F.mse_loss(x, array(1, 4)), array(2, 2), 2.5),
    ("mse_loss, sum", lambda x: F.mse_loss(x, array(1, 4), reduction="sum"), array(2, 2), 5),
    ("mse_loss, one by one", lambda x: F.mse_loss(x, array(1, 4), reduction="none"), array(2, 2), [1, 4]),
    ("l1_loss", lambda x: F.l1_loss(x, array(1, 4)), array(2, 2), 1.5),
    ("huber_loss", lambda x: F.huber_loss(x, array(0, 0), delta=2.0), array(1, -5), (0.5 + 8) / 2),
    ("smooth_l1_loss", lambda x: F.smooth_l1_loss(x, array(0, 0), beta=2.0), array(1, -5), (0.25 + 4) / 2),
    (
        "binary_cross_entropy_with_logits, sigmoid makes a half and three quarters",
        lambda x: F.binary_cross_entropy_with_logits(x, array(1, 0), reduction="none"),
        array(0, np.log(3)),
        np.log([2, 4]),
    ),
    ("l2_penalty", lambda x: F.l2_penalty([x, x]), array(1, -2), 10),
    ("accuracy", lambda x: F.accuracy(x, np.array([2, 2])), LOGITS, 0.5),
    ("pad, last axis first", lambda x: F.pad(x, (1, 0, 0, 2)), np.full((1, 1), 7.0), [[0, 7], [0, 0], [0, 0]]),
    ("pad with a number", lambda x: F.pad(x, (1, 1), value=5.0), array(3), [5, 3, 5]),
    ("pad, crop", lambda x: F.pad(x, (-1, 1)), array(1, 2, 3), [2, 3, 0]),
    ("pad, reflect", lambda x: F.pad(x, (2, 1), mode="reflect"), array(1, 2, 3), [3, 2, 1, 2, 3, 2]),
    ("pad, replicate", lambda x: F.pad(x, (2, 1), mode="replicate"), array(1, 2), [1, 1, 1, 2, 2]),
]


@pytest.mark.parametrize(("call", "x", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_arrays_and_tensors(call: Callable[[Any], Any], x: np.ndarray, expected: Any) -> None:
    direct = call(x)
    np.testing.assert_allclose(direct, expected, rtol=1e-5, atol=1e-6)
    assert direct.dtype == x.dtype
    graph = tg.trace(call, tg.Spec(x.shape, x.dtype, name="x"))
    np.testing.assert_allclose(evaluate(graph, {"x": x})["output"], expected, rtol=1e-5, atol=1e-6)


def test_every_function_has_a_case() -> None:
    covered = {name.partition(",")[0].split()[0] for name, *_ in CASES} | {"dropout"}
    own = {name for name in F.__all__ if getattr(F, name).__module__.startswith("tinygraph.nn.")}
    assert own <= covered


def test_every_public_name_exists() -> None:
    assert all(callable(getattr(F, name)) for name in F.__all__)


def test_pad_takes_pairs_for_the_last_axes() -> None:
    with pytest.raises(tg.UsageError, match=r"pad=\(1, 2, 3\) must be \(front, behind\) pairs, for at most 4 axes"):
        F.pad(X, (1, 2, 3))
    with pytest.raises(tg.UsageError, match="pairs"):
        F.pad(array(1), (1, 1, 1, 1))
    with pytest.raises(tg.UsageError, match="'constant', 'reflect', 'replicate'"):
        F.pad(X, (1, 1), mode="edge")  # type: ignore[arg-type]  # the wrong name is the point


def test_unknown_reductions_are_refused() -> None:
    with pytest.raises(tg.UsageError, match="choose 'mean', 'sum' or 'none'"):
        F.cross_entropy(LOGITS, np.array([0, 1]), reduction="max")  # type: ignore[arg-type]
    with pytest.raises(tg.UsageError, match="choose 'mean', 'sum' or 'none'"):
        F.mse_loss(X, X, reduction="")  # type: ignore[arg-type]


def test_mse_loss_does_not_broadcast() -> None:
    with pytest.raises(tg.ShapeError, match="one shape"):
        F.mse_loss(np.ones((3, 1)), np.ones(3))


def test_batch_norm_without_statistics_says_what_to_give() -> None:
    with pytest.raises(tg.UsageError, match="training=True"):
        F.batch_norm(X, None, None)


KEY = np.array([1, 2], np.uint64)


def test_dropout_of_an_array_wants_a_key() -> None:
    x = np.ones(1000, np.float32)
    assert F.dropout(x) is x  # no trace trains
    assert F.dropout(x, training=False, key=KEY) is x
    assert F.dropout(x, 0.0, training=True) is x
    with pytest.raises(tg.UsageError, match="key="):
        F.dropout(x, training=True)
    y = F.dropout(x, 0.25, training=True, key=KEY)
    assert np.array_equal(y, F.dropout(x, 0.25, training=True, key=KEY))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert 0.2 < (y == 0).mean() < 0.3


def test_dropouts_of_one_graph_draw_masks_of_their_own() -> None:
    def net(x: Any) -> Any:
        return F.dropout(x), F.dropout(x)

    graph = tg.trace(net, tg.Spec((1000,)), mode="training")
    assert [v.name for v in graph.inputs] == ["x", "random_key"]
    first, second = evaluate(graph, {"x": np.ones(1000, np.float32), "random_key": KEY}).values()
    assert not np.array_equal(first, second)
    assert not tg.trace(net, tg.Spec((1000,))).nodes  # nothing in inference
