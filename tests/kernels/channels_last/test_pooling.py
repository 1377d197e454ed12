"""Pooling with the channels last against the plain kernels of the ops, in float64, over generated windows."""

from __future__ import annotations

from math import prod
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.channels_last.test_im2col import last, within
from tests.kernels.test_convolution import LAYOUTS
from tests.kernels.test_pooling import SPECIAL, counts, numbers, pools
from tinygraph.ir import TensorType
from tinygraph.kernels.channels_last import blocks
from tinygraph.kernels.channels_last.epilogue import PLAIN, Epilogue
from tinygraph.kernels.scratch import Array, allocate
from tinygraph.ops.base import Op
from tinygraph.ops.pool import MaxPool, MinPool
from tinygraph.ops.pool_average import AvgPool

BUDGETS = st.sampled_from([1, 500, 5000, 1 << 20])  # bytes of a block: from one row at a time to everything at once
WORKERS = st.integers(1, 3)


def laid_out(x: Array, layout: str) -> Array:
    """The same numbers, that nobody can write to, in some memory layout."""
    if layout == "transposed":
        x = np.ascontiguousarray(x.T).T
    elif layout == "gaps":
        spread = np.full((*x.shape[:-1], 2 * x.shape[-1]), -1, x.dtype)
        spread[..., ::2] = x
        x = spread[..., ::2]
    x.flags.writeable = False
    return x


def ran(op: Op, budget: int, workers: int, *inputs: Array, constants: Any = (), epilogue: Epilogue = PLAIN) -> Array:
    """What the kernel for channels last makes of maps [N, C, *] and constants, in memory full of NaN.

    A residual is the last of the inputs, if the epilogue has one. The numbers are the same when the kernel is bound
    to the arrays, and where inputs or the output are slices of larger arrays, if the kernel knows such.
    """
    own = inputs[:-1] if epilogue.residual else inputs
    types, known = [TensorType.of(a) for a in (*own, *constants)], [None] * len(own) + list(constants)
    maps = [last(a) for a in inputs]
    arrays = [*maps[: len(own)], *constants, *maps[len(own) :]]
    result = op.infer(*types)
    assert isinstance(result, TensorType)
    n, channels, *sizes = result.dims
    with patch.multiple(blocks, _BLOCK_BYTES=budget, _WORTH_SHARING=1):
        assert op.fits_channels_last(types, known)
        prepared = op.lower_channels_last(types, known, workers, "exact", epilogue)

    def poisoned(shape: tuple[int, ...]) -> Array:
        return np.full(prod(shape) * result.dtype.itemsize, 0xFF, np.uint8).view(result.dtype).reshape(shape)

    def made(given: list[Array], y: Array, nbytes: int) -> Array:
        workspace = allocate(nbytes)
        bound = prepared.bind and prepared.bind(given, [y], workspace)
        for _ in range(2 if bound else 1):
            workspace.fill(0xFF)
            bound() if bound else prepared.run(given, [y], workspace)
        return y

    with np.errstate(all="ignore"):
        y = poisoned((n, *sizes, channels))
        workspace = allocate(prepared.workspace)
        workspace.fill(0xFF)
        prepared.run(arrays, [y], workspace)
        np.testing.assert_array_equal(made(arrays, poisoned(y.shape), prepared.workspace), y)
        if prepared.reads_slices:
            sliced = [within(a) if a.ndim > 1 else a for a in arrays]
            np.testing.assert_array_equal(made(sliced, poisoned(y.shape), prepared.workspace), y)
        if prepared.slice_workspace is not None:
            part = within(poisoned(y.shape))
            np.testing.assert_array_equal(made(arrays, part, prepared.slice_workspace), y)
            assert part.base is not None
            assert (np.delete(part.base, np.s_[2:-1], -1).view(np.uint8) == 0xFF).all()
    return np.moveaxis(y, -1, 1)


@given(pools(), st.booleans(), SPECIAL, LAYOUTS, BUDGETS, WORKERS)
@settings(max_examples=300, deadline=None)
def test_extremes(pool: Any, smallest: bool, special: float | None, layout: str, budget: int, workers: int) -> None:
    attributes, shape = pool
    op = (MinPool if smallest else MaxPool)(**attributes)
    x = numbers(shape, special)
    counts(op, x)
    found = ran(op, budget, workers, laid_out(x, layout))
    np.testing.assert_array_equal(found, op.kernel(x))


@given(pools(), st.booleans(), LAYOUTS, BUDGETS, WORKERS)
@settings(max_examples=150, deadline=None)
def test_averages(pool: Any, include: bool, layout: str, budget: int, workers: int) -> None:
    attributes, shape = pool
    op = AvgPool(**attributes, count_include_pad=include)
    x = numbers(shape, None)
    counts(op, x)
    found = ran(op, budget, workers, laid_out(x, layout))
    np.testing.assert_allclose(found, op.kernel(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float16, np.float32])
def test_extremes_of_other_dtypes(dtype: Any) -> None:
    x = np.random.default_rng(0).integers(-100, 100, (2, 3, 9, 8)).astype(dtype)
    op = MaxPool(kernel_size=(3, 2), stride=(2, 2), padding=((1, 1), (0, 1)), dilation=(1, 1))
    np.testing.assert_array_equal(ran(op, 1, 2, x), op.kernel(x))


def test_a_block_is_some_rows_or_some_images() -> None:
    with patch.multiple(blocks, _BLOCK_BYTES=100):
        rows = blocks.teams(1, 7, 50, 2)
        images = blocks.teams(6, 2, 25, 2)
    assert [[(b.rows.start, b.rows.stop) for b in team] for team in rows] == [[(0, 1), (1, 3)], [(3, 5), (5, 7)]]
    assert [[(b.images.start, b.images.stop) for b in team] for team in images] == [[(0, 1), (1, 3)], [(3, 4), (4, 6)]]


def test_small_maps_are_left_to_one_worker() -> None:
    assert blocks.worth(1000, 4) == 1
    assert blocks.worth(1_000_000, 4) == 4
