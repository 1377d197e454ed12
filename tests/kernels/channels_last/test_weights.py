"""Weights that are transformed for Winograd's products, and copies of weights that are shared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.channels_last.test_winograd import plain
from tests.kernels.test_convolution import numbers
from tinygraph.kernels.channels_last import weights
from tinygraph.kernels.channels_last.im2col import Im2col
from tinygraph.kernels.channels_last.product import Product
from tinygraph.kernels.channels_last.weights import transformed
from tinygraph.kernels.channels_last.winograd import Winograd, matrices
from tinygraph.kernels.scratch import Array


@given(
    st.sampled_from([2, 4]),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 40),
)
@settings(deadline=None)
def test_transformed(tile: int, channels: int, parts: int, width: int, workers: int, block: int) -> None:
    _, matrix, _ = matrices(tile)
    t = len(matrix)
    w = numbers((parts * width, channels, 3, 3), 1)
    with patch.object(weights, "_BLOCK", block):
        found = transformed(w, matrix, parts, workers)
    wanted = np.einsum("ia,kcab,jb->jick", matrix, w, matrix).reshape(t * t, channels, parts, width).swapaxes(1, 2)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)
    assert found.flags.c_contiguous


def test_weights_are_rounded_once() -> None:
    _, matrix, _ = matrices(4)
    w = numbers((32, 16, 3, 3), 1).astype(np.float32)
    found = transformed(w, matrix, 2, 1)
    assert found.dtype == np.float32
    wanted = transformed(w.astype(np.float64), matrix, 2, 1)
    assert (np.abs(found - wanted) <= np.spacing(np.abs(wanted.astype(np.float32)))).all()


def copies(routine: Any) -> list[Array]:
    """What a routine made of its weight."""
    if isinstance(routine, Winograd):
        return routine.weights
    return [part for p in routine.products for part in (p._parts if isinstance(p, Product) else [p._weight])]


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("routine", [Im2col, Winograd])
def test_routines_of_one_weight_share_copies(routine: Any, groups: int) -> None:
    g = plain(1, 4, 32, (9, 9), dtype=np.float32)
    w = numbers((32, 4 // groups, 3, 3), 1).astype(np.float32)
    w.flags.writeable = False
    small, large = (routine(replace(g, groups=groups, batch=n), 1, w) for n in (1, 3))
    other = routine(replace(g, groups=groups), 1, w.copy())
    for a, b, c in zip(copies(small), copies(large), copies(other), strict=True):
        assert np.shares_memory(a, b)
        assert not np.shares_memory(a, c)


def test_routines_with_other_groups_have_their_own() -> None:
    w = numbers((8, 2, 3, 3), 1)
    w.flags.writeable = False
    for routine in (Im2col, Winograd):
        few, many = (routine(replace(plain(1, 2 * n, 8, (6, 6)), groups=n), 1, w) for n in (2, 4))
        for a, b in zip(copies(few), copies(many), strict=True):
            assert not np.shares_memory(a, b)
