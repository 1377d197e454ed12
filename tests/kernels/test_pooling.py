"""Blocked pooling routines against the plain kernels of their ops, over generated windows."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tinygraph.errors import ShapeError
from tinygraph.ir import TensorType
from tinygraph.kernels import pooling
from tinygraph.kernels.scratch import Array
from tinygraph.ops.pool import MaxPool, MinPool, Pool
from tinygraph.ops.pool_average import AvgPool, AvgPoolGrad
from tinygraph.ops.pool_grad import ExtremeGrad

BUDGETS = st.sampled_from([1, 200, 1 << 20])  # bytes of a block
WORKERS = st.integers(1, 3)


@st.composite
def pools(draw: Any) -> tuple[dict[str, Any], tuple[int, ...]]:
    """The attributes of a pool, and the shape of what it pools."""
    axes = draw(st.integers(1, 3))

    def per_axis(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    found = {
        "kernel_size": per_axis(1, 4),
        "stride": per_axis(1, 4),
        "padding": tuple(zip(per_axis(0, 2), per_axis(0, 2), strict=True)),
        "dilation": per_axis(1, 3),
        "ceil_mode": draw(st.booleans()),
    }
    return found, (draw(st.integers(1, 3)), draw(st.integers(1, 3)), *per_axis(1, 9))


def counts(pool: Pool, x: Array) -> tuple[int, ...]:
    try:
        return pool.pooled(TensorType.of(x)).dims
    except ShapeError:
        assume(False)
        raise


def numbers(shape: tuple[int, ...], special: float | None) -> Array:
    """Few different numbers, so that there are ties; and a special one here and there."""
    rng = np.random.default_rng(0)
    x = np.round(rng.standard_normal(shape) * 2)
    if special is not None:
        x[rng.random(shape) < 0.1] = special
    return x


def check(op: Any, budget: int, workers: int, *inputs: Array) -> None:
    types = [TensorType.of(a) for a in inputs]
    with patch.multiple(pooling, _BLOCK=budget), np.errstate(all="ignore"):
        prepared = op.lower(types, [None] * len(types), workers)
        y = np.full(op.infer(*types).dims, np.nan)
        prepared.run(inputs, [y], np.full(prepared.workspace, 0xFF, np.uint8))
        np.testing.assert_allclose(y, op.kernel(*inputs), rtol=0, atol=1e-12)


SPECIAL = st.sampled_from([None, None, None, np.nan, np.inf, -np.inf])


@given(pools(), st.booleans(), SPECIAL, BUDGETS, WORKERS)
@settings(max_examples=150, deadline=None)
def test_extremes(pool: Any, smallest: bool, special: float | None, budget: int, workers: int) -> None:
    attributes, shape = pool
    op = (MinPool if smallest else MaxPool)(**attributes)
    x = numbers(shape, special)
    counts(op, x)
    check(op, budget, workers, x)


@given(pools(), st.booleans(), SPECIAL, SPECIAL, BUDGETS, WORKERS)
@settings(max_examples=300, deadline=None)
def test_gradient_of_extremes(
    pool: Any, smallest: bool, special: float | None, slope: float | None, budget: int, workers: int
) -> None:
    attributes, shape = pool
    op = ExtremeGrad(**attributes, smallest=smallest)
    x = numbers(shape, special)
    check(op, budget, workers, x, numbers(counts(op, x), slope))


@given(pools(), st.booleans(), BUDGETS, WORKERS)
@settings(max_examples=100, deadline=None)
def test_averages_and_their_gradient(pool: Any, include: bool, budget: int, workers: int) -> None:
    attributes, shape = pool
    op = AvgPool(**attributes, count_include_pad=include)
    x = numbers(shape, None)
    g = numbers(counts(op, x), None)
    check(op, budget, workers, x)
    with patch("tinygraph.kernels.pool_spread._WORTH_SHARING", 1):
        check(AvgPoolGrad(**attributes, count_include_pad=include, size=shape[2:]), budget, workers, g)
