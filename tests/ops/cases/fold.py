"""Rows of ops/fold.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.ops.harness import Array, Case, N, real
from tinygraph.ops.fold import Col2Im, Im2Col


def pairs(op: Any, channels: int, sizes: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], tuple[int, ...] | None]]:
    """Pairs of a place in the matrix and the place in the image it stands for, or None in the padding."""
    counts = [
        (d + lo + hi - (k - 1) * gap - 1) // step + 1
        for d, k, step, (lo, hi), gap in zip(sizes, op.kernel_size, op.stride, op.padding, op.dilation, strict=True)
    ]
    for row, (c, *tap) in enumerate(np.ndindex((channels, *op.kernel_size))):
        for column, window in enumerate(np.ndindex(*counts)):
            at = [
                w * step + t * gap - lo
                for w, t, step, (lo, _), gap in zip(window, tap, op.stride, op.padding, op.dilation, strict=True)
            ]
            inside = all(0 <= i < d for i, d in zip(at, sizes, strict=True))
            yield (row, column), (c, *at) if inside else None


def im2col(op: Im2Col, x: Array) -> Array:
    n, channels, *sizes = x.shape
    found = dict(pairs(op, channels, tuple(sizes)))
    y = np.zeros((n, *(1 + max(i) for i in zip(*found, strict=True))), x.dtype)
    for target, source in found.items():
        for b in range(n if source is not None else 0):
            y[(b, *target)] = x[(b, *source)]
    return y


def col2im(op: Col2Im, x: Array) -> Array:
    channels = x.shape[1] // int(np.prod(op.kernel_size))
    lo, hi = np.array(op.padding).T
    whole = np.zeros((x.shape[0], channels, *(np.array(op.image) + lo + hi)), x.dtype)
    unpadded = Im2Col(op.kernel_size, op.stride, ((0, 0),) * len(op.image), op.dilation)
    for source, target in pairs(unpadded, channels, whole.shape[2:]):
        for b in range(x.shape[0]):
            whole[(b, *target)] = whole[(b, *target)] + x[(b, *source)]
    return whole[(..., *(slice(p, p + d) for p, d in zip(lo, op.image, strict=True)))]


CASES = [
    Case(Im2Col((2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1)), [real(N, 2, 3, 4)], im2col),
    Case(Im2Col((2, 2), (2, 1), ((1, 0), (0, 2)), (1, 2)), [real(N, 1, 4, 3)], im2col, "all attributes"),
    Case(Im2Col((3,), (2,), ((1, 1),), (1,)), [real(N, 2, 5)], im2col, "1-d"),
    Case(Col2Im((2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), (3, 4)), [real(N, 12, 4)], col2im),
    Case(Col2Im((2, 2), (2, 1), ((1, 0), (0, 2)), (1, 2), (4, 3)), [real(N, 4, 6)], col2im, "all attributes"),
    Case(Col2Im((3,), (2,), ((1, 1),), (1,), (5,)), [real(N, 6, 3)], col2im, "1-d"),
]
