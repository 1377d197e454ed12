"""Functions of elementwise.py, arithmetic.py and reduce.py where no row looks: corners and errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.ops.checks import execute
from tinygraph import ops
from tinygraph.autodiff import vjp_graph
from tinygraph.errors import ShapeError
from tinygraph.ops.clip import Clip


def gradients(function: Any, *arrays: Any, cotangent: Any = 1.0) -> list[Any]:
    """The vjp of a function of float64 arrays, with the same cotangent everywhere."""
    arrays = tuple(np.asarray(a, np.float64) for a in arrays)
    graph = tg.trace(lambda *xs: function(*xs), *(tg.Spec(a.shape, np.float64, f"x{i}") for i, a in enumerate(arrays)))
    slopes = vjp_graph(graph, [f"x{i}" for i in range(len(arrays))])
    seeds = [np.full(v.type.dims, cotangent) for v in slopes.inputs[len(arrays) :]]
    return [g.tolist() for g in execute(slopes, [*arrays, *seeds])[-len(arrays) :]]


# ---- gradients at kinks and ties ----


def test_the_derivative_of_relu_at_0_is_0() -> None:
    assert gradients(ops.relu, [-1.0, -0.0, 0.0, 2.0]) == [[0, 0, 0, 1]]
    assert gradients(ops.relu, [-1.0, 0.0], cotangent=np.inf) == [[0, 0]]


def test_other_activations_at_0() -> None:
    assert gradients(lambda x: ops.leaky_relu(x, 0.25), [-1.0, 0.0, 2.0]) == [[0.25, 0.25, 1]]
    assert gradients(lambda x: ops.elu(x, 0.5), [0.0, 2.0]) == [[0.5, 1]]
    assert gradients(ops.prelu, [-3.0, 0.0, 2.0], [0.25]) == [[0.25, 0.25, 1], [-3]]


def test_the_derivative_of_clip_at_its_bounds_is_0() -> None:
    assert gradients(lambda x: ops.clip(x, 0, 6), [-1.0, 0.0, 3.0, 6.0, 7.0]) == [[0, 0, 1, 0, 0]]
    assert gradients(lambda x: ops.clip(x, 2, 1), [0.0, 1.0, 1.5, 3.0]) == [[0, 0, 0, 0]]
    assert gradients(ops.hard_sigmoid, [-3.0, 0.0, 3.0]) == [[0, 1 / 6, 0]]
    assert gradients(ops.hard_swish, [-4.0, -3.0, 0.0, 3.0, 4.0]) == [[0, 0, 0.5, 1, 1]]


def test_powers_of_0_and_to_0_have_finite_gradients() -> None:
    assert gradients(ops.pow, [0.0, 0.0, 0.0, -2.0], [0.0, 1.0, 2.0, 0.0])[0] == [0, 1, 0, 0]
    assert gradients(ops.pow, [0.0, 0.0, 1.0], [1.0, 2.0, 3.0])[1] == [0, 0, 0]
    assert gradients(lambda x: ops.pow(x, np.array([2, 3])), [-3.0, -2.0]) == [[-6, 12]]


def test_maximum_and_minimum_split_ties_in_half() -> None:
    assert gradients(ops.maximum, [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]) == [[0, 0.5, 1], [1, 0.5, 0]]
    assert gradients(ops.minimum, [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]) == [[1, 0.5, 0], [0, 0.5, 1]]


def test_max_splits_its_gradient_evenly_among_ties() -> None:
    assert gradients(lambda x: ops.max(x, 1), [[1.0, 3.0, 3.0], [2.0, 1.0, 0.0]]) == [[[0, 0.5, 0.5], [1, 0, 0]]]
    assert gradients(ops.max, [[-0.0, 0.0]], cotangent=4.0) == [[[2, 2]]]


def test_the_branch_that_where_does_not_take_may_be_infinitely_steep() -> None:
    def safe_root(x: Any) -> Any:
        positive = ops.compare(x, 0, ">")
        return ops.where(positive, ops.sqrt(ops.where(positive, x, 1)), 0)

    assert gradients(safe_root, [0.0, 4.0]) == [[0, 0.25]]
    choice = gradients(lambda a, b: ops.where(np.array([True, False]), a, b), [1, 1], [2, 2], cotangent=np.inf)
    assert choice == [[np.inf, 0], [0, np.inf]]


def test_elu_of_huge_numbers_has_a_second_derivative() -> None:
    graph = tg.trace(lambda x: ops.elu(x), tg.Spec((3,), np.float64, "x"))
    second = vjp_graph(vjp_graph(graph, ["x"]), ["x"], ["grad.x"])
    result = execute(second, [np.array([np.inf, 1e300, -1e300]), np.ones(3), np.ones(3)])[-1]
    assert result.tolist() == [0, 0, 0]


def test_the_mean_over_an_open_batch_has_a_gradient() -> None:
    graph = tg.trace(lambda x: ops.mean(x), tg.Spec(("N", 3), np.float64, "x"))
    slopes = vjp_graph(graph, ["x"])
    for n in (1, 4):
        gradient = execute(slopes.bind(N=n), [np.zeros((n, 3)), np.array(6.0)])[-1]
        np.testing.assert_allclose(gradient, np.full((n, 3), 2.0 / n))


# ---- numbers ----


def test_sigmoid_never_overflows() -> None:
    with np.errstate(over="raise", invalid="raise"):
        y = ops.sigmoid(np.array([-1e4, -40.0, 0.0, 40.0, 1e4]))
    assert y[[0, 2, 4]].tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(y[1], np.exp(-40.0), rtol=1e-15)


def test_plain_numbers_take_the_dtype_of_the_tensor() -> None:
    for dtype in (np.float32, np.float64):
        x = np.ones(3, dtype)
        for y in (ops.add(x, 1), ops.mul(2.0, x), ops.maximum(x, 0), ops.where(x > 0, x, 0), ops.div(1, x)):
            assert y.dtype == dtype
    graph = tg.trace(lambda x: 1 - x * np.float64(2) + np.ones(3), tg.Spec((3,)))
    assert [v.type for _, v in graph.outputs] == [tg.TensorType((3,))]


def test_numpy_numbers_give_their_dtype_where_there_is_no_array() -> None:
    assert ops.add(np.float32(1), 2).dtype == np.float32


@pytest.mark.parametrize("number", [300, -1, np.int64(256), np.array([1, 300])])
def test_whole_numbers_that_do_not_fit_are_refused_and_never_wrapped(number: Any) -> None:
    for function in (ops.add, ops.maximum, lambda a, b: ops.compare(a, b, "<")):
        with pytest.raises(ShapeError, match="does not fit uint8; cast"):
            tg.trace(lambda x, f=function: f(x, number), tg.Spec((2,), np.uint8))


@pytest.mark.parametrize(("dtype", "units"), [(np.float32, 7), (np.float64, 4)])
def test_erf_is_right_to_a_few_units_in_the_last_place(dtype: Any, units: int) -> None:
    x = np.concatenate([np.linspace(-7, 7, 20001), np.geomspace(1e-30, 7, 1001)]).astype(dtype)
    wanted = np.array([math.erf(v) for v in x])
    y = ops.erf(x)
    assert np.all(np.abs(y - wanted) <= units * np.spacing(np.abs(wanted).astype(dtype)))
    assert np.abs(y).max() == 1


def test_half_precision_is_computed_in_single() -> None:
    x = np.linspace(-4, 4, 81).astype(np.float16)
    for function in (ops.erf, ops.gelu):
        y = function(x)
        assert y.dtype == np.float16
        np.testing.assert_allclose(y, function(x.astype(np.float64)), rtol=2e-3, atol=2e-3)


def test_clip_of_half_precision_takes_bounds_that_it_cannot_hold() -> None:
    x = np.array([-np.inf, -2, 65504, np.inf], np.float16)
    assert ops.clip(x, -3.4e38, 3.4e38).tolist() == x.tolist()


def test_powers_have_the_dtype_of_the_base() -> None:
    for base in (np.int8, np.int64, np.float16, np.float32, np.float64):
        for exponent in (np.uint8, np.int64, np.float16, np.float64):
            y = ops.pow(np.array([1, 2, 3], base), np.array([0, 2, 4], exponent))
            assert y.dtype == base
            assert y.tolist() == [1, 4, 81]


def test_shifts_of_signed_numbers_keep_the_sign_to_the_right() -> None:
    a, b = np.array([-128, -1, 77, -77, 77, -77, 1], np.int8), np.array([1, 7, 3, 3, 8, -1, 7], np.int8)
    assert ops.bit_shift(a, b, "right").tolist() == [-64, -1, 9, -10, 0, -1, 0]
    assert ops.bit_shift(a, b, "left").tolist() == [0, -128, 104, -104, 0, 0, -128]


def test_integers_divide_towards_zero_in_graphs_of_onnx_only() -> None:
    a, b = np.array([7, -7]), np.array([2, 2])
    assert ops.base.apply(ops.base.OPS["div"](), a, b).tolist() == [3, -3]
    with pytest.raises(ShapeError, match="floating-point"):
        ops.div(a, b)


# ---- errors ----


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: ops.add(np.ones((2, 3)), np.ones(2)), r"\[2,3\] and \[2\] do not broadcast: 3 against 2"),
        (lambda: ops.add(np.ones(2, np.float32), np.ones(2, np.float64)), "dtypes differ: float32, float64; cast"),
        (lambda: ops.add(np.array([True]), np.array([True])), "wants numbers, got bool"),
        (lambda: ops.mul(np.ones(2, np.int64), 0.5), "dtypes differ"),
        (lambda: ops.neg(np.ones(2, np.uint8)), "wants signed numbers, got uint8"),
        (lambda: ops.exp(np.ones(2, np.int64)), "wants floating-point inputs, got int64"),
        (lambda: ops.compare(np.ones(2), 0, "=>"), "'=>' is not a relation: give one of < <= > >= == !="),
        (lambda: ops.where(np.ones(2), np.ones(2), 0), "the condition must be bool, got float64"),
        (lambda: ops.prelu(np.ones((2, 3)), np.ones(2)), r"wants a weight of shape \[1\] or \[3\]"),
        (lambda: ops.prelu(np.ones(()), np.ones(1)), "at least one dimension"),
        (lambda: ops.clip(np.ones(2, np.int8), 0.5), "the bound 0.5 is no int8"),
        (lambda: ops.clip(np.ones(2, np.int8), high=200), "the bound 200 is no int8"),
        (lambda: ops.base.apply(Clip(), np.ones(2)), "wants a bound: give low, high or both"),
        (lambda: ops.clip(np.array([True]), 0), "wants numbers, got bool"),
        (lambda: ops.gelu(np.ones(2), "erf"), "approximate must be 'none' or 'tanh', got 'erf'"),
        (lambda: ops.celu(np.ones(2), 0), "alpha must not be 0"),
        (lambda: ops.pow(np.array([True]), np.ones(1)), "wants numbers, got bool"),
        (lambda: ops.is_nan(np.ones(2, np.int64)), "wants floating-point inputs, got int64"),
        (lambda: ops.logical_and(np.ones(2), np.ones(2)), "wants booleans, got float64; compare"),
        (lambda: ops.bitwise_or(np.ones(2), np.ones(2)), "wants integers, got float64"),
        (lambda: ops.bit_shift(np.ones(2, np.int8), 1, "up"), "the direction must be 'left' or 'right', got 'up'"),
        (lambda: ops.bit_cast(np.ones(2), np.float32), "float64 and float32 have different numbers of bits"),
        (lambda: ops.bit_cast(np.ones(2), "floaty"), "'floaty' is not a dtype"),
        (lambda: ops.cast(np.ones(2), "floaty"), "'floaty' is not a dtype"),
        (lambda: ops.sum(np.ones((2, 3)), 2), "there is no axis 2 in 2 dimensions"),
        (lambda: ops.sum(np.ones((2, 3)), (0, -2)), "not rising and different"),
        (lambda: ops.max(np.ones((2, 0)), 1), "no largest of no numbers"),
        (lambda: ops.sum(np.array([True])), "wants numbers, got bool"),
        (lambda: ops.mean(np.ones(2, np.int64)), "wants floating-point inputs"),
    ],
)
def test_errors_say_what_is_wrong(attempt: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        attempt()


def test_two_open_dimensions_do_not_broadcast() -> None:
    with pytest.raises(ShapeError, match=r"\[N\] and \[M\] do not broadcast: N against M"):
        tg.trace(lambda a, b: a + b, tg.Spec(("N",)), tg.Spec(("M",)))
    with pytest.raises(ShapeError, match="N against 2"):
        tg.trace(lambda a: a + np.ones(2), tg.Spec(("N",)))
    graph = tg.trace(lambda a: a + np.ones((4, 1)), tg.Spec(("N",)))
    assert str(graph.outputs[0][1].type) == "f32[4,N]"
