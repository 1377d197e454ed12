"""Resizing with the channels last against the plain kernel, in float64, over generated sizes."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.channels_last.test_pooling import BUDGETS, WORKERS, ran
from tests.kernels.test_convolution import LAYOUTS, numbers
from tinygraph.ir import TensorType
from tinygraph.kernels.interpolation import MODES
from tinygraph.ops.resize import Resize

SIZES = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 14)), min_size=1, max_size=3)  # before and after
COORDINATES = st.sampled_from(["half_pixel", "align_corners", "asymmetric"])


@given(
    st.integers(1, 3),
    st.integers(1, 4),
    SIZES,
    st.booleans(),
    st.sampled_from(MODES),
    COORDINATES,
    LAYOUTS,
    BUDGETS,
    WORKERS,
    st.data(),
)
@settings(max_examples=300, deadline=None)
def test_resize(
    samples: int,
    channels: int,
    sizes: list[tuple[int, int]],
    whole: bool,
    mode: str,
    coordinates: str,
    layout: str,
    budget: int,
    workers: int,
    data: Any,
) -> None:
    before, after = zip(*sizes, strict=True)
    axes = sorted(data.draw(st.sets(st.sampled_from(range(len(sizes))), min_size=1)))
    size = tuple(2 * before[axis] if whole else after[axis] for axis in axes)
    op = Resize(tuple(axis + 2 for axis in axes), size, mode=mode, coordinates=coordinates)
    x = numbers((samples, channels, *before), 1, layout)
    with patch.object(import_module(Resize.__module__), "_MANY_CHANNELS", 1):
        found = ran(op, budget, workers, x)
    np.testing.assert_allclose(found, op.kernel(x), rtol=0, atol=1e-12)


def test_whole_numbers() -> None:
    x = np.arange(2 * 40 * 3 * 5, dtype=np.int32).reshape(2, 40, 3, 5)
    op = Resize((2, 3), (7, 10))
    np.testing.assert_array_equal(ran(op, 1, 2, x), op.kernel(x))


@pytest.mark.parametrize(
    ("op", "channels"),
    [
        (Resize((1,), (80,)), 40),
        (Resize((2,), (6,)), 8),
        (Resize((2,), (6,), coordinates="tf_crop_and_resize", roi=((0.5, 2.0),)), 40),
    ],
)
def test_other_axes_few_channels_and_what_lies_outside_are_left_alone(op: Resize, channels: int) -> None:
    x = TensorType((1, channels, 3, 4), np.float32)
    assert not op.fits_channels_last([x], [None])
    assert Resize((2,), (6,)).fits_channels_last([x.with_shape((1, 40, 3, 4))], [None])
