"""Depthwise convolution with the channels last against the plain tap-by-tap one, in float64."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.channels_last.test_im2col import EPILOGUES, finished, ran
from tests.kernels.test_convolution import BUDGETS, LAYOUTS, WORKERS, attributes, geometries, numbers
from tinygraph.kernels import channels_last, taps
from tinygraph.kernels.channels_last import blocks, depthwise
from tinygraph.kernels.channels_last.depthwise import Depthwise
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.geometry import Geometry

FLOAT = np.dtype(np.float64)
RUNS = st.sampled_from([1, 12, 1 << 20])  # numbers of a run: a position, some of them, a whole row


@given(geometries(), st.integers(1, 3), RUNS, BUDGETS, WORKERS, LAYOUTS, EPILOGUES, st.booleans())
@settings(max_examples=300, deadline=None)
def test_depthwise(
    g: Geometry, repeats: int, run: int, budget: int, workers: int, layout: str, epilogue: Epilogue, biased: bool
) -> None:
    g = replace(g, groups=g.channels, filters=g.channels * repeats)
    x = numbers((g.batch, g.channels, *g.sizes), 1, layout)
    w = numbers((g.filters, 1, *g.kernel), 2, layout)
    b = numbers((g.filters,), 3) if biased else None
    residual = numbers((g.batch, g.filters, *g.out), 4) if epilogue.residual else None
    with patch.multiple(depthwise, _RUN=run, _WORTH_SHARING=1), patch.object(blocks, "_BLOCK_BYTES", budget):
        found = ran(Depthwise(g, workers, w, epilogue), g, x, b, residual)
    wanted = finished(taps.convolve(x, w, **attributes(g)), b, residual, epilogue)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


def wide(groups: int, repeats: int = 1, channels: int = 8) -> Geometry:
    """A convolution of 3 x 3 with stride 2."""
    padding = ((1, 1), (1, 1))
    return Geometry(2, channels, repeats * channels, (9, 8), (5, 4), (3, 3), (2, 2), padding, (1, 1), groups, FLOAT)


def test_infinities_stay_in_their_channel() -> None:
    g = wide(8)
    x, w = numbers((2, 8, 9, 8), 1).copy(), numbers((8, 1, 3, 3), 2)
    x[0, 2], x[1, 5] = np.nan, np.inf
    found = np.isfinite(ran(Depthwise(g, 1, w), g, x, None, None)).all((2, 3))
    np.testing.assert_array_equal(found, [[c != 2 for c in range(8)], [c != 5 for c in range(8)]])


def test_where_it_is_used() -> None:
    def used(g: Geometry) -> bool:
        w = numbers((g.filters, g.channels // g.groups, 3, 3), 2)
        return isinstance(channels_last.convolution(g, 1, w, Epilogue(), False), Depthwise)

    assert used(wide(8))
    assert used(wide(8, repeats=2))
    assert not used(wide(8, repeats=16))
    assert not used(wide(4))
    assert not used(wide(1, channels=1))
