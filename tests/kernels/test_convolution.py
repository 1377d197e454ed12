"""Blocked convolution routines against the plain tap-by-tap ones, in float64, over generated geometries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygraph.kernels import columns, im2col, taps, weight_grad
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.im2col import Im2col, Pointwise
from tinygraph.kernels.phases import Phases, PointwiseTranspose
from tinygraph.kernels.scratch import Array, carve, room
from tinygraph.kernels.weight_grad import WeightGrad


@st.composite
def geometries(draw: Any, pointwise: bool = False, dense: bool = False) -> Geometry:
    axes = draw(st.integers(1, 3))

    def per_axis(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    none = pointwise or dense
    kernel = (1,) * axes if none else per_axis(1, 3)
    stride = (1,) * axes if dense else per_axis(1, 3)
    dilation = per_axis(1, 2)
    fronts, behinds = ((0,) * axes, (0,) * axes) if none else (per_axis(0, 2), per_axis(0, 2))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    needed = [max(span - f - b, 1) for span, f, b in zip(spans, fronts, behinds, strict=True)]
    sizes = tuple(n + draw(st.integers(0, 5)) for n in needed)
    padding = tuple(zip(fronts, behinds, strict=True))
    wide = [n + f + b for n, (f, b) in zip(sizes, padding, strict=True)]
    groups = draw(st.integers(1, 3))
    return Geometry(
        batch=draw(st.integers(1, 3)),
        channels=groups * draw(st.integers(1, 3)),
        filters=groups * draw(st.integers(1, 3)),
        sizes=sizes,
        out=taps.counts(wide, kernel, stride, dilation),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        dtype=np.dtype(np.float64),
    )


BUDGETS = st.sampled_from([1, 300, 5000, 1 << 20])  # bytes of a block: from one row at a time to everything at once
WORKERS = st.integers(1, 3)
LAYOUTS = st.sampled_from(["contiguous", "transposed", "gaps"])


def numbers(shape: tuple[int, ...], seed: int, layout: str = "contiguous") -> Array:
    """Random numbers that nobody can write to, in some memory layout."""
    values = np.random.default_rng(seed).standard_normal(shape)
    if layout == "transposed":
        values = np.ascontiguousarray(values.T).T
    elif layout == "gaps":
        spread = np.full((*shape[:-1], 2 * shape[-1]), np.nan)
        spread[..., ::2] = values
        values = spread[..., ::2]
    values.flags.writeable = False
    return values


def attributes(g: Geometry) -> dict[str, Any]:
    return {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": g.groups}


def arrays(g: Geometry, layout: str) -> tuple[Array, Array, Array]:
    """An input, a weight and what stands where the output of the convolution is."""
    x = numbers((g.batch, g.channels, *g.sizes), 1, layout)
    w = numbers((g.filters, g.channels // g.groups, *g.kernel), 2, layout)
    return x, w, numbers((g.batch, g.filters, *g.out), 3, layout)


def result(routine: Any, shape: tuple[int, ...], *inputs: Array | None) -> Array:
    """What a routine computes from memory that is full of NaN."""
    workspace = np.full(routine.workspace, 0xFF, np.uint8)
    y = np.full(shape, np.nan)
    routine.run(*inputs, y, workspace)
    return y


def compare(found: Array, wanted: Array) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * max(1.0, np.abs(wanted).max(initial=0.0)))


@contextmanager
def blocks_of(budget: int) -> Iterator[None]:
    """Small blocks, of single images; or large ones, of images side by side. All of them worth several threads."""
    small = budget < 1 << 20
    with (
        patch.multiple(columns, _BLOCK_BYTES=budget, _FEW_POSITIONS=1 if small else 256),
        patch.multiple(im2col, _WORTH_SHARING=1, _LARGE_WEIGHT=40),
        patch.multiple(weight_grad, _CHANNELS_OF_A_WORKER=1, _LARGE_WEIGHT=40),
    ):
        yield


def check_convolution(routine: Any, g: Geometry, layout: str, biased: bool) -> None:
    x, w, _ = arrays(g, layout)
    b = numbers((g.filters,), 4) if biased else None
    wanted = taps.convolve(x, w, **attributes(g))
    if b is not None:
        wanted = wanted + b.reshape(-1, *[1] * len(g.out))
    compare(result(routine, (g.batch, g.filters, *g.out), x, w, b), wanted)


@given(geometries(), BUDGETS, WORKERS, LAYOUTS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_im2col(g: Geometry, budget: int, workers: int, layout: str, biased: bool) -> None:
    with blocks_of(budget):
        check_convolution(Im2col(g, workers), g, layout, biased)


@given(geometries(pointwise=True), WORKERS, LAYOUTS, st.booleans())
@settings(max_examples=50, deadline=None)
def test_pointwise(g: Geometry, workers: int, layout: str, biased: bool) -> None:
    assert g.is_pointwise
    with blocks_of(1):
        check_convolution(Pointwise(g, workers), g, layout, biased)


def check_transpose(routine: Any, g: Geometry, layout: str, biased: bool) -> None:
    _, w, y = arrays(g, layout)
    b = numbers((g.channels,), 4) if biased else None
    wanted = taps.spread(y, w, g.sizes, **attributes(g))
    if b is not None:
        wanted = wanted + b.reshape(-1, *[1] * len(g.out))
    compare(result(routine, (g.batch, g.channels, *g.sizes), y, w, b), wanted)


@given(geometries(), BUDGETS, WORKERS, LAYOUTS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_transposed_by_phases(g: Geometry, budget: int, workers: int, layout: str, biased: bool) -> None:
    with blocks_of(budget):
        check_transpose(Phases(g, workers), g, layout, biased)


@given(geometries(dense=True), WORKERS, LAYOUTS, st.booleans())
@settings(max_examples=50, deadline=None)
def test_pointwise_transpose(g: Geometry, workers: int, layout: str, biased: bool) -> None:
    assert g.is_dense
    with blocks_of(1):
        check_transpose(PointwiseTranspose(g, workers), g, layout, biased)


@given(geometries(), BUDGETS, WORKERS, LAYOUTS)
@settings(max_examples=150, deadline=None)
def test_weight_gradient(g: Geometry, budget: int, workers: int, layout: str) -> None:
    x, w, y = arrays(g, layout)
    with blocks_of(budget):
        found = result(WeightGrad(g, workers), w.shape, x, y)
    compare(found, taps.correlate(x, y, g.kernel, **attributes(g)))


@given(geometries())
@settings(max_examples=100, deadline=None)
def test_the_three_plain_routines_are_transposes_of_one_trilinear_form(g: Geometry) -> None:
    x, w, y = arrays(g, "contiguous")
    forms = [
        np.vdot(taps.convolve(x, w, **attributes(g)), y),
        np.vdot(taps.spread(y, w, g.sizes, **attributes(g)), x),
        np.vdot(taps.correlate(x, y, g.kernel, **attributes(g)), w),
    ]
    np.testing.assert_allclose(forms, forms[0], rtol=1e-10, atol=1e-10)


def test_a_block_takes_no_more_scratch_memory_than_it_says() -> None:
    g = Geometry(1, 64, 64, (56, 56), (56, 56), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, np.dtype(np.float32))
    weight = 64 * 64 * 9 * 4
    assert Im2col(g).workspace <= weight + (3 << 19) + (1 << 20)


def test_scratch_arrays_lie_apart_on_cache_lines() -> None:
    dtype = np.dtype(np.float32)
    shapes = [(3, 5), (0,), (7,)]
    workspace = np.zeros(room(dtype, *shapes), np.uint8)
    a, b, c = carve(workspace, dtype, *shapes)
    assert [a.shape, b.shape, c.shape] == shapes
    a[...], c[...] = 1, 2
    assert a.sum() == 15
    assert c.ctypes.data - a.ctypes.data == 64
