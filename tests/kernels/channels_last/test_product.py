"""Products in parts against plain ones, in float64."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.test_convolution import numbers
from tinygraph.kernels.channels_last import product
from tinygraph.kernels.channels_last.product import GroupedProduct, Product
from tinygraph.kernels.channels_last.program import make
from tinygraph.kernels.scratch import Array

SIZES = st.integers(1, 40)
LIMITS = st.fixed_dictionaries(
    {
        "_SMALL": st.sampled_from([1, 100, 1_000_000]),
        "_TILE": st.sampled_from([8, 64, 1 << 13]),
        "_VECTOR": st.sampled_from([1, 4, 16]),
        "_SHALLOW": st.sampled_from([0, 10, 160]),
        "_FEW_ROWS": st.sampled_from([0, 100]),
        "_FILTERS": st.sampled_from([4, 128]),
    }
)


@given(SIZES, SIZES, st.integers(1, 70), LIMITS, st.booleans())
@settings(max_examples=200, deadline=None)
def test_product(rows: int, depth: int, filters: int, limits: dict[str, int], parts_of_longer_rows: bool) -> None:
    gap = 3 * parts_of_longer_rows
    x, w = numbers((rows, depth + gap), 1)[:, :depth], numbers((depth, filters), 2)
    y = np.full((rows, filters + gap), np.nan)
    with patch.multiple(product, **limits):
        make(Product(w, rows).calls(x, y[:, :filters]))
    np.testing.assert_allclose(y[:, :filters], x @ w, rtol=0, atol=1e-12)
    assert np.isnan(y[:, filters:]).all()


@pytest.mark.parametrize("rows", [10, 1000])
def test_the_depth_may_be_several_axes(rows: int) -> None:
    x, w = numbers((rows, 1000), 1), numbers((3, 5, 40, 5), 2).transpose(3, 1, 2, 0)  # [5, 5, 40, 3]
    y = np.full((rows, 3), np.nan)
    make(Product(w, rows).calls(x, y))
    np.testing.assert_allclose(y, x @ w.reshape(1000, 3), rtol=0, atol=1e-12)


def test_where_rows_are_many_and_deep_the_weight_is_read_as_it_stands() -> None:
    by_filter = numbers((64, 512), 1)
    kept: list[object] = []

    def keep(name: Hashable, make: Callable[[], Array]) -> Array:
        kept.append(name)
        return make()

    assert Product(by_filter.T, 1000, keep).held == 0
    assert Product(by_filter.T, 100, keep).held == by_filter.nbytes
    assert Product(by_filter.T.copy(), 1000, keep).held == by_filter.nbytes
    assert Product(by_filter[:, :64].T, 1000, keep).held == 64 * 64 * 8
    assert kept == [("filters", 64), ("parts", 64, 64)] * 2


@given(st.integers(1, 4), SIZES, SIZES, st.integers(1, 5))
def test_grouped_product(groups: int, rows: int, depth: int, filters: int) -> None:
    x, w = numbers((groups, rows, depth), 1), numbers((groups, depth, filters), 2)
    y = np.full((rows, groups * filters), np.nan)
    make(GroupedProduct(w).calls(x, y))
    np.testing.assert_allclose(y.reshape(rows, groups, filters).swapaxes(0, 1), x @ w, rtol=0, atol=1e-12)
