"""Augmentation: functions (images [N, C, H, W], generator) -> images of the same shape and dtype.

    augment.compose(augment.crop(4), augment.flip())    # CIFAR's usual one

Each image is changed by numbers of its own; the images that come in are not written to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from tinygraph.errors import UsageError
from tinygraph.ir import Array

Augment = Callable[[Array, np.random.Generator], Array]


def flip() -> Augment:
    """Mirrors left and right with probability 1/2."""

    def apply(images: Array, rng: np.random.Generator) -> Array:
        mirrored = rng.random(len(images)) < 0.5
        out = images.copy()
        out[mirrored] = images[mirrored, ..., ::-1]
        return out

    return apply


def crop(padding: int) -> Augment:
    """Cuts out a piece of the old size, at a random place of the image padded with zeros.

    Args:
        padding: pixels on each side (He et al. 2015 take 4 for CIFAR).
    """
    return _moved(padding, "constant")


def shift(pixels: int) -> Augment:
    """Moves by up to so many pixels along each axis; pixels of the border fill the gap.

    Args:
        pixels: the most.
    """
    return _moved(pixels, "edge")


def compose(*steps: Augment) -> Augment:
    """One after the other."""

    def apply(images: Array, rng: np.random.Generator) -> Array:
        for step in steps:
            images = step(images, rng)
        return images

    return apply


def _moved(pixels: int, border: Literal["constant", "edge"]) -> Augment:
    if pixels < 0:
        raise UsageError(f"images cannot be moved by {pixels} pixels: give a whole number from 0")

    def apply(images: Array, rng: np.random.Generator) -> Array:
        around = (pixels, pixels)
        padded = np.pad(images, ((0, 0), (0, 0), around, around), border)
        pieces = np.lib.stride_tricks.sliding_window_view(padded, images.shape[2:], (2, 3))
        top, left = rng.integers(0, 2 * pixels + 1, (2, len(images)))
        # two lists of places around a slice: NumPy puts their axis first, [N, C, H, W]
        return np.ascontiguousarray(pieces[np.arange(len(images)), :, top, left])

    return apply
