"""Transposed convolutions with the channels last against the plain routine, in float64, over generated geometries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.channels_last.test_im2col import EPILOGUES, finished, last, within
from tests.kernels.test_convolution import LAYOUTS, WORKERS, attributes, geometries, numbers
from tinygraph.kernels import im2col, taps
from tinygraph.kernels.channels_last import blocks, transpose
from tinygraph.kernels.channels_last.epilogue import PLAIN, Epilogue
from tinygraph.kernels.channels_last.transpose import SideBySide, fits, transposed
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.scratch import Array, allocate

BUDGETS = st.sampled_from([1, 300, 5000, 1 << 20])  # bytes of a block: from one row at a time to everything at once


@st.composite
def side_by_side(draw: Any) -> Geometry:
    """Kernels as large as the stride."""
    axes = draw(st.integers(1, 3))
    kernel, out = ([draw(st.integers(1, high)) for _ in range(axes)] for high in (3, 6))
    sizes = [n * k for n, k in zip(out, kernel, strict=True)]
    batch, channels, filters = (draw(st.integers(1, 3)) for _ in range(3))
    none = ((0, 0),) * axes
    lists = (tuple(a) for a in (sizes, out, kernel, kernel))
    return Geometry(batch, channels, filters, *lists, none, (1,) * axes, 1, np.dtype(np.float64))


@st.composite
def of_stride_1(draw: Any) -> Geometry:
    """Any that have stride 1, as far as there is a routine."""
    g = draw(geometries())
    wide = [n + front + behind for n, (front, behind) in zip(g.sizes, g.padding, strict=True)]
    one = (1,) * len(g.sizes)
    return replace(g, stride=one, out=taps.counts(wide, g.kernel, one, g.dilation))


def made(routine: Any, g: Geometry, x: Array, b: Array | None, residual: Array | None) -> list[Array]:
    """What a routine computes, [N, C, *sizes], in memory full of NaN; the second time from and to slices, if it may.

    Where NumPy needs memory of its own, the last digit may depend on where that lies.
    """
    maps = [a if a is None else last(a) for a in (x, residual)]
    found = []
    for sliced in (False, True):
        workspace = allocate((routine.slice_workspace or 0) if sliced else routine.workspace)
        workspace.fill(0xFF)
        y = np.full((g.batch, *g.sizes, g.channels), np.nan, g.dtype)
        if sliced and routine.reads_slices and routine.slice_workspace is not None:
            y, maps = within(y), [a if a is None else within(a) for a in maps]
        elif sliced:
            continue
        routine.run(maps[0], b, maps[1], y, workspace)
        found.append(np.moveaxis(y, -1, 1))
    return found


@given(side_by_side() | of_stride_1().filter(fits), BUDGETS, WORKERS, LAYOUTS, EPILOGUES, st.data())
@settings(max_examples=300, deadline=None)
def test_transposed(g: Geometry, budget: int, workers: int, layout: str, epilogue: Epilogue, data: Any) -> None:
    x, w = numbers((g.batch, g.filters, *g.out), 1, layout), numbers((g.filters, g.channels // g.groups, *g.kernel), 2)
    b = numbers((g.channels,), 3) if data.draw(st.booleans()) else None
    residual = numbers((g.batch, g.channels, *g.sizes), 4) if epilogue.residual else None
    few = data.draw(st.sampled_from([0, 1 << 30]))  # workers share the positions, or the taps
    with (
        patch.object(blocks, "_BLOCK_BYTES", budget),
        patch.object(transpose, "_FEW_POSITIONS", few),
        patch.object(im2col, "_WORTH_SHARING", 1),
    ):
        routine = transposed(g, workers, w, epilogue, data.draw(st.booleans()))
    wanted = finished(taps.spread(x, w, g.sizes, **attributes(g)), b, residual, epilogue)
    for found in made(routine, g, x, b, residual):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-11)


def plain(**changes: Any) -> Geometry:
    """An up-convolution as U-Net has it."""
    sizes: tuple[int, int] = (16, 16)
    g = Geometry(1, 4, 8, sizes, (8, 8), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), 1, np.dtype(np.float32))
    return replace(g, **changes)


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": (17, 16)},
        {"kernel": (3, 2), "sizes": (17, 16)},
        {"kernel": (1, 2), "sizes": (15, 16)},
        {"padding": ((0, 0), (1, 1)), "sizes": (16, 14)},
        {"dilation": (2, 1), "sizes": (17, 16)},
        {"groups": 2},
    ],
)
def test_other_geometries_are_left_alone(change: dict[str, Any]) -> None:
    assert fits(plain())
    assert not fits(plain(**change))


def test_workers_share_taps_where_positions_are_few() -> None:
    w = np.zeros((256, 64, 2, 2), np.float32)
    g = plain(channels=64, filters=256)
    few, many = SideBySide(g, 2, w), SideBySide(replace(g, out=(32, 32), sizes=(64, 64)), 2, w)
    assert [list(taps) for _, taps in few.teams] == [[0], [1]]
    assert [list(taps) for _, taps in many.teams] == [[0, 1], [0, 1]]
    assert isinstance(transposed(g, 1, w, PLAIN, True), SideBySide)
