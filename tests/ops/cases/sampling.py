"""Rows of ops/sampling.py and ops/grid_sample.py: arrays read between their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import floor, prod
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial

from tests.ops.cases.pool import like
from tests.ops.harness import Array, Case, Input, N, fixed, real
from tinygraph.ops.grid_sample import GridSample
from tinygraph.ops.sampling import TapIndex, TapProducts, TapScatter, TapSum, TapWeight

A = -0.75
NEAR = {"linear": Polynomial([1.0, -1]), "cubic": Polynomial([1.0, 0, -A - 3, A + 2])}
FAR = {"linear": Polynomial([0.0]), "cubic": Polynomial([-4 * A, 8 * A, -5 * A, A])}


def mirror(at: float, size: int, align_corners: bool) -> tuple[float, int]:
    """A place mirrored at the ends again and again, and its direction."""
    low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
    direction = 1
    while low < high and not low <= at <= high:
        at, direction = (2 * low - at if at < low else 2 * high - at), -direction
    return (at, direction) if low < high else (0.0, 0)


def axis_taps(op: Any, at: float, size: int, order: int) -> list[tuple[int | None, float]]:
    """Place and weight of each tap on an axis; None for nothing."""
    at = float(at)
    if op.mode == "nearest":
        at = float(np.rint(at))
    beyond = 0.0 if op.align_corners else 0.5
    direction = 1
    if op.padding != "zeros" and not -beyond <= at <= size - 1 + beyond:
        inside = min(max(at, 0.0), size - 1.0), 0
        at, direction = inside if op.padding == "border" else mirror(at, size, op.align_corners)
    reach = {"nearest": (0, 1), "linear": (0, 2), "cubic": (-1, 3)}[op.mode]
    found: list[tuple[int | None, float]] = []
    for place in range(floor(at) + reach[0], floor(at) + reach[1]):
        weight = 1.0 if order == 0 else 0.0
        if op.mode != "nearest":
            away = at - place
            side = 1 if place <= floor(at) else -1
            part = NEAR if abs(away) <= 1 and place in (floor(at), floor(at) + 1) else FAR
            weight = float(part[op.mode].deriv(order)(abs(away)) * side**order) * direction**order
        if op.padding == "zeros":
            found.append((place, weight) if 0 <= place < size else (None, 0.0))
        elif op.padding == "border":
            found.append((min(max(place, 0), size - 1), weight))
        else:
            found.append((round(mirror(place, size, op.align_corners)[0]), weight))
    return found


def point_taps(op: Any, at: Sequence[float], sizes: Sequence[int], orders: Sequence[int]) -> list[tuple[int, float]]:
    """The taps of a point: place in the array as one row, -1 for nothing, and weight."""
    axes = [axis_taps(op, *axis) for axis in zip(at, sizes, orders, strict=True)]
    return [
        (
            -1 if any(p is None for p, _ in taps) else int(np.ravel_multi_index([p for p, _ in taps], sizes)),
            prod(w for _, w in taps),
        )
        for taps in product(*axes)
    ]


def tap_index(op: TapIndex, at: Array) -> Array:
    points = [point_taps(op, at[i], op.size, [0] * len(op.size)) for i in np.ndindex(at.shape[:-1])]
    return np.array([[place for place, _ in taps] for taps in points]).reshape(*at.shape[:-1], -1)


def tap_weight(op: TapWeight, at: Array) -> Array:
    orders = op.orders or [0] * len(op.size)
    points = [point_taps(op, at[i], op.size, orders) for i in np.ndindex(at.shape[:-1])]
    return np.array([[weight for _, weight in taps] for taps in points]).reshape(*at.shape[:-1], -1)


def total(terms: list[Any]) -> Any:
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def read(row: Array, place: int) -> Any:
    return row[place] if place >= 0 else like(row, 0.0)


def tap_sum(op: TapSum, x: Array, index: Array, w: Array) -> Array:
    y = np.empty((*x.shape[:2], index.shape[1]), x.dtype)
    for n, c, p in np.ndindex(y.shape):
        y[n, c, p] = total([read(x[n, c], i) * v for i, v in zip(index[n, p], w[n, p], strict=True)])
    return y


def tap_scatter(op: TapScatter, g: Array, index: Array, w: Array) -> Array:
    x = np.full((*g.shape[:2], op.size + 1), like(g, 0.0), g.dtype)
    for n, c, p in np.ndindex(g.shape):
        for i, v in zip(index[n, p], w[n, p], strict=True):
            x[n, c, i] = x[n, c, i] + g[n, c, p] * v
    return x[:, :, :-1]


def tap_products(op: TapProducts, x: Array, g: Array, index: Array) -> Array:
    w = np.empty(index.shape, x.dtype)
    for n, p, k in np.ndindex(w.shape):
        w[n, p, k] = total([read(x[n, c], index[n, p, k]) * g[n, c, p] for c in range(x.shape[1])])
    return w


def grid_sample(op: GridSample, x: Array, grid: Array) -> Array:
    sizes = x.shape[2:]
    y = np.empty((*x.shape[:2], *grid.shape[1:-1]), x.dtype)
    for n, c, *p in np.ndindex(y.shape):
        ends = [(0, s - 1) if op.align_corners else (-0.5, s - 0.5) for s in sizes]
        point = reversed(grid[(n, *p)])
        at = [low + (high - low) * (v + 1) / 2 for (low, high), v in zip(ends, point, strict=True)]
        taps = point_taps(op, at, sizes, [0] * len(sizes))
        row = x[n, c].ravel()
        y[(n, c, *p)] = read(row, taps[0][0]) if op.mode == "nearest" else total([read(row, i) * w for i, w in taps])
    return y


def points(*shape: Any, low: float = -1.7, high: float = 1.7) -> Input:
    """Random points, some of them outside; arithmetic with them does not count."""
    return Input(shape, lambda rng, dims: rng.uniform(low, high, dims), numbers=False)


def places(*shape: Any, below: int) -> Input:
    """Random places in a row, some of them nothing."""
    return Input(shape, lambda rng, dims: rng.integers(-1, below, dims), numbers=False)


MODES = list(product(("linear", "cubic", "nearest"), ("zeros", "border", "reflection"), (False, True)))
ORDERS = [(), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]

CASES = [
    *(
        Case(
            GridSample(mode, padding, align),
            [real(N, 2, 3, 4), points(N, 2, 3, 2)],
            grid_sample,
            f"{mode} {padding} {align}",
            tolerance=1e-4,
        )
        for mode, padding, align in MODES
    ),
    Case(GridSample(), [real(1, 2, 3), points(1, 4, 1)], grid_sample, "1-D", tolerance=1e-4),
    Case(
        GridSample(padding="border"), [real(N, 1, 2, 3, 2), points(N, 2, 1, 2, 3)], grid_sample, "3-D", tolerance=1e-4
    ),
    Case(
        GridSample("cubic", "reflection", True),
        [real(1, 1, 1, 2), points(1, 1, 4, 2)],
        grid_sample,
        "one number",
        reference=False,
    ),
    *(
        Case(
            TapIndex((3, 4), mode, padding, align),
            [points(N, 3, 2, low=-4, high=7)],
            tap_index,
            f"{mode} {padding} {align}",
        )
        for mode, padding, align in MODES
    ),
    *(
        Case(
            TapWeight((3, 4), mode, padding, align, orders),
            [points(N, 3, 2, low=-4, high=7)],
            tap_weight,
            f"{mode} {padding} {align} {orders}",
            tolerance=1e-4,
        )
        for mode, padding, align in MODES
        for orders in ORDERS
    ),
    Case(TapWeight((3,), "linear"), [points(4, 1)], tap_weight, "1-D"),
    Case(TapSum(), [real(N, 2, 4), places(N, 3, 2, below=4), real(N, 3, 2)], tap_sum),
    Case(TapSum(), [real(1, 1, 2), fixed(np.full((1, 2, 1), -1), False), real(1, 2, 1)], tap_sum, "nothing"),
    Case(TapScatter(4), [real(N, 2, 3), places(N, 3, 2, below=4), real(N, 3, 2)], tap_scatter),
    Case(TapProducts(), [real(N, 2, 4), real(N, 2, 3), places(N, 3, 2, below=4)], tap_products),
]
