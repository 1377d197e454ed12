"""Products in parts against plain ones, in float64."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.test_convolution import numbers
from tests.kernels.test_openblas import needs_kernels, room, whole
from tinygraph.kernels.channels_last import product
from tinygraph.kernels.channels_last.epilogue import Epilogue, Finisher
from tinygraph.kernels.channels_last.product import GroupedProduct, PackedProduct, Product, finished, prepared
from tinygraph.kernels.channels_last.program import make
from tinygraph.kernels.openblas import kernels
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


PARTS = st.fixed_dictionaries(
    {"_DEEP": st.sampled_from([1, 7, 512]), "_PART": st.sampled_from([1, 100, 1 << 17]), "_FEWEST_ROWS": st.just(5)}
)


@needs_kernels
@given(st.integers(1, 3), SIZES, SIZES, st.integers(1, 70), PARTS, st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_packed_product(stack: int, rows: int, depth: int, filters: int, parts: dict[str, int], workers: int) -> None:
    found = kernels()
    assert found is not None
    x, w, y = (
        np.stack([whole(*shape, seed, "rows") for seed in range(stack)])
        for shape in ((rows, depth), (depth, filters), (rows, filters))
    )
    expected = y + x @ w
    with patch.multiple(product, **parts):
        packed = PackedProduct(found, (stack, depth, filters), lambda: w, rows, workers)
        make(packed.stacked(x, y, room(packed.scratch)))
    np.testing.assert_array_equal(y, expected)
    assert packed.held == w.nbytes


@needs_kernels
@given(
    SIZES,
    SIZES,
    st.integers(16, 70),
    st.sampled_from(["rows", "columns", "gaps"]),
    st.builds(Epilogue, st.booleans(), st.sampled_from([None, 0.0]), st.sampled_from([None, 6.0])),
    st.booleans(),
    st.integers(1, 1 << 13),
)
@settings(max_examples=200, deadline=None)
def test_finished(rows: int, depth: int, filters: int, order: str, epilogue: Epilogue, biased: bool, tile: int) -> None:
    """Exact in whole numbers: a packed product with all that is done to it, a tile at a time, and one of NumPy's."""
    x, w, residual = whole(rows, depth, 1, order), whole(depth, filters, 2, order), whole(rows, filters, 3, "rows")
    bias = whole(1, filters, 4, "rows")[0].copy() if biased else None
    expected = x @ w + (bias if bias is not None else 0) + (residual if epilogue.residual else 0)
    expected = expected if epilogue.low is None else np.maximum(expected, epilogue.low)
    expected = expected if epilogue.high is None else np.minimum(expected, epilogue.high)
    finisher = Finisher(epilogue, filters, np.dtype(np.float32))
    with patch.multiple(product, _SMALL=0, _SHALLOW=0, _TILE_OF_ROWS=tile, _FEWEST_ROWS=1):
        found = prepared(w, rows, 2)
    assert isinstance(found, PackedProduct)
    for way in found, Product(w, rows):
        y = np.full((rows, filters + 3), np.nan, np.float32)
        added = residual if epilogue.residual else None
        make(finished(way, finisher, x, y[:, :filters], bias, added, room(way.scratch)))
        np.testing.assert_array_equal(y[:, :filters], expected)
        assert np.isnan(y[:, filters:]).all()


@needs_kernels
def test_what_is_packed_beforehand() -> None:
    def kind(rows: int, depth: int, filters: int, dtype: type = np.float32) -> type:
        return type(prepared(np.zeros((depth, filters), dtype), rows, 1))

    assert kind(49, 512, 2048) is kind(3136, 256, 64) is PackedProduct
    assert kind(49, 512, 2048, np.float64) is kind(3136, 64, 256) is kind(4, 256, 256) is Product
    assert kind(3136, 512, 15) is Product
