"""Batch normalization with the channels last against the plain kernel, in float64, over generated shapes."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.channels_last.test_im2col import EPILOGUES, finished
from tests.kernels.channels_last.test_pooling import BUDGETS, WORKERS, ran
from tests.kernels.test_convolution import LAYOUTS, numbers
from tinygraph.ir import TensorType
from tinygraph.kernels.channels_last import epilogue as epilogues
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.scratch import Array
from tinygraph.ops.norm import BatchNorm

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), *[st.integers(1, 9)] * 2)


def statistics(channels: int, shift: float) -> list[Array]:
    """gamma, beta, mean and var."""
    gamma, beta, mean, var = (numbers((channels,), seed) for seed in (5, 6, 7, 8))
    return [gamma, beta, mean + shift, var**2 + 0.1]


@given(SHAPES, st.integers(0, 2), st.sampled_from([0.0, 100.0]), LAYOUTS, EPILOGUES, BUDGETS, WORKERS)
@settings(max_examples=150, deadline=None)
def test_batch_norm(
    shape: tuple[int, ...], axes: int, shift: float, layout: str, epilogue: Epilogue, budget: int, workers: int
) -> None:
    shape = (*shape[: 3 + axes], *[2] * (axes - 1))
    op, x, vectors = BatchNorm(1e-3), numbers(shape, 1, layout), statistics(shape[1], shift)
    residual = numbers(shape, 2, layout) if epilogue.residual else None
    with patch.multiple(epilogues, _ROW=16):  # several to a block
        added = () if residual is None else (residual,)
        found = ran(op, budget, workers, x, *added, constants=vectors, epilogue=epilogue)
    wanted = finished(op.kernel(x, *vectors), None, residual, epilogue)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_numbers(special: float) -> None:
    x = numbers((2, 3, 4, 5), 1).copy()
    x[1, 2, 3, 4] = special
    op, vectors, relu = BatchNorm(), statistics(3, 0.0), Epilogue(low=0.0)
    wanted: Any = np.maximum(op.kernel(x, *vectors), 0)
    np.testing.assert_allclose(ran(op, 1 << 20, 1, x, constants=vectors, epilogue=relu), wanted, rtol=0, atol=1e-12)


def test_statistics_that_are_no_constants_have_no_kernel() -> None:
    x, vectors = numbers((2, 3, 4, 5), 1), statistics(3, 0.0)
    types = [TensorType.of(a) for a in (x, *vectors)]
    assert BatchNorm().fits_channels_last(types, [None, *vectors])
    assert not BatchNorm().fits_channels_last(types, [None, *vectors[:3], None])
