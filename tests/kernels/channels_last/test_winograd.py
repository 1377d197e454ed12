"""Winograd's convolution against the plain tap-by-tap one, in float64, over generated geometries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.channels_last.test_im2col import EPILOGUES, finished, ran
from tests.kernels.test_convolution import LAYOUTS, numbers
from tests.kernels.test_openblas import needs_kernels
from tinygraph.kernels import im2col, taps
from tinygraph.kernels.channels_last import product, winograd
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.channels_last.im2col import Im2col
from tinygraph.kernels.channels_last.product import PackedProduct
from tinygraph.kernels.channels_last.winograd import Winograd, matrices, pays
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.scratch import Array, allocate

TILES = st.sampled_from([2, 4])
BUDGETS = st.sampled_from([1, 20_000, 1 << 20])  # bytes of a band: from one row of tiles to everything at once


def plain(
    batch: int,
    channels: int,
    filters: int,
    sizes: tuple[int, int],
    padding: tuple[tuple[int, int], ...] = ((1, 1), (1, 1)),
    dtype: Any = np.float64,
) -> Geometry:
    """A convolution of the kind that Winograd's is for."""
    wide = [n + front + behind for n, (front, behind) in zip(sizes, padding, strict=True)]
    out = taps.counts(wide, (3, 3), (1, 1), (1, 1))
    return Geometry(batch, channels, filters, sizes, out, (3, 3), (1, 1), padding, (1, 1), 1, np.dtype(dtype))


@st.composite
def geometries(draw: Any) -> Geometry:
    fronts, behinds = ([draw(st.integers(0, 3)) for _ in range(2)] for _ in range(2))
    least = [max(3 - front - behind, 1) for front, behind in zip(fronts, behinds, strict=True)]
    height, width = (n + draw(st.integers(0, 11)) for n in least)
    channels, filters = draw(st.integers(1, 5)), draw(st.sampled_from([1, 3, 7, 33, 70]))
    return plain(draw(st.integers(1, 3)), channels, filters, (height, width), tuple(zip(fronts, behinds, strict=True)))


def arrays(g: Geometry, layout: str = "contiguous") -> tuple[Array, Array, Array]:
    """An input, a weight and a bias."""
    x = numbers((g.batch, g.channels, *g.sizes), 1, layout)
    return x, numbers((g.filters, g.channels, 3, 3), 2), numbers((g.filters,), 3)


def convolved(g: Geometry, x: Array, w: Array) -> Array:
    return taps.convolve(x, w, g.stride, g.padding, g.dilation, g.groups)


@given(geometries(), TILES, BUDGETS, st.integers(1, 2), st.booleans(), LAYOUTS, EPILOGUES, st.booleans())
@settings(max_examples=200, deadline=None)
def test_winograd(
    g: Geometry, tile: int, budget: int, workers: int, divided: bool, layout: str, epilogue: Epilogue, biased: bool
) -> None:
    x, w, b = arrays(g, layout)
    bias = b if biased else None
    residual = numbers((g.batch, g.filters, *g.out), 4) if epilogue.residual else None
    sizes = {"_BAND_BYTES": budget, "_WEIGHTS_OF_BAND": 1 << 30, "_LARGE_WEIGHT": 0 if divided else 1 << 30}
    with patch.multiple(winograd, _UNPACKED=100, **sizes), patch.object(im2col, "_WORTH_SHARING", 1):
        found = ran(Winograd(g, workers, w, tile, epilogue), g, x, bias, residual)
    wanted = finished(convolved(g, x, w), bias, residual, epilogue)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)


@needs_kernels
@given(geometries(), TILES, BUDGETS, st.integers(1, 2), st.booleans(), LAYOUTS, EPILOGUES, st.booleans())
@settings(max_examples=100, deadline=None)
def test_with_a_packed_weight(
    g: Geometry, tile: int, budget: int, workers: int, divided: bool, layout: str, epilogue: Epilogue, biased: bool
) -> None:
    g = replace(g, dtype=np.dtype(np.float32))
    x, w, b = (a.astype(np.float32, order="K") for a in arrays(g, layout))
    bias = b if biased else None
    residual = numbers((g.batch, g.filters, *g.out), 4).astype(np.float32) if epilogue.residual else None
    sizes = {"_BAND_BYTES": budget, "_WEIGHTS_OF_BAND": 1 << 30, "_LARGE_WEIGHT": 0 if divided else 1 << 30}
    with (
        patch.multiple(winograd, **sizes),
        patch.multiple(product, _SMALL=0, _DEEP=3),
        patch.object(im2col, "_WORTH_SHARING", 1),
    ):
        routine = Winograd(g, workers, w, tile, epilogue)
        found = ran(routine, g, x, bias, residual)
    assert all(isinstance(made, PackedProduct) for made in routine.weights)
    wanted = finished(convolved(g, x.astype(np.float64), w.astype(np.float64)), bias, residual, epilogue)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-4)


@pytest.mark.parametrize("divided", [False, True])
def test_two_workers_divide_rows_or_filters(divided: bool) -> None:
    g = plain(1, 2, 64, (16, 16))
    x, w, b = arrays(g)
    with patch.multiple(winograd, _LARGE_WEIGHT=0 if divided else 1 << 30), patch.object(im2col, "_WORTH_SHARING", 1):
        routine = Winograd(g, 2, w)
    assert (routine.divided, len(routine.teams), len(routine.filters)) == ((True, 1, 2) if divided else (False, 2, 1))
    wanted = finished(convolved(g, x, w), b, None, Epilogue())
    np.testing.assert_allclose(ran(routine, g, x, b, None), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("tile", "factor"), [(2, 3), (4, 12)])
@pytest.mark.parametrize("channels", [16, 64, 256])
def test_error_in_single_precision(tile: int, factor: int, channels: int) -> None:
    """Root of the mean square: at most `factor` times im2col's; see the table of the module."""
    g = plain(1, channels, 40, (19, 18), dtype=np.float32)
    x, w, b = (a.astype(np.float32) for a in arrays(g))
    wanted = finished(convolved(g, x.astype(np.float64), w.astype(np.float64)), b.astype(np.float64), None, Epilogue())

    def error(routine: Any) -> float:
        return float(np.sqrt(np.mean((ran(routine, g, x, b, None) - wanted) ** 2)))

    assert error(Winograd(g, 2, w, tile)) <= factor * error(Im2col(g, 2, w))


@pytest.mark.parametrize("tile", [2, 4])
def test_views_of_scratch_memory_are_made_once(tile: int) -> None:
    g = plain(2, 3, 5, (11, 9), ((2, 1), (0, 3)))
    x, w, b = arrays(g)
    routine, y = Winograd(g, 2, w, tile), np.empty((g.batch, *g.out, g.filters))
    workspace = allocate(routine.workspace)
    routine.run(np.moveaxis(x, 1, -1), b, None, y, workspace)
    steps = routine.bound(workspace)
    routine.run(np.moveaxis(-x, 1, -1), b, None, y, workspace)
    assert routine.bound(workspace) is steps


def test_the_weight_is_transformed_in_double_precision_and_rounded_once() -> None:
    g = plain(1, 3, 5, (8, 8), dtype=np.float32)
    w = numbers((5, 3, 3, 3), 2).astype(np.float32)
    for tile in (2, 4):
        transform = matrices(tile)[1]
        wanted = np.einsum("ia,kcab,jb->jick", transform, w.astype(np.float64), transform)
        found = Winograd(g, 1, w, tile).weights[0].reshape(wanted.shape)
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("tile", [2, 4])
def test_matrices_are_a_convolution(tile: int) -> None:
    results, weights, inputs = matrices(tile)
    d, w = numbers((tile + 2,), 1), numbers((3,), 2)
    np.testing.assert_allclose(results @ ((weights @ w) * (inputs @ d)), np.correlate(d, w), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(results[:, 1], 1)  # where the bias is added


def test_where_it_pays() -> None:
    single = {"dtype": np.float32}
    assert pays(plain(1, 64, 64, (56, 56), **single), 1) == 4
    assert pays(plain(1, 128, 128, (28, 28), **single), 2) == 4
    assert pays(plain(1, 128, 128, (1, 1), **single), 1) == 0
    assert pays(plain(1, 3, 64, (56, 56), **single), 1) == 0
    assert pays(plain(1, 4, 4, (56, 56), **single), 1) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"stride": (2, 2), "out": (28, 28)},
        {"dilation": (2, 2), "out": (54, 54)},
        {"kernel": (3, 1), "out": (56, 58)},
        {"dtype": np.dtype(np.float16)},
    ],
)
def test_other_convolutions_are_left_alone(change: dict[str, Any]) -> None:
    g = plain(1, 64, 64, (56, 56), dtype=np.float32)
    assert pays(g, 1)
    assert not pays(replace(g, **change), 1)
