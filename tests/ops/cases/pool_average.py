"""Rows of ops/pool_average.py and ops/pool_adaptive.py: average pools and their transposes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from tests.ops.cases.pool import CEIL, DILATED, LINE, OVERLAP, RESNET, SOLID, TWO_BY_TWO, counts, like, starts, windows
from tests.ops.harness import Array, Case, N, real
from tinygraph.ops.pool_adaptive import AdaptiveAvgPool, AdaptiveAvgPoolGrad
from tinygraph.ops.pool_average import AvgPool, AvgPoolGrad


def divisor(op: AvgPool | AvgPoolGrad, sizes: Sequence[int], index: tuple[int, ...]) -> int:
    """What the sum of that window is divided by: its taps on the input, or on input and padding."""
    number = 1
    for axis, i in enumerate(index):
        front, behind = op.padding[axis]
        geometry = op.kernel_size[axis], op.stride[axis], op.padding[axis], op.dilation[axis], op.ceil_mode
        start = starts(sizes[axis], *geometry)[i]
        places = [start + tap * op.dilation[axis] for tap in range(op.kernel_size[axis])]
        low, high = (-front, sizes[axis] + behind) if op.count_include_pad else (0, sizes[axis])
        number *= len([p for p in places if low <= p < high])
    return number


def average(op: AvgPool, x: Array) -> Array:
    y = np.empty((*x.shape[:2], *counts(op, x)), x.dtype)
    for n, c in np.ndindex(*x.shape[:2]):
        for index, places in windows(op, x.shape[2:]):
            first, *rest = [x[n, c][place] if place else like(x, 0.0) for place in places]
            total = first
            for tap in rest:
                total = total + tap
            y[n, c][index] = total / divisor(op, x.shape[2:], index)
    return y


def average_grad(op: AvgPoolGrad, g: Array) -> Array:
    dx = np.zeros((*g.shape[:2], *op.size), g.dtype)
    for n, c in np.ndindex(*g.shape[:2]):
        for index, places in windows(op, op.size):
            share = g[n, c][index] / divisor(op, op.size, index)
            beside = 0.0
            for place in places:
                if place:
                    dx[n, c][place] = dx[n, c][place] + share
                else:
                    beside = beside + share
    return dx


def bins(sizes: Sequence[int], counts: Sequence[int]) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """Each adaptive window's index and the positions of its elements."""
    for index in np.ndindex(*counts):
        axes = []
        for i, size, count in zip(index, sizes, counts, strict=True):
            axes.append([p for p in range(size) if p > i * size / count - 1 and p < (i + 1) * size / count])
        yield index, list(product(*axes))


def adaptive(op: AdaptiveAvgPool, x: Array) -> Array:
    y = np.empty((*x.shape[:2], *op.output_size), x.dtype)
    for n, c in np.ndindex(*x.shape[:2]):
        for index, places in bins(x.shape[2:], op.output_size):
            total = x[n, c][places[0]]
            for place in places[1:]:
                total = total + x[n, c][place]
            y[n, c][index] = total / len(places)
    return y


def adaptive_grad(op: AdaptiveAvgPoolGrad, g: Array) -> Array:
    dx = np.zeros((*g.shape[:2], *op.size), g.dtype)
    for n, c in np.ndindex(*g.shape[:2]):
        for index, places in bins(op.size, g.shape[2:]):
            share = g[n, c][index] / len(places)
            for place in places:
                dx[n, c][place] = dx[n, c][place] + share
    return dx


SHAPES: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    ("2x2", TWO_BY_TWO, (N, 2, 4, 5)),
    ("3x3 stride 2 padding 1", RESNET, (N, 2, 5, 4)),
    ("overlapping", OVERLAP, (1, 2, 4, 3)),
    ("ceil", CEIL, (1, 2, 6, 6)),
    ("ceil over the rim", {**RESNET, "ceil_mode": True}, (1, 2, 6, 4)),
    ("dilated", DILATED, (2, 1, 6, 5)),
    ("1-D", LINE, (2, 1, 6)),
    ("3-D", SOLID, (1, 2, 3, 3, 4)),
]


def sliding() -> Iterator[Case]:
    """Rows of avg_pool and its transpose."""
    for (label, geometry, shape), include in product(SHAPES, (True, False)):
        op = AvgPool(**geometry, count_include_pad=include)
        named = f"{label} {'with' if include else 'without'} padding"
        yield Case(op, [real(*shape)], average, named)
        out = counts(op, np.empty([2 if d is N else d for d in shape]))
        grad = AvgPoolGrad(**geometry, count_include_pad=include, size=shape[2:])
        yield Case(grad, [real(*shape[:2], *out)], average_grad, named)


ADAPTIVE: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = [
    ("global", (3, 4), (1, 1)),
    ("global 1-D", (5,), (1,)),
    ("same size", (3, 2), (3, 2)),
    ("even", (6, 4), (3, 2)),
    ("even, overlapping", (3, 3), (2, 2)),
    ("3-D", (2, 4, 2), (1, 2, 2)),
    ("uneven", (5, 4), (3, 3)),
    ("uneven along one axis", (3, 5), (3, 3)),
    ("larger than the input", (1, 5), (4, 2)),
    ("elements repeat", (3,), (7,)),
]

CASES = [
    *sliding(),
    *(Case(AdaptiveAvgPool(out), [real(N, 2, *size)], adaptive, label) for label, size, out in ADAPTIVE),
    *(Case(AdaptiveAvgPoolGrad(size), [real(N, 2, *out)], adaptive_grad, label) for label, size, out in ADAPTIVE),
    Case(AdaptiveAvgPoolGrad((5, 1)), [real(1, 2, 3, 3)], adaptive_grad, "uneven along both axes"),
]
