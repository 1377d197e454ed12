"""Arrays read between their numbers: the taps of each point with their weights, and sums over them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_A = -0.75  # the coefficient of Keys' cubic filter

# For each mode: the first tap, counted from the one to the left of the point, and for each tap the
# polynomial that is its weight at f of the way to the right, lowest power first.
FILTERS: dict[str, tuple[int, Array]] = {
    "nearest": (0, np.array([[1.0]])),
    "linear": (0, np.array([[1.0, -1], [0, 1]])),
    "cubic": (
        -1,
        np.array([[0, _A, -2 * _A, _A], [1, 0, -_A - 3, _A + 2], [0, -_A, 2 * _A + 3, -_A - 2], [0, 0, _A, -_A]]),
    ),
}
PADDINGS = ("zeros", "border", "reflection")


def unnormalized(grid: Array, sizes: Sequence[int], align_corners: bool) -> Array:
    """From points between -1 and 1, x before y, [..., axes], to places in an array of these sizes, y before x.

    -1 and 1 are the first and the last number of an axis (align_corners), or the outer borders of these.
    """
    length = np.array(sizes, grid.dtype)
    along = grid[..., ::-1] + 1
    places: Array = along / 2 * (length - 1) if align_corners else (along * length - 1) / 2
    return places


def mirrored(at: Array, size: int, align_corners: bool) -> tuple[Array, Array]:
    """Places mirrored at both ends of an axis until they are on it, and which way they move: 1 or -1."""
    low, span = (0.0, size - 1) if align_corners else (-0.5, size)
    if not span:
        return at * 0, at * 0
    away = np.abs(at - low)
    turns = np.floor(away / span)
    rest = away - turns * span
    even = turns % 2 == 0
    direction = np.where(even, 1.0, -1.0) * np.where(at < low, -1.0, 1.0)
    return low + np.where(even, rest, span - rest), direction.astype(at.dtype)


def axis_taps(
    at: Array, size: int, mode: str, padding: str, align_corners: bool, order: int = 0
) -> tuple[Array, Array]:
    """The taps of points on one axis: their indices, -1 where there is nothing, and weights, [..., taps].

    Args:
        at: the points, 0 being the first number of the axis.
        size: of the axis.
        mode: "nearest", halves to even; "linear"; "cubic".
        padding: "zeros"; "border", which repeats the ends; "reflection".
        align_corners: reflection is at the first and the last number; else half a step beyond them.
        order: the weights differentiated by the point so many times.
    """
    if mode == "nearest":
        at = np.rint(at)
    slope: Any = 1.0
    beyond = 0.0 if align_corners else 0.5
    beside = (at < -beyond) | (at > size - 1 + beyond)
    if padding == "zeros":
        at = np.clip(at, -4, size + 3)  # far enough for no tap to be inside
    elif padding == "border":
        at, slope = np.where(beside, np.clip(at, 0, size - 1), at), np.where(beside, 0, 1)
    else:
        on_axis, direction = mirrored(at, size, align_corners)
        at, slope = np.where(beside, on_axis, at), np.where(beside, direction, 1)
    first, polynomials = FILTERS[mode]
    left = np.floor(at)
    index = np.where(np.isfinite(left), left, 0).astype(np.int64)[..., None] + first + np.arange(len(polynomials))
    for _ in range(order):
        polynomials = polynomials[:, 1:] * np.arange(1, polynomials.shape[1])
    f = (at - left)[..., None]
    weight = np.zeros((*at.shape, len(polynomials)), at.dtype)
    for coefficients in polynomials.T[::-1].astype(at.dtype):
        weight = weight * f + coefficients
    weight = weight * np.asarray(slope**order, at.dtype)[..., None]
    inside = (index >= 0) & (index < size)
    if padding == "zeros":
        return np.where(inside, index, -1), np.where(inside, weight, 0)
    if padding == "reflection":
        index = np.rint(mirrored(index.astype(np.float64), size, align_corners)[0]).astype(np.int64)
    return np.clip(index, 0, size - 1), weight


def taps(
    at: Array, sizes: Sequence[int], mode: str, padding: str, align_corners: bool, orders: Sequence[int] = ()
) -> tuple[Array, Array]:
    """The taps of points [..., axes] in an array of these sizes: indices into it as one row, and weights, [..., taps].

    Args:
        at: the points, floating.
        sizes: of the axes.
        mode: see `axis_taps`.
        padding: see `axis_taps`.
        align_corners: see `axis_taps`.
        orders: how many times the weights are differentiated along each axis; not at all by default.
    """
    leading = at.shape[:-1]
    index, weight = np.zeros((*leading, 1), np.int64), np.ones((*leading, 1), at.dtype)
    for axis, (size, order) in enumerate(zip(sizes, orders or (0,) * len(sizes), strict=True)):
        own, share = axis_taps(at[..., axis], size, mode, padding, align_corners, order)
        wide, narrow = index[..., :, None], own[..., None, :]
        index = np.where((wide < 0) | (narrow < 0), -1, wide * size + narrow).reshape(*leading, -1)
        weight = (weight[..., :, None] * share[..., None, :]).reshape(*leading, -1)
    return index, weight


def tap_sum(x: Array, index: Array, weight: Array) -> Array:
    """y[n, c, p] = sum over k of weight[n, p, k] x[n, c, index[n, p, k]]; where the index is -1, x is 0."""
    y = np.zeros((*x.shape[:2], index.shape[1]), x.dtype)
    for sample, places, weights, result in zip(x, index, weight.astype(x.dtype), y, strict=True):
        row = _with_nothing(sample, places)
        for k in range(index.shape[2]):
            result += row.take(places[:, k], 1) * weights[:, k]
    return y


def _with_nothing(row: Array, places: Array) -> Array:
    """[C, S], with a 0 behind it if there is an index -1 that would read it."""
    return np.pad(row, ((0, 0), (0, 1))) if (places < 0).any() else row


def tap_scatter(g: Array, index: Array, weight: Array, size: int) -> Array:
    """x[n, c, s] = sum of weight[n, p, k] g[n, c, p] where index[n, p, k] = s, for s < size."""
    x = np.zeros((*g.shape[:2], size), g.dtype)
    for share, places, weights, result in zip(g, index, weight.astype(g.dtype), x, strict=True):
        wide = np.zeros((size + 1, len(share)), g.dtype)
        for k in range(index.shape[2]):
            np.add.at(wide, places[:, k], (share * weights[:, k]).T)
        result[...] = wide[:size].T
    return x


def tap_products(x: Array, g: Array, index: Array) -> Array:
    """w[n, p, k] = sum over c of g[n, c, p] x[n, c, index[n, p, k]]; where the index is -1, x is 0."""
    w = np.zeros(index.shape, x.dtype)
    for sample, share, places, result in zip(x, g, index, w, strict=True):
        row = _with_nothing(sample, places)
        for k in range(index.shape[2]):
            result[:, k] = (row.take(places[:, k], 1) * share).sum(0)
    return w


def sample(x: Array, at: Array, mode: str, padding: str, align_corners: bool) -> Array:
    """x [N, C, *sizes] read at points [N, *points, axes]: [N, C, *points]."""
    n, c, *sizes = x.shape
    points = at.shape[1:-1]
    index, weight = taps(at.reshape(n, prod(points), len(sizes)), sizes, mode, padding, align_corners)
    return tap_sum(x.reshape(n, c, prod(sizes)), index, weight).reshape(n, c, *points)
