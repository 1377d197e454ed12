"""Augmentation: every image is one of those that are possible, and all of them occur."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tinygraph.data import augment
from tinygraph.errors import UsageError
from tinygraph.ir import Array

IMAGE = np.random.default_rng(0).random((2, 4, 5), np.float32)
MANY = np.stack([IMAGE] * 400)


def occurring(function: augment.Augment) -> set[bytes]:
    before = MANY.copy()
    after = function(MANY, np.random.default_rng(1))
    assert (after.shape, after.dtype) == (MANY.shape, MANY.dtype)
    assert after.flags.c_contiguous
    np.testing.assert_array_equal(MANY, before)
    return {image.tobytes() for image in after}


def moved(pixels: int, mode: str) -> list[Array]:
    """The image at each of the (2 pixels + 1)^2 places."""
    border = ((0, 0), (pixels, pixels), (pixels, pixels))
    padded = np.pad(IMAGE, border, mode)  # type: ignore[call-overload]
    places = itertools.product(range(2 * pixels + 1), repeat=2)
    return [padded[:, top : top + 4, left : left + 5] for top, left in places]


def as_bytes(images: list[Array]) -> set[bytes]:
    return {np.ascontiguousarray(image).tobytes() for image in images}


def test_flip_mirrors_half_of_the_images() -> None:
    mirrored = IMAGE[:, :, ::-1]
    assert occurring(augment.flip()) == as_bytes([IMAGE, mirrored])
    after = augment.flip()(MANY, np.random.default_rng(1))
    assert 150 < sum(np.array_equal(image, mirrored) for image in after) < 250


def test_crop_pads_with_zeros() -> None:
    assert occurring(augment.crop(1)) == as_bytes(moved(1, "constant"))
    assert occurring(augment.crop(0)) == as_bytes([IMAGE])


def test_shift_repeats_the_border() -> None:
    assert occurring(augment.shift(1)) == as_bytes(moved(1, "edge"))


def test_composed_functions_come_one_after_the_other() -> None:
    both = [image[:, :, ::step] for image in moved(1, "constant") for step in (1, -1)]
    assert occurring(augment.compose(augment.crop(1), augment.flip())) == as_bytes(both)
    assert occurring(augment.compose()) == as_bytes([IMAGE])


@pytest.mark.parametrize("function", [augment.crop, augment.shift])
def test_pixels_are_counted_from_0(function: object) -> None:
    with pytest.raises(UsageError, match="cannot be moved by -1 pixels"):
        function(-1)  # type: ignore[operator]
