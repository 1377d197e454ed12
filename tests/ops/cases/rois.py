"""Rows of ops/roi_align.py and ops/roi_pool.py: boxes of feature maps."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor
from typing import Any

import numpy as np

from tests.ops.cases.pool import like
from tests.ops.harness import Array, Case, Input, N, fixed, plain, real
from tinygraph.ops.roi_align import OverRois, RoiAlign, RoiAlignGrad
from tinygraph.ops.roi_pool import MaxRoiPool


def neighbours(at: float, size: int) -> list[tuple[int, float]]:
    """The two numbers beside a point on an axis, and their weights."""
    if not -1 <= at <= size:
        return [(0, 0.0), (0, 0.0)]
    at = min(max(at, 0.0), size - 1.0)
    low = floor(at)
    return [(low, 1 - (at - low)), (min(low + 1, size - 1), at - low)]


def points(op: OverRois, roi: Array, cell: tuple[int, int], sizes: tuple[int, ...]) -> list[list[Any]]:
    """For each point of a bin its four neighbours: row, column and weight."""
    x1, y1, x2, y2 = (float(plain(v)) * op.scale - (0.5 if op.half_pixel else 0) for v in roi)
    axes = []
    for start, end, bins, i, size in ((y1, y2, op.bins[0], cell[0], sizes[0]), (x1, x2, op.bins[1], cell[1], sizes[1])):
        length = (end - start if op.half_pixel else max(end - start, 1.0)) / bins
        count = op.samples or ceil(length)
        axes.append([neighbours(start + (i + (j + 0.5) / count) * length, size) for j in range(count)])
    return [[(h, w, a * b) for h, a in row for w, b in column] for row in axes[0] for column in axes[1]]


def roi_align(op: RoiAlign, x: Array, rois: Array, batch: Array) -> Array:
    y = np.empty((len(rois), x.shape[1], *op.bins), x.dtype)
    for r, c, *cell in np.ndindex(y.shape):
        result: Any = None
        around = points(op, rois[r], (cell[0], cell[1]), x.shape[2:])
        for taps in around:
            for h, w, weight in taps:
                term = x[int(batch[r]), c, h, w] * weight
                if result is None:
                    result = term
                else:
                    result = result + term if op.mode == "avg" else (result if result >= term else term)
        y[(r, c, *cell)] = result / len(around) if op.mode == "avg" else result * 1.0
    return y


def roi_align_grad(op: RoiAlignGrad, g: Array, rois: Array, batch: Array) -> Array:
    n, *sizes = (d if isinstance(d, int) else 2 for d in op.shape)
    x = np.full((n, g.shape[1], *sizes), like(g, 0.0), g.dtype)
    for r, c, *cell in np.ndindex(g.shape):
        around = points(op, rois[r], (cell[0], cell[1]), tuple(sizes))
        for taps in around:
            for h, w, weight in taps:
                at = (int(batch[r]), c, h, w)
                x[at] = x[at] + g[(r, c, *cell)] * (weight / len(around))
    return x


def max_roi_pool(op: MaxRoiPool, x: Array, rois: Array) -> Array:
    y = np.full((len(rois), x.shape[1], *op.bins), like(x, 0.0), x.dtype)
    for r, c, i, j in np.ndindex(y.shape):
        x1, y1, x2, y2 = (floor(float(v) * op.scale + 0.5) for v in rois[r, 1:])
        height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        rows = range(y1 + i * height // op.bins[0], y1 + ceil((i + 1) * height / op.bins[0]))
        columns = range(x1 + j * width // op.bins[1], x1 + ceil((j + 1) * width / op.bins[1]))
        found = [
            x[int(rois[r, 0]), c, h, w] for h in rows for w in columns if 0 <= h < x.shape[2] and 0 <= w < x.shape[3]
        ]
        y[r, c, i, j] = max(found, key=plain) if found else like(x, 0.0)
    return y


def boxes(*rows: tuple[float, ...]) -> Input:
    return replace(fixed(np.array(rows), numbers=False), held=True)


SMALL = boxes((0.3, 0.1, 1.7, 1.9), (-0.5, 1.2, 1.4, 2.6), (2.1, -1.7, 3.3, 0.2))
LARGE = boxes((0.3, 0.1, 5.7, 6.9), (-9.5, 1.2, 13.4, 8.6))
WHICH = fixed(np.array([1, 0, 1]), numbers=False)
FIRST = fixed(np.zeros(3, np.int32), numbers=False)
BOTH = fixed(np.array([0, 1]), numbers=False)

CASES = [
    Case(RoiAlign((2, 3), 2), [real(2, 2, 4, 5), SMALL, WHICH], roi_align),
    Case(RoiAlign((2, 1), 3, 0.5, False), [real(2, 2, 4, 5), LARGE, BOTH], roi_align, "scaled"),
    Case(RoiAlign((2, 2)), [real(2, 1, 4, 4), SMALL, WHICH], roi_align, "points by the box"),
    Case(RoiAlign((1, 2), 1), [real(N, 2, 3, 3), SMALL, FIRST], roi_align, "open batch"),
    Case(RoiAlign((2, 2), 2, mode="max"), [real(2, 2, 4, 5), SMALL, WHICH], roi_align, "max", smooth=False),
    Case(
        RoiAlignGrad((2, 3), 2, shape=(2, 4, 5)),
        [real(3, 2, 2, 3), SMALL, WHICH],
        roi_align_grad,
    ),
    Case(
        RoiAlignGrad((2, 2), 0, shape=(2, 4, 4)),
        [real(3, 1, 2, 2), SMALL, WHICH],
        roi_align_grad,
        "points by the box",
    ),
    Case(
        RoiAlignGrad((1, 2), 1, shape=(N, 3, 3)), [real(3, 2, 1, 2), SMALL, FIRST], roi_align_grad, "open", smooth=False
    ),
    Case(
        MaxRoiPool((2, 3), 0.5),
        [real(2, 2, 4, 5), boxes((0, 0.6, 0.2, 6.8, 5.9), (1, 3.2, 2.1, 3.1, 1.1), (1, -4, 2, 20, 30))],
        max_roi_pool,
        smooth=False,
        reference=False,
    ),
    Case(
        MaxRoiPool((4, 4)),
        [real(2, 1, 3, 3), boxes((0.0, 1, 1, 2, 2), (1.0, 7, 7, 9, 9))],
        max_roi_pool,
        "bins without numbers",
        smooth=False,
        reference=False,
    ),
]
