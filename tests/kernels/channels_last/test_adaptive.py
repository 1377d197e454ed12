"""Means over windows of any sizes with the channels last against the plain kernel, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.channels_last.test_pooling import ran
from tests.kernels.test_convolution import LAYOUTS, numbers
from tinygraph.kernels.scratch import Array
from tinygraph.ops.pool_adaptive import AdaptiveAvgPool

AXES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3)  # sizes and windows


@given(st.integers(1, 3), st.integers(1, 4), AXES, st.booleans(), LAYOUTS)
@settings(max_examples=150, deadline=None)
def test_means(samples: int, channels: int, axes: list[tuple[int, int]], whole: bool, layout: str) -> None:
    sizes, counts = zip(*axes, strict=True)
    op = AdaptiveAvgPool((1,) * len(counts) if whole else counts)
    x = numbers((samples, channels, *sizes), 1, layout)
    np.testing.assert_allclose(ran(op, 1 << 20, 1, x), op.kernel(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_special_numbers_stay_in_their_windows(special: float) -> None:
    x: Array = numbers((1, 2, 7, 5), 1).copy()
    x[0, 1, 2, 3] = special
    op = AdaptiveAvgPool((3, 2))
    np.testing.assert_allclose(ran(op, 1 << 20, 1, x), op.kernel(x), rtol=0, atol=1e-12)


def test_large_maps_keep_their_digits() -> None:
    x = np.random.default_rng(0).random((1, 4, 150, 140), np.float32)
    wanted = x.mean((2, 3), np.float64, keepdims=True)
    np.testing.assert_allclose(ran(AdaptiveAvgPool((1, 1)), 1 << 20, 1, x), wanted, rtol=4e-7)
