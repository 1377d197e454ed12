"""Rows of ops/shape.py."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, booleans, integers, real
from tinygraph.ir import Symbol
from tinygraph.ops.shape import BroadcastTo, Reshape, Transpose


def reshape(op: Reshape, x: Array) -> Array:
    y = np.empty(op.shape, x.dtype)
    for source, target in zip(np.ndindex(x.shape), np.ndindex(y.shape), strict=True):
        y[target] = x[source]
    return y


def transpose(op: Transpose, x: Array) -> Array:
    y = np.empty([x.shape[axis] for axis in op.axes], x.dtype)
    for i in np.ndindex(y.shape):
        y[i] = x[tuple(i[op.axes.index(axis)] for axis in range(x.ndim))]
    return y


def broadcast_to(op: BroadcastTo, x: Array) -> Array:
    y = np.empty(op.shape, x.dtype)
    for i in np.ndindex(y.shape):
        own = i[len(i) - x.ndim :]
        y[i] = x[tuple(at if d > 1 else 0 for at, d in zip(own, x.shape, strict=True))]
    return y


CASES = [
    Case(Reshape((N, 12)), [real(N, 3, 4)], reshape, "flatten"),
    Case(Reshape((N, 1, 6)), [real(N, 2, 3)], reshape, "new axis"),
    Case(Reshape((3, N, 2)), [real(N, 6)], reshape, "batch moves"),
    Case(Reshape((N, N, 2, 3)), [real(2, 3, N, N)], reshape, "two that move"),
    Case(Reshape(()), [real(1, 1)], reshape, "to a scalar"),
    Case(Reshape((1,)), [real()], reshape, "from a scalar"),
    Case(Reshape((0, 3)), [real(5, 0)], reshape, "empty"),
    Case(Reshape((6,)), [booleans(2, 3)], reshape, "booleans"),
    Case(Transpose((0, 2, 1)), [real(N, 3, 4)], transpose),
    Case(Transpose((1, 2, 0)), [real(N, 3, 4)], transpose, "cyclic"),
    Case(Transpose(()), [real()], transpose, "0-d"),
    Case(Transpose((1, 0)), [integers(N, 0)], transpose, "empty"),
    Case(BroadcastTo((N, 3, 4)), [real(N, 1, 4)], broadcast_to),
    Case(BroadcastTo((N, N)), [real(N, 1)], broadcast_to, "to an open size"),
    Case(BroadcastTo((N, Symbol("2*N"))), [real(N, 1)], broadcast_to, "to twice an open size"),
    Case(BroadcastTo((2, 3)), [real()], broadcast_to, "scalar"),
    Case(BroadcastTo((2, 5, 3)), [real(3)], broadcast_to, "new axes"),
    Case(BroadcastTo((2, 3)), [real(2, 3)], broadcast_to, "same"),
    Case(BroadcastTo((0, 3)), [integers(1, 3)], broadcast_to, "empty"),
]
