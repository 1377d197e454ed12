"""Rows of ops/space.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.ops.harness import Array, Case, N, integers, real
from tinygraph.ops.space import DepthToSpace, SpaceToDepth


def pairs(op: Any, space: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Pairs of a place in space and its place in depth."""
    b = op.block
    for n, c, h, w in np.ndindex(space):
        pixel = (h % b) * b + w % b
        channel = pixel * space[1] + c if op.order == "DCR" else c * b * b + pixel
        yield (n, c, h, w), (n, channel, h // b, w // b)


def space_to_depth(op: SpaceToDepth, x: Array) -> Array:
    n, c, h, w = x.shape
    y = np.empty((n, c * op.block**2, h // op.block, w // op.block), x.dtype)
    for space, depth in pairs(op, x.shape):
        y[depth] = x[space]
    return y


def depth_to_space(op: DepthToSpace, x: Array) -> Array:
    n, c, h, w = x.shape
    y = np.empty((n, c // op.block**2, h * op.block, w * op.block), x.dtype)
    for space, depth in pairs(op, y.shape):
        y[space] = x[depth]
    return y


CASES = [
    Case(SpaceToDepth(2), [real(N, 3, 4, 6)], space_to_depth),
    Case(SpaceToDepth(2, "CRD"), [real(N, 3, 4, 6)], space_to_depth, "channels first"),
    Case(SpaceToDepth(1), [real(N, 3, 2, 2)], space_to_depth, "blocks of one"),
    Case(SpaceToDepth(2), [integers(N, 1, 2, 4)], space_to_depth, "integers"),
    Case(DepthToSpace(2), [real(N, 12, 2, 3)], depth_to_space),
    Case(DepthToSpace(2, "CRD"), [real(N, 12, 2, 3)], depth_to_space, "channels first"),
    Case(DepthToSpace(3), [real(N, 9, 1, 0)], depth_to_space, "empty"),
]
