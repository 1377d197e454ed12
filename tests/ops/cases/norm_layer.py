"""Rows of ops/norm_layer.py: layer and group normalization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.ops.cases.norm import average
from tests.ops.harness import Array, Case, N, real, sqrt
from tinygraph.ops.norm_layer import GroupNorm, LayerNorm, SampleNorm

Index = tuple[int, ...]


def normalized(
    op: SampleNorm, x: Array, gamma: Array, beta: Array, set_of: Callable[[Index], Index], place: Callable[[Index], Any]
) -> Array:
    """Numbers share a mean if set_of says the same of their indices; their gamma and beta are at place."""
    y = np.empty(x.shape, x.dtype)
    for shared in {set_of(i) for i in np.ndindex(x.shape)}:
        places = [i for i in np.ndindex(x.shape) if set_of(i) == shared]
        mean = average([x[i] for i in places])
        deviations = {i: x[i] - mean for i in places}
        inverse = 1 / sqrt(average([d * d for d in deviations.values()]) + op.eps)
        for i, d in deviations.items():
            y[i] = d * inverse * gamma[place(i)] + beta[place(i)]
    return y


def layer_norm(op: LayerNorm, x: Array, gamma: Array, beta: Array) -> Array:
    return normalized(op, x, gamma, beta, lambda i: i[: op.axis], lambda i: i[op.axis :])


def group_norm(op: GroupNorm, x: Array, gamma: Array, beta: Array) -> Array:
    width = x.shape[1] // op.groups
    return normalized(op, x, gamma, beta, lambda i: (i[0], i[1] // width), lambda i: i[1])


CASES = [
    Case(LayerNorm(1), [real(N, 5), real(5), real(5)], layer_norm, "vectors"),
    Case(LayerNorm(2, eps=1e-3), [real(N, 3, 4), real(4), real(4)], layer_norm, "sequences"),
    Case(LayerNorm(1), [real(N, 2, 2, 3), real(2, 2, 3), real(2, 2, 3)], layer_norm, "images"),
    Case(LayerNorm(0), [real(7), real(7), real(7)], layer_norm, "all"),
    Case(GroupNorm(2), [real(N, 4, 2, 2), real(4), real(4)], group_norm, "images"),
    Case(GroupNorm(1), [real(N, 3, 2), real(3), real(3)], group_norm, "one group"),
    Case(GroupNorm(3), [real(N, 3, 2, 2), real(3), real(3)], group_norm, "instances"),
    Case(GroupNorm(2, eps=1e-3), [real(3, 4), real(4), real(4)], group_norm, "vectors"),
    Case(GroupNorm(2), [real(2, 4, 16, 17), real(4), real(4)], group_norm, "long rows"),
]
