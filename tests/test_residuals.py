"""A skip around a convolution: every order and every place it may come from, as it stands and optimized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.sessions import F32, as_dict
from tinygraph import ops
from tinygraph.runtime.evaluate import evaluate

RNG = np.random.default_rng(0)
W, V = (RNG.standard_normal((3, 3, 3, 3)).astype(F32) for _ in range(2))
B = RNG.standard_normal(3).astype(F32)
VECTORS = [RNG.uniform(0.5, 2, 3).astype(F32) for _ in range(4)]


def conv(x: Any, w: Any = W) -> Any:
    return ops.conv2d(x, w, B, padding=1)


def sum_then_relu(x: Any) -> Any:
    return ops.relu(conv(x) + x)


def relu_then_sum(x: Any) -> Any:
    return ops.relu(conv(x)) + x


def skip_of_a_result(x: Any) -> Any:
    y = ops.relu(x)
    return ops.relu(y + conv(y))


def skip_read_again(x: Any) -> Any:
    y = conv(x)
    return ops.relu(conv(y, V) + y) * y


def skip_is_an_output(x: Any) -> Any:
    y = ops.relu(conv(x))
    return {"skip": y, "sum": ops.relu(conv(y, V) + y)}


def sum_is_an_output(x: Any) -> Any:
    y = conv(x) + x
    return {"sum": y, "activated": ops.relu(y)}


def convolution_is_an_output(x: Any) -> Any:
    y = conv(x)
    return {"conv": y, "activated": ops.relu(y), "sum": y + x}


def skip_is_a_view(x: Any) -> Any:
    y = ops.relu(x)
    return ops.relu(conv(y) + ops.transpose(y, (0, 1, 3, 2))) + y


def skip_broadcasts(x: Any) -> Any:
    return ops.relu(conv(x) + ops.mean(x, (2, 3), keepdims=True))


def skip_widens_the_batch(x: Any) -> Any:
    return ops.relu(conv(x[:1]) + x)


def added_to_itself(x: Any) -> Any:
    y = conv(x)
    return ops.relu(y + y)


def input_added_to_itself(x: Any) -> Any:
    return x + x


def two_convolutions(x: Any) -> Any:
    return ops.relu(conv(x) + conv(x, V))


def normalized(x: Any) -> Any:
    return ops.relu(ops.batch_norm(conv(x), *VECTORS) + x)


def normalized_sum(x: Any) -> Any:
    return ops.relu(ops.batch_norm(conv(x) + x, *VECTORS))


SKIPS: list[Callable[[Any], Any]] = [
    sum_then_relu,
    relu_then_sum,
    skip_of_a_result,
    skip_read_again,
    skip_is_an_output,
    sum_is_an_output,
    convolution_is_an_output,
    skip_is_a_view,
    skip_broadcasts,
    skip_widens_the_batch,
    added_to_itself,
    input_added_to_itself,
    two_convolutions,
    normalized,
    normalized_sum,
]


@pytest.mark.parametrize("passes", ["none", "inference"])
@pytest.mark.parametrize("fn", SKIPS)
def test_a_skip_keeps_its_meaning_and_nothing_is_overwritten(fn: Callable[[Any], Any], passes: str) -> None:
    first, second = RNG.standard_normal((2, 2, 3, 6, 6)).astype(F32)
    graph = tg.trace(fn, tg.Spec(first.shape, name="x"))
    wanted = evaluate(graph, {"x": first}, np.float64)
    run = tg.compile(graph, passes=passes)
    kept = first.copy()
    answers = as_dict(run(first))
    run(second)
    np.testing.assert_array_equal(first, kept)
    assert list(answers) == list(wanted)
    for name, answer in answers.items():
        np.testing.assert_allclose(answer, wanted[name], rtol=1e-4, atol=1e-4)


def test_the_order_of_sum_and_activation_matters() -> None:
    x = np.full((1, 3, 6, 6), -5, F32)
    early, late = (tg.compile(fn, tg.Spec(x.shape))(x) for fn in (relu_then_sum, sum_then_relu))
    assert early.min() < -1
    assert late.min() == 0
