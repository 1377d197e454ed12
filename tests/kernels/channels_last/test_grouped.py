"""Convolutions of several groups with the channels last."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.channels_last.test_im2col import EPILOGUES, finished, ran
from tests.kernels.channels_last.test_winograd import BUDGETS, TILES, convolved, plain
from tests.kernels.test_convolution import LAYOUTS, numbers
from tinygraph.kernels import channels_last, im2col
from tinygraph.kernels.channels_last import grouped, winograd
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.channels_last.grouped import block_diagonal, merged
from tinygraph.kernels.channels_last.im2col import Im2col
from tinygraph.kernels.channels_last.winograd import Winograd
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.scratch import Array

GROUPS, OF_GROUP = st.integers(1, 6), st.integers(1, 5)
ENOUGH = st.sampled_from([1, 6, 100])  # channels: nothing is merged, some groups, all


def weight(g: Geometry) -> Array:
    return numbers((g.filters, g.channels // g.groups, *g.kernel), 2)


@given(GROUPS, OF_GROUP, OF_GROUP, ENOUGH)
@settings(max_examples=50, deadline=None)
def test_merging_changes_no_result(groups: int, channels: int, filters: int, enough: int) -> None:
    g = replace(plain(2, groups * channels, groups * filters, (5, 4)), groups=groups)
    x, w = numbers((2, g.channels, 5, 4), 1), weight(g)
    with patch.object(grouped, "_CHANNELS", enough):
        wide = merged(g)
    assert wide.channels // wide.groups >= min(enough, g.channels)
    found = convolved(wide, x, block_diagonal(w, groups, wide.groups))
    np.testing.assert_allclose(found, convolved(g, x, w), rtol=0, atol=1e-12)


@given(GROUPS, OF_GROUP, OF_GROUP, ENOUGH, TILES, BUDGETS, st.integers(1, 2), st.booleans(), LAYOUTS, EPILOGUES)
@settings(max_examples=200, deadline=None)
def test_winograd(
    groups: int,
    channels: int,
    filters: int,
    enough: int,
    tile: int,
    budget: int,
    workers: int,
    large: bool,
    layout: str,
    epilogue: Epilogue,
) -> None:
    g = replace(plain(2, groups * channels, groups * filters, (9, 6)), groups=groups)
    x, w, b = numbers((2, g.channels, 9, 6), 1, layout), weight(g), numbers((g.filters,), 3)
    residual = numbers((2, g.filters, *g.out), 4) if epilogue.residual else None
    with (
        patch.multiple(winograd, _BAND_BYTES=budget, _LARGE_WEIGHT=0 if large else 1 << 30),
        patch.object(im2col, "_WORTH_SHARING", 1),
        patch.object(grouped, "_CHANNELS", enough),
    ):
        found = ran(Winograd(g, workers, w, tile, epilogue), g, x, b, residual)
    np.testing.assert_allclose(found, finished(convolved(g, x, w), b, residual, epilogue), rtol=0, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("of_group", [1, 2, 4])
def test_infinities_stay_in_their_group_unless_it_is_to_be_fast(of_group: int, stride: int) -> None:
    g = replace(plain(1, 32, 32, (20, 20)), groups=32 // of_group, stride=(stride,) * 2, out=(20 // stride,) * 2)
    x, w = numbers((1, 32, 20, 20), 1).copy(), weight(g)
    x[0, 9, 7, 8] = np.inf
    found = ran(channels_last.convolution(g, 2, w, Epilogue(), False), g, x, None, None)
    where = np.argwhere(~np.isfinite(found))[:, 1] // of_group
    assert set(where) == {9 // of_group}


@pytest.mark.parametrize(
    ("channels", "size", "routine"), [(128, 56, Winograd), (256, 28, Winograd), (512, 14, Winograd), (1024, 7, Im2col)]
)
def test_where_winograd_pays(channels: int, size: int, routine: type) -> None:
    g = replace(plain(1, channels, channels, (size, size), dtype=np.float32), groups=32)
    w = np.zeros((channels, channels // 32, 3, 3), np.float32)
    assert type(channels_last.convolution(g, 2, w, Epilogue(), True)) is routine
    assert type(channels_last.convolution(g, 2, w, Epilogue(), False)) is Im2col
