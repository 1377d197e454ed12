"""Convolutions with the channels last against the plain tap-by-tap one, in float64, over generated geometries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.test_convolution import BUDGETS, LAYOUTS, WORKERS, attributes, geometries, numbers
from tests.kernels.test_openblas import needs_kernels
from tinygraph.kernels import im2col as channels_first
from tinygraph.kernels import taps
from tinygraph.kernels.channels_last import blocks, im2col, product
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.channels_last.im2col import Im2col
from tinygraph.kernels.channels_last.product import PackedProduct
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.scratch import Array, allocate

EPILOGUES = st.builds(Epilogue, st.booleans(), st.sampled_from([None, 0.0]), st.sampled_from([None, 1.0]))


def last(array: Array) -> Array:
    return np.moveaxis(array, 1, -1)


def finished(y: Array, b: Array | None, residual: Array | None, epilogue: Epilogue) -> Array:
    """What becomes of a convolution's result [N, K, *]."""
    y = y if b is None else y + b.reshape(-1, *[1] * (y.ndim - 2))
    y = y if residual is None else y + residual
    y = y if epilogue.low is None else np.maximum(y, epilogue.low)
    return y if epilogue.high is None else np.minimum(y, epilogue.high)


def ran(routine: Any, g: Geometry, x: Array, b: Array | None, residual: Array | None) -> Array:
    """What a routine computes, [N, K, *out], in memory full of NaN; the second time, if that changes anything."""
    workspace = allocate(routine.workspace)
    given = None if residual is None else np.ascontiguousarray(last(residual))
    made = []
    for _ in range(2):
        workspace.fill(0xFF)
        made.append(np.full((g.batch, *g.out, g.filters), np.nan, g.dtype))
        routine.run(last(x), b, given, made[-1], workspace)
    np.testing.assert_array_equal(*made)
    check_slices(routine, np.ascontiguousarray(last(x)), b, given, made[0])
    return np.moveaxis(made[0], -1, 1)


def check_slices(routine: Any, x: Array, b: Array | None, residual: Array | None, y: Array) -> None:
    """A routine gives the same numbers bit for bit where maps are slices of larger ones, as far as it takes such."""
    wanted, found = np.full_like(y, np.nan), np.full_like(y, np.nan)
    workspace = allocate(routine.workspace)
    routine.run(x, b, residual, wanted, workspace)
    if routine.reads_slices:
        routine.run(within(x), b, None if residual is None else within(residual), found, workspace)
        np.testing.assert_array_equal(found, wanted)
    if routine.slice_workspace is not None:
        found, workspace = within(np.full_like(y, np.nan)), allocate(routine.slice_workspace)
        workspace.fill(0xFF)
        routine.run(x, b, residual, found, workspace)
        np.testing.assert_array_equal(found, wanted)
        assert (np.delete(found.base, np.s_[2:-1], -1).view(np.uint8) == 0xFF).all()


def within(array: Array) -> Array:
    """The array as a slice of the last axis of a larger one; of floats, the rest is NaN."""
    whole = np.empty((*array.shape[:-1], array.shape[-1] + 3), array.dtype)
    whole.view(np.uint8).fill(0xFF)
    whole[..., 2:-1] = array
    return whole[..., 2:-1]


@given(
    geometries() | geometries(pointwise=True) | geometries(dense=True), BUDGETS, WORKERS, LAYOUTS, EPILOGUES, st.data()
)
@settings(max_examples=300, deadline=None)
def test_convolution(g: Geometry, budget: int, workers: int, layout: str, epilogue: Epilogue, data: Any) -> None:
    x = numbers((g.batch, g.channels, *g.sizes), 1, layout)
    w = numbers((g.filters, g.channels // g.groups, *g.kernel), 2)
    b = numbers((g.filters,), 3) if data.draw(st.booleans()) else None
    residual = numbers((g.batch, g.filters, *g.out), 4) if epilogue.residual else None
    few = data.draw(st.sampled_from([0, 1 << 30]))  # workers share the positions, or the filters
    sizes = {"_FEWEST_POSITIONS": 1, "_FEW_POSITIONS": few, "_SMALL_WEIGHT": 0}
    with (
        patch.multiple(im2col, **sizes),
        patch.object(blocks, "_BLOCK_BYTES", budget),
        patch.object(channels_first, "_WORTH_SHARING", 1),
    ):
        found = ran(Im2col(g, workers, w, epilogue), g, x, b, residual)
    wanted = finished(taps.convolve(x, w, **attributes(g)), b, residual, epilogue)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


@needs_kernels
@given(geometries() | geometries(pointwise=True), BUDGETS, WORKERS, LAYOUTS, EPILOGUES, st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_with_a_packed_weight(
    g: Geometry, budget: int, workers: int, layout: str, epilogue: Epilogue, biased: bool, divided: bool
) -> None:
    """In single precision, exact in whole numbers."""
    g = replace(g, dtype=np.dtype(np.float32))
    x = rounded((g.batch, g.channels, *g.sizes), 1, layout)
    w = rounded((g.filters, g.channels // g.groups, *g.kernel), 2)
    b = rounded((g.filters,), 3) if biased else None
    residual = rounded((g.batch, g.filters, *g.out), 4) if epilogue.residual else None
    with (
        patch.multiple(product, _SMALL=0, _SHALLOW=0, _TILE_OF_ROWS=500, _FEWEST_ROWS=3, _FEWEST_FILTERS=1),
        patch.multiple(im2col, _FEWEST_POSITIONS=1, _FEW_IF_PACKED=1 << 30 if divided else 0, _SMALL_WEIGHT=0),
        patch.object(blocks, "_BLOCK_BYTES", budget),
        patch.object(channels_first, "_WORTH_SHARING", 1),
    ):
        routine = Im2col(g, workers, w, epilogue)
        found = ran(routine, g, x, b, residual)
    assert all(isinstance(made, PackedProduct) for made in routine.products) or g.groups > 1
    wanted = finished(taps.convolve(x.astype(np.float64), w, **attributes(g)), b, residual, epilogue)
    np.testing.assert_array_equal(found, wanted)


def rounded(shape: tuple[int, ...], seed: int, layout: str = "contiguous") -> Array:
    """Small whole numbers, in single precision."""
    values = np.round(3 * numbers(shape, seed, layout)).astype(np.float32, order="K")
    if layout == "gaps":
        values = np.repeat(values, 2, -1)[..., ::2]
    values.flags.writeable = False
    return values
