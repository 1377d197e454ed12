"""Where a function has no slope or several, what the gradient is: kinks, ties, infinite slopes, whole numbers.

tests/ops/test_arithmetic.py has those of activations at 0, of maximum, minimum and max at ties.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import ops
from tinygraph.autodiff import gradients, vjp_graph
from tinygraph.errors import NotDifferentiable
from tinygraph.runtime.evaluate import evaluate


def pulled(function: Callable[..., Any], x: Any, cotangent: Any = 1.0) -> np.ndarray:
    """The cotangent of x, float64, from that of the function's result."""
    x = np.asarray(x, np.float64)
    graph = vjp_graph(tg.trace(lambda x: function(x), tg.Spec(x.shape, np.float64)), ["x"])
    seed = np.broadcast_to(cotangent, graph.inputs[1].type.dims)
    return evaluate(graph, {"x": x, "cotangent.output": np.asarray(seed, np.float64)})["grad.x"]


def image(*rows: list[float]) -> np.ndarray:
    """One image of one channel."""
    return np.array(rows, np.float64)[None, None]


# ---- windows ----


def test_an_element_that_wins_several_windows_gets_the_sum_of_their_cotangents() -> None:
    x = image([0, 1, 0], [1, 9, 2], [0, 3, 0])
    by_x = pulled(lambda x: ops.max_pool(x, 2, 1), x, image([1, 10], [100, 1000]))
    np.testing.assert_array_equal(by_x, image([0, 0, 0], [0, 1111, 0], [0, 0, 0]))
    by_x = pulled(lambda x: ops.avg_pool(x, 2, 1), x, image([4, 40], [400, 4000]))
    np.testing.assert_array_equal(by_x, image([1, 11, 10], [101, 1111, 1010], [100, 1100, 1000]))


@pytest.mark.parametrize("pool", [ops.max_pool, ops.min_pool])
def test_of_equal_elements_the_first_in_row_major_order_wins(pool: Any) -> None:
    by_x = pulled(lambda x: pool(x, 2), image([7, 7, 5, 7], [7, 7, 5, 7]), image([1, 10]))
    best = image([1, 0, 0, 10], [0, 0, 0, 0]) if pool is ops.max_pool else image([1, 0, 10, 0], [0, 0, 0, 0])
    np.testing.assert_array_equal(by_x, best)
    overlapping = pulled(lambda x: pool(x, 2, 1), image([7, 7, 7], [7, 7, 7]), image([1, 10]))
    np.testing.assert_array_equal(overlapping, image([1, 10, 0], [0, 0, 0]))


def test_padding_never_gets_a_share_of_a_maximum() -> None:
    by_x = pulled(lambda x: ops.max_pool(x, 3, 1, padding=1), image([-np.inf, -np.inf]), image([1, 10]))
    np.testing.assert_array_equal(by_x, image([11, 0]))


def test_maxout_shares_a_tie_evenly() -> None:
    by_x = pulled(lambda x: ops.maxout(x, 3), [[4, 4, 1, 0, 0, 0]], [[6, 9]])
    np.testing.assert_array_equal(by_x, [[3, 3, 0, 3, 3, 3]])


# ---- functions ----


def test_at_a_kink_the_second_derivative_is_that_of_the_side_that_is_taken() -> None:
    for function in (ops.relu, lambda x: ops.leaky_relu(x, 0.5), lambda x: ops.maximum(x, 0), ops.abs):
        slope = gradients(tg.trace(lambda x, f=function: ops.sum(f(x) * x), tg.Spec((1,), np.float64)), wrt=["x"])
        bent = vjp_graph(slope, ["x"], ["grad.x"])
        found = evaluate(bent, {"x": np.zeros(1), "cotangent.grad.x": np.ones(1)})["grad.x.1"]
        assert found.tolist() == [2 * pulled(function, [0.0])[0]]


def test_the_size_of_0_has_the_slope_0() -> None:
    assert pulled(ops.abs, [-2.0, -0.0, 0.0, 3.0]).tolist() == [-1, 0, 0, 1]


def test_the_root_of_0_is_infinitely_steep() -> None:
    assert pulled(ops.sqrt, [0.0, 4.0]).tolist() == [np.inf, 0.25]


def test_a_branch_that_is_not_taken_may_be_infinite() -> None:
    def guarded(x: Any) -> Any:
        positive = ops.compare(x, 0, ">")
        return ops.where(positive, ops.log(ops.where(positive, x, 1)) / ops.where(positive, x, 1), 0)

    assert pulled(guarded, [0.0, 1.0, -3.0]).tolist() == [0, 1, 0]
    mask = np.array([True, False])
    assert pulled(lambda x: ops.where(mask, x, np.inf), [1.0, 1.0], np.inf).tolist() == [np.inf, 0]


# ---- whole numbers ----


@pytest.mark.parametrize(
    ("function", "specs", "name"),
    [
        (ops.cross_entropy, [tg.Spec((2, 3)), tg.Spec((2,), np.int64)], "labels"),
        (lambda x, key: ops.dropout(x, key, 0.5, 0), [tg.Spec((2,)), tg.Spec((2,), np.uint64)], "key"),
        (ops.where, [tg.Spec((2,), bool), tg.Spec((2,)), tg.Spec((2,))], "condition"),
        (lambda x, steps: x + ops.cast(steps, np.float32), [tg.Spec((2,)), tg.Spec((), np.int32)], "steps"),
    ],
    ids=["cross_entropy", "dropout", "where", "cast"],
)
def test_inputs_that_hold_no_floating_numbers_are_refused_by_name(function: Any, specs: Any, name: str) -> None:
    graph = tg.trace(function, *specs)
    with pytest.raises(NotDifferentiable, match=rf"%{name}: .* holds no floating-point numbers"):
        vjp_graph(graph, [name])
    others = [v.name for v in graph.inputs if v.type.dtype.kind == "f"]
    assert [n for n, _ in vjp_graph(graph, others).outputs] == ["output", *(f"grad.{other}" for other in others)]
