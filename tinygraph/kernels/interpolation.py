"""Where the numbers of a resized axis come from: the taps of each, and their weights."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

MODES = ("nearest", "linear", "cubic")
COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@dataclass(frozen=True)
class Rule:
    """How an axis is resized: the attributes of ONNX Resize.

    Attributes:
        mode: one of MODES.
        coordinates: one of COORDINATES.
        rounding: one of ROUNDINGS, for "nearest".
        cubic_a: the coefficient of the cubic filter.
        exclude_outside: taps outside of the axis have no weight; else they repeat its ends.
        antialias: the filter is stretched where the axis shrinks.
    """

    mode: str
    coordinates: str
    rounding: str
    cubic_a: float
    exclude_outside: bool
    antialias: bool


@dataclass(frozen=True)
class Taps:
    """y[i] = sum over k of weight[i, k] x[index[i, k]].

    Attributes:
        index: [size of the result, taps], int64, each within the axis.
        weight: the same, float64; None if there is one tap of weight 1.
        outside: [size of the result]: which numbers are taken from nowhere; their weights are 0.
    """

    index: Array
    weight: Array | None
    outside: Array


def places(size: int, count: int, scale: float, length: float, coordinates: str, roi: tuple[float, float]) -> Array:
    """Where on an axis of `size` the numbers of the resized axis lie, float64 [count].

    Args:
        size: of the axis.
        count: of the resized axis.
        scale: how much longer it gets.
        length: size * scale, of which `count` may be what is left after rounding.
        coordinates: one of COORDINATES.
        roi: start and end of the part that "tf_crop_and_resize" takes, relative to the axis.
    """
    return located(np.arange(count, dtype=np.float64), size, count, scale, length, coordinates, roi)


def located(
    at: Array, size: int, count: int, scale: float, length: float, coordinates: str, roi: tuple[float, float]
) -> Array:
    """Where some numbers of the resized axis lie, given by their places there; see `places`."""
    last = size - 1
    if coordinates == "align_corners":
        return at * 0 if length == 1 else at * last / (length - 1)
    if coordinates == "asymmetric":
        return at / scale
    if coordinates == "tf_crop_and_resize":
        start, end = roi
        along = at * 0 + (end - start) * last / 2 if length == 1 else at * (end - start) * last / (length - 1)
        return along + start * last
    if coordinates == "pytorch_half_pixel" and length <= 1:
        return at * 0
    if coordinates == "half_pixel_symmetric":
        return (at + 0.5 - count / 2) / scale + size / 2 - 0.5  # so that the centres meet exactly
    return (at + 0.5) / scale - 0.5


def taps(rule: Rule, size: int, count: int, scale: float | None, roi: tuple[float, float]) -> Taps:
    """The taps of an axis.

    Args:
        rule: how to resize.
        size: of the axis, at least 1.
        count: of the resized axis.
        scale: how much longer it gets; None for count / size.
        roi: see `places`.
    """
    length = float(count) if scale is None else scale * size
    scale = count / size if scale is None else scale
    at = places(size, count, scale, length, rule.coordinates, roi)
    outside = np.zeros(count, bool)
    if rule.coordinates == "tf_crop_and_resize":
        outside = (at < 0) | (at > size - 1)
    # The tap to the left; a place that is a whole number is the right end of the way from there.
    left = np.ceil(at) - 1
    ratio = at - left
    if rule.mode == "nearest":
        chosen = left + _right(ratio, rule.rounding)
        return Taps(np.clip(chosen, 0, size - 1).astype(np.int64)[:, None], None, outside)
    shrink = min(scale, 1.0) if rule.antialias else 1.0
    half = reach(rule, size, count, scale) // 2
    steps = np.arange(1 - half, half + 1)
    distance = np.abs(steps - ratio[:, None]) * shrink
    weight = np.maximum(1 - distance, 0) if rule.mode == "linear" else cubic(distance, rule.cubic_a)
    if rule.antialias:
        weight = weight / weight.sum(1, keepdims=True)
    index = left[:, None] + steps
    if rule.exclude_outside:
        weight = np.where((index < 0) | (index >= size), 0, weight)
        total = weight.sum(1, keepdims=True)
        weight = weight / np.where(total == 0, 1, total)
    weight[outside] = 0
    return Taps(np.clip(index, 0, size - 1).astype(np.int64), weight, outside)


def reach(rule: Rule, size: int, count: int, scale: float | None) -> int:
    """How many taps each number of a resized axis has; see `taps`."""
    if rule.mode == "nearest":
        return 1
    shrink = min(count / size if scale is None else scale, 1.0) if rule.antialias else 1.0
    return 2 * ceil((1 if rule.mode == "linear" else 2) / shrink)


def inside(rule: Rule, size: int, count: int, scale: float | None, roi: tuple[float, float]) -> int:
    """How many numbers of a resized axis lie on it; found without making a table of them. See `taps`."""
    if rule.coordinates != "tf_crop_and_resize":
        return count
    length = float(count) if scale is None else scale * size
    factor = count / size if scale is None else scale

    def place(i: int) -> float:
        return float(located(np.array(i, np.float64), size, count, factor, length, rule.coordinates, roi))

    rising = place(count - 1) >= place(0)
    before = bisect(range(count), False, key=lambda i: (place(i) >= 0) if rising else (place(i) <= size - 1))
    until = bisect(range(count), False, key=lambda i: (place(i) > size - 1) if rising else (place(i) < 0))
    return until - before


def _right(ratio: Array, rounding: str) -> Array:
    """Whether the right one of two neighbours is chosen, at 0 < ratio <= 1 of the way from left to right."""
    chosen: dict[str, Array] = {
        "floor": ratio == 1,
        "ceil": ratio > 0,
        "round_prefer_floor": ratio > 0.5,
        "round_prefer_ceil": ratio >= 0.5,
    }
    return chosen[rounding]


def cubic(distance: Array, a: float) -> Array:
    """Keys' cubic convolution: the weight of a tap at this distance, which is not negative."""
    d = distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    weight: Array = np.where(d <= 1, near, np.where(d < 2, far, 0.0))
    return weight
