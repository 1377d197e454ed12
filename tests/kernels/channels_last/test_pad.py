"""Padding with the channels last against the plain kernel."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.kernels.channels_last.test_pooling import ran
from tests.kernels.test_convolution import LAYOUTS, numbers
from tinygraph.errors import ShapeError
from tinygraph.ir import TensorType
from tinygraph.ops.pad import Mode, Pad

SIZES = st.lists(st.integers(1, 4), min_size=3, max_size=5)


@given(SIZES, st.sampled_from(get_args(Mode)), st.data(), LAYOUTS)
@settings(max_examples=200, deadline=None)
def test_pad(shape: list[int], mode: Mode, data: Any, layout: str) -> None:
    side = st.integers(-1, 3) if mode == "constant" else st.integers(0, 3)
    pads = tuple(data.draw(st.tuples(side, side)) for _ in shape)
    op, x = Pad(pads, mode, 1.5 if mode == "constant" else 0.0), numbers(tuple(shape), 1, layout)
    try:
        assume(op.infer(TensorType.of(x)).size > 0)
    except ShapeError:
        assume(False)
    np.testing.assert_array_equal(ran(op, 1, 1, x), op.kernel(x))


@pytest.mark.parametrize("shape", [(2, 3), (2,)])
def test_arrays_without_spatial_axes_are_left_alone(shape: tuple[int, ...]) -> None:
    op = Pad(((1, 1),) * len(shape))
    assert not op.fits_channels_last([TensorType(shape, np.float32)], [None])
