"""Borders against np.pad, whatever was in their memory before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygraph.kernels.padding import continue_into_border, crop, put_into_border

X = np.arange(24.0).reshape(2, 3, 4)
PADS = [((0, 0), (2, 1), (3, 3)), ((1, 1), (0, 2), (0, 0)), ((1, 0), (1, 0), (2, 3)), ((0, 0),) * 3]


def bordered(pads: Any) -> np.ndarray:
    return np.full([d + lo + hi for d, (lo, hi) in zip(X.shape, pads, strict=True)], np.nan)


@pytest.mark.parametrize("pads", PADS)
def test_a_border_of_one_number(pads: Any) -> None:
    room = bordered(pads)
    put_into_border(X, pads, 7.0, room)
    np.testing.assert_array_equal(room, np.pad(X, pads, constant_values=7))


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", PADS)
def test_a_border_that_continues_the_array(pads: Any, mode: str) -> None:
    room = bordered(pads)
    continue_into_border(X, pads, mode, room)
    np.testing.assert_array_equal(room, np.pad(X, pads, mode))


@pytest.mark.parametrize("mode", ["edge", "wrap"])
def test_a_border_wider_than_the_array(mode: str) -> None:
    room = np.full((16, 19, 4), np.nan)
    continue_into_border(X, ((9, 5), (7, 9), (0, 0)), mode, room)
    np.testing.assert_array_equal(room, np.pad(X, ((9, 5), (7, 9), (0, 0)), mode))


def test_crop() -> None:
    np.testing.assert_array_equal(crop(X, ((0, 0), (-1, -1), (3, -2))), X[:, 1:2, :2])
