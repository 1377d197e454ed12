"""Rows of the linear layer and the matrix product."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, integers, real
from tinygraph.ops.matmul import Linear, MatMul


def naive_linear(op: Linear, x: Array, w: Array, *bias: Array) -> Array:
    y = np.empty((*x.shape[:-1], len(w)), x.dtype)
    for *at, unit in np.ndindex(*y.shape):
        total = 0
        for i in range(w.shape[1]):
            total = total + x[(*at, i)] * w[unit, i]
        y[(*at, unit)] = total + bias[0][unit] if bias else total
    return y


def naive_matmul(op: MatMul, a: Array, b: Array) -> Array:
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = np.empty((*stack, a.shape[-2], b.shape[-1]), a.dtype)
    for *at, row, column in np.ndindex(*y.shape):
        total = 0
        for i in range(a.shape[-1]):
            total = total + pick(a, at)[row, i] * pick(b, at)[i, column]
        y[(*at, row, column)] = total
    return y


def pick(a: Array, at: list[int]) -> Array:
    """The matrix of a stack that broadcasting puts there."""
    own = at[len(at) - (a.ndim - 2) :]
    return a[tuple(i if n > 1 else 0 for i, n in zip(own, a.shape, strict=False))]


CASES = [
    Case(Linear(), [real(N, 4), real(3, 4), real(3)], naive_linear),
    Case(Linear(), [real(1, 4), real(3, 4)], naive_linear, "no bias"),
    Case(Linear(), [real(4), real(3, 4), real(3)], naive_linear, "vector"),
    Case(Linear(), [real(N, 3, 4), real(2, 4), real(2)], naive_linear, "leading axes"),
    Case(Linear(), [real(2, 3, 1, 4), real(2, 4)], naive_linear, "three leading axes"),
    Case(MatMul(), [real(2, 3), real(3, 4)], naive_matmul),
    Case(MatMul(), [real(N, 2, 3), real(N, 3, 2)], naive_matmul, "stacks"),
    Case(MatMul(), [real(N, 1, 2, 3), real(4, 3, 2)], naive_matmul, "broadcast stacks"),
    Case(MatMul(), [real(3, 4), real(N, 4, 1)], naive_matmul, "matrix by stack"),
    Case(MatMul(), [integers(N, 2, 3), integers(3, 2)], naive_matmul, "integers"),
    Case(MatMul(), [real(2, 0), real(0, 3)], naive_matmul, "of no numbers"),
]
