"""Data that comes along: scikit-learn's digits and photographs, and drawn shapes."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from tinygraph import data
from tinygraph.errors import UsageError

bundled = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="scikit-learn is not installed")


@bundled
def test_digits_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    wanted, digits = datasets.load_digits(), data.digits()
    np.testing.assert_array_equal(digits.images[:, 0] * 16, wanted.images)
    np.testing.assert_array_equal(digits.labels, wanted.target)
    assert digits.images.shape == (1797, 1, 8, 8)
    assert digits.classes == tuple("0123456789")


@bundled
def test_patches_are_tiles_of_two_photographs() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    patches = data.sample_patches()
    assert patches.images.shape == (520, 3, 32, 32)
    assert patches.classes == ("china", "flower")
    assert np.bincount(patches.labels).tolist() == [260, 260]
    pixels = datasets.load_sample_image("flower.jpg")[32:64, 64:96]  # second row, third column
    tile = patches.images[260 + 20 + 2].transpose(1, 2, 0) * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
    np.testing.assert_allclose(tile * 255, pixels, atol=1e-3)


@bundled
def test_patches_can_be_told_by_how_they_are_turned() -> None:
    straight, turned = data.sample_patches(size=64), data.sample_patches(size=64, label="rotation", seed=3)
    assert set(turned.labels) == {0, 1, 2, 3}
    for before, after, turns in zip(straight.images, turned.images, turned.labels, strict=True):
        np.testing.assert_array_equal(after, np.rot90(before, turns, axes=(1, 2)))
    other = data.sample_patches(size=64, label="rotation", seed=4)
    assert not np.array_equal(turned.labels, other.labels)


@bundled
def test_patches_that_cannot_be_cut_are_refused() -> None:
    with pytest.raises(UsageError, match=r"size=500 does not fit into \(427, 640\)"):
        data.sample_patches(size=500)
    with pytest.raises(UsageError, match="choose 'image' or 'rotation'"):
        data.sample_patches(label="colour")  # type: ignore[arg-type]


def test_without_scikit_learn_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install scikit-learn"):
        data.digits()


def test_shapes_depend_on_their_seed() -> None:
    first, again, other = data.shapes(30, seed=1), data.shapes(30, seed=1), data.shapes(30, seed=2)
    assert first.images.shape == (30, 3, 32, 32)
    assert (first.images.dtype, first.labels.dtype) == (np.float32, np.int64)
    assert first.classes == ("circle", "square", "triangle", "cross")
    assert np.bincount(first.labels).tolist() == [8, 8, 7, 7]
    assert first.images.min() >= 0
    assert first.images.max() <= 1
    np.testing.assert_array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)


def test_shapes_differ_from_their_ground_and_their_class_in_area() -> None:
    drawn = data.shapes(400, size=40)
    corners = np.median(drawn.images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]], axis=2)
    apart = np.abs(drawn.images - corners[..., None, None]).mean(1) > 0.25
    areas = [apart[drawn.labels == label].mean() for label in range(4)]
    assert all(0.05 < area < 0.3 for area in areas)
    circle, square, triangle, cross = areas
    assert circle > square > triangle
    assert circle > cross


@pytest.mark.parametrize(("count", "size"), [(0, 32), (4, 7)])
def test_shapes_that_cannot_be_drawn_are_refused(count: int, size: int) -> None:
    with pytest.raises(UsageError, match="give at least 1, of at least 8 pixels"):
        data.shapes(count, size)
