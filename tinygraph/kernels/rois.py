"""Regions of interest: where the bins of a box read a feature map."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def axis_samples(start: float, length: float, bins: int, samples: int, size: int) -> tuple[Array, Array]:
    """The taps along an axis: indices and weights, [bins, samples, 2].

    Points lie evenly in each bin. One that is more than 1 outside of the axis has no weight; nearer ones read
    its end.

    Args:
        start: of the box.
        length: of the box.
        bins: into which it falls.
        samples: points in each bin.
        size: of the axis.
    """
    bin_length = length / bins
    at = start + np.arange(bins)[:, None] * bin_length + (np.arange(samples) + 0.5) * bin_length / max(samples, 1)
    inside = (at >= -1) & (at <= size)
    at = np.clip(np.where(inside, at, 0), 0, size - 1)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    weight = np.stack([1 - (at - low), at - low], -1) * inside[..., None]
    return np.stack([low, high], -1), weight


def bin_taps(
    roi: Array, bins: Sequence[int], sizes: Sequence[int], samples: int, scale: float, half_pixel: bool
) -> tuple[Array, Array]:
    """The taps of each bin of a box in a map as one row: indices and weights, [bins, points, 4].

    Args:
        roi: x1, y1, x2, y2.
        bins: along y and along x.
        sizes: of the map.
        samples: points in a bin along each axis; 0 for as many as the bin is long, rounded up.
        scale: from the box's coordinates to those of the map.
        half_pixel: 0 is the border of the first number; else its centre, and a box is at least 1 wide.
    """
    shift = 0.5 if half_pixel else 0.0
    ends = roi.astype(np.float64) * scale - shift
    x1, y1, x2, y2 = ends if np.isfinite(ends).all() else (0.0, 0.0, 0.0, 0.0)
    axes = []
    for start, end, count, size in ((y1, y2, bins[0], sizes[0]), (x1, x2, bins[1], sizes[1])):
        length = end - start if half_pixel else max(end - start, 1.0)
        points = samples or max(ceil(length / count), 0)
        axes.append(axis_samples(start, length, count, points, size))
    (rows, by_row), (columns, by_column) = axes
    index = rows[:, None, :, None, :, None] * sizes[1] + columns[None, :, None, :, None, :]
    weight = by_row[:, None, :, None, :, None] * by_column[None, :, None, :, None, :]
    count = rows.shape[1] * columns.shape[1]
    return index.reshape(bins[0] * bins[1], count, 4), weight.reshape(bins[0] * bins[1], count, 4)


def bin_ranges(start: float, end: float, bins: int, size: int) -> list[slice]:
    """The numbers of an axis in each bin of a box with whole ends, both included; bins may overlap or be empty."""
    first, length = int(start), int(max(end - start + 1, 1))
    edges = [(first + i * length // bins, first - (-(i + 1) * length // bins)) for i in range(bins)]
    return [slice(min(max(low, 0), size), min(max(high, 0), size)) for low, high in edges]
