"""Rows of ops/index.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Array, Case, N, booleans, integers, real
from tinygraph.ops.index import Concat, Slice, SliceGrad


def places(op: Any) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Pairs of an index into the part and the index into the whole that it stands for."""
    ranges = [range(*entry) for entry in zip(op.starts, op.stops, op.steps, strict=True)]
    part = tuple(len(r) for r in ranges)
    return [(i, tuple(r[at] for r, at in zip(ranges, i, strict=True))) for i in np.ndindex(part)]


def slice_(op: Slice, x: Array) -> Array:
    y = np.empty([len(range(*entry)) for entry in zip(op.starts, op.stops, op.steps, strict=True)], x.dtype)
    for target, source in places(op):
        y[target] = x[source]
    return y


def slice_grad(op: SliceGrad, g: Array) -> Array:
    x = np.zeros(op.shape, g.dtype)
    for source, target in places(op):
        x[target] = g[source]
    return x


def concat(op: Concat, *xs: Array) -> Array:
    axis = op.axis % xs[0].ndim
    shape = [sum(x.shape[axis] for x in xs) if i == axis else d for i, d in enumerate(xs[0].shape)]
    y = np.empty(shape, xs[0].dtype)
    offset = 0
    for x in xs:
        for i in np.ndindex(x.shape):
            y[tuple(at + offset if k == axis else at for k, at in enumerate(i))] = x[i]
        offset += x.shape[axis]
    return y


CASES = [
    Case(Slice((0, 1), (N, 4), (1, 1)), [real(N, 6)], slice_),
    Case(Slice((0, 1, 0), (N, 6, 3), (1, 2, 1)), [real(N, 7, 3)], slice_, "step"),
    Case(Slice((5, 3), (-1, 0), (-2, -1)), [real(6, 4)], slice_, "backwards"),
    Case(Slice((0, 2), (N, 2), (1, 1)), [real(N, 4)], slice_, "nothing"),
    Case(Slice((0,), (0,), (1,)), [real(0)], slice_, "empty"),
    Case(Slice((), (), ()), [real()], slice_, "0-d"),
    Case(Slice((0, 1), (N, 3), (1, 1)), [booleans(N, 3)], slice_, "booleans"),
    Case(SliceGrad((0, 1), (N, 4), (1, 1), (N, 6)), [real(N, 3)], slice_grad),
    Case(SliceGrad((0, 1, 0), (N, 6, 3), (1, 2, 1), (N, 7, 3)), [real(N, 3, 3)], slice_grad, "step"),
    Case(SliceGrad((5, 3), (-1, 0), (-2, -1), (6, 4)), [real(3, 3)], slice_grad, "backwards"),
    Case(SliceGrad((0, 2), (N, 2), (1, 1), (N, 4)), [real(N, 0)], slice_grad, "nothing"),
    Case(Concat(1), [real(N, 2, 3), real(N, 1, 3), real(N, 4, 3)], concat),
    Case(Concat(-1), [real(N, 2), real(N, 3)], concat, "last axis"),
    Case(Concat(0), [real(2, 3), real(1, 3)], concat, "first axis"),
    Case(Concat(1), [real(N, 3)], concat, "one input"),
    Case(Concat(1), [real(N, 0), real(N, 2)], concat, "empty input"),
    Case(Concat(0), [integers(2), integers(3)], concat, "integers"),
]
