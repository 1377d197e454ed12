"""Rows of ops/deform_conv.py: convolution with moved taps."""

from __future__ import annotations

from itertools import product
from math import floor
from typing import Any

import numpy as np

from tests.ops.cases.conv import place
from tests.ops.cases.pool import like
from tests.ops.cases.sampling import points
from tests.ops.harness import Array, Case, Input, N, plain, real
from tinygraph.ops.deform_conv import DeformConv


def between(x: Array, at: list[float]) -> Any:
    """x at a place between its numbers; zeros are around."""
    total: Any = None
    for side in product((0, 1), repeat=len(at)):
        corner = [floor(a) + s for a, s in zip(at, side, strict=True)]
        weight = float(np.prod([1 - abs(a - p) for a, p in zip(at, corner, strict=True)]))
        inside = all(0 <= p < n for p, n in zip(corner, x.shape, strict=True))
        value = x[tuple(corner)] if inside else like(x, 0.0)
        # A difference: these sums of products are no MACs, which are those of the convolution.
        total = value * weight if total is None else total - value * -weight
    return total


def deform_conv(op: DeformConv, x: Array, w: Array, offset: Array, *more: Array) -> Array:
    mask, bias = (more[0] if op.masked else None), more[op.masked :]
    k, per_group, *kernel = w.shape
    windows, axes = offset.shape[2:], len(kernel)
    shared = x.shape[1] // op.offset_groups
    columns = np.empty((*x.shape[:2], *kernel, *windows), x.dtype)
    for n, c, *at in np.ndindex(columns.shape):
        tap, window = tuple(at[:axes]), tuple(at[axes:])
        number = c // shared * int(np.prod(kernel)) + int(np.ravel_multi_index(tap, kernel))
        here = place(op, window, tap)
        fronts = (front for front, _ in op.padding)
        moved = [
            h - front + float(plain(offset[(n, number * axes + axis, *window)]))
            for axis, (h, front) in enumerate(zip(here, fronts, strict=True))
        ]
        value = between(x[n, c], moved)
        columns[(n, c, *at)] = value if mask is None else value * mask[(n, number, *window)]
    y = np.empty((len(x), k, *windows), x.dtype)
    for n, f, *window in np.ndindex(y.shape):
        first = f // (k // op.groups) * per_group
        total: Any = 0
        for c, *tap in np.ndindex(per_group, *kernel):
            total = total + w[(f, c, *tap)] * columns[(n, first + c, *tap, *window)]
        y[(n, f, *window)] = total + bias[0][f] if bias else total
    return y


def offsets(*shape: Any) -> Input:
    return points(*shape, low=-1.4, high=1.4)


GROUPS: dict[str, Any] = {
    "stride": (2, 1),
    "padding": ((1, 0), (0, 1)),
    "dilation": (1, 2),
    "groups": 2,
    "offset_groups": 2,
}

CASES = [
    Case(DeformConv(), [real(N, 2, 3, 3), real(2, 2, 2, 2), offsets(N, 8, 2, 2)], deform_conv, tolerance=1e-4),
    Case(
        DeformConv(padding=((1, 1), (1, 1))),
        [real(1, 1, 2, 3), real(1, 1, 3, 3), offsets(1, 18, 2, 3), real(1)],
        deform_conv,
        "bias",
        tolerance=1e-4,
    ),
    Case(
        DeformConv(masked=True),
        [real(N, 1, 3, 2), real(1, 1, 2, 1), offsets(N, 4, 2, 2), real(N, 2, 2, 2)],
        deform_conv,
        "mask",
        tolerance=1e-4,
    ),
    Case(
        DeformConv(**GROUPS, masked=True),
        [real(2, 4, 4, 4), real(2, 2, 2, 2), offsets(2, 16, 2, 3), real(2, 8, 2, 3), real(2)],
        deform_conv,
        "groups",
        tolerance=1e-4,
    ),
    Case(
        DeformConv((1,), ((0, 0),), (1,)),
        [real(1, 2, 4), real(1, 2, 2), offsets(1, 2, 3)],
        deform_conv,
        "1-D",
        tolerance=1e-4,
        reference=False,
    ),
]
