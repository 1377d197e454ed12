"""Drawn shapes: a set of colour images that a small network can learn, made from a seed."""

from __future__ import annotations

import numpy as np

from tinygraph.data.dataset import Dataset
from tinygraph.data.streams import stream
from tinygraph.errors import UsageError
from tinygraph.ir import Array

_CLASSES = ("circle", "square", "triangle", "cross")
_SMALLEST = 8  # pixels; below that the shapes look alike
_NOISE = 0.1


def shapes(count: int, size: int = 32, seed: int = 0) -> Dataset:
    """Circles, squares, triangles and crosses of any place, size and colour on dark grounds, under noise.

    Args:
        count: images; the four classes take turns.
        size: rows and columns of an image, at least 8.
        seed: equal arguments give equal sets.

    Returns:
        images [count, 3, size, size] with values from 0 to 1.

    Raises:
        UsageError: count or size is too small.
    """
    if count < 1 or size < _SMALLEST:
        raise UsageError(f"{count} shapes of {size} pixels: give at least 1, of at least {_SMALLEST} pixels")
    rng = stream(seed, "shapes")
    labels = np.arange(count) % len(_CLASSES)
    radius = rng.uniform(size / 6, size / 3, (count, 1, 1))
    center = rng.uniform(radius, size - radius, (2, count, 1, 1))
    rows, columns = np.mgrid[:size, :size] + 0.5
    inside = _inside(labels, (rows - center[0]) / radius, (columns - center[1]) / radius)
    ground = rng.uniform(0, 0.3, (count, 3, 1, 1))
    colour = rng.uniform(0.4, 1, ground.shape)
    images = np.where(inside[:, None], colour, ground) + _NOISE * rng.standard_normal((count, 3, size, size))
    return Dataset(np.clip(images, 0, 1).astype(np.float32), labels, _CLASSES)


def _inside(labels: Array, y: Array, x: Array) -> Array:
    """Whether points are in the shapes; x and y in radii from the center, y downwards."""
    x, y = np.abs(x), np.asarray(y)
    return np.choose(
        labels[:, None, None],
        [
            x * x + y * y < 1,
            np.maximum(x, np.abs(y)) < 0.8,
            (y < 0.8) & (2 * x < y + 1),
            (np.maximum(x, np.abs(y)) < 1) & (np.minimum(x, np.abs(y)) < 0.3),
        ],
    )
