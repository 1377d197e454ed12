"""Rows of ops/pad.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Array, Case, N, booleans, integers, real
from tinygraph.ops.pad import Pad, PadGrad


def source(at: int, dim: int, mode: str) -> int | None:
    """Which number stands at a place that may lie outside; None for the constant."""
    if 0 <= at < dim:
        return at
    if mode == "constant":
        return None
    if mode == "edge":
        return 0 if at < 0 else dim - 1
    if mode == "wrap":
        return at % dim
    return -at if at < 0 else 2 * (dim - 1) - at


def sources(op: Any, dims: tuple[int, ...]) -> Any:
    """Pairs of an index into the padded array and the index that it comes from, or None."""
    for i in np.ndindex(tuple(d + lo + hi for d, (lo, hi) in zip(dims, op.pads, strict=True))):
        found = tuple(source(at - lo, d, op.mode) for at, d, (lo, _) in zip(i, dims, op.pads, strict=True))
        yield i, None if None in found else found


def pad(op: Pad, x: Array) -> Array:
    y = np.empty([d + lo + hi for d, (lo, hi) in zip(x.shape, op.pads, strict=True)], x.dtype)
    for target, place in sources(op, x.shape):
        y[target] = op.value if place is None else x[place]
    return y


def pad_grad(op: PadGrad, g: Array) -> Array:
    x = np.zeros([d - lo - hi for d, (lo, hi) in zip(g.shape, op.pads, strict=True)], g.dtype)
    for place, target in sources(op, x.shape):
        x[target] = x[target] + g[place]
    return x


CASES = [
    Case(Pad(((0, 0), (0, 0), (1, 2), (2, 1))), [real(N, 2, 3, 3)], pad),
    Case(Pad(((0, 0), (1, 2)), value=-1.5), [real(N, 3)], pad, "value"),
    Case(Pad(((0, 0), (3, 0)), value=float("-inf")), [real(N, 2)], pad, "minus infinity", smooth=False),
    Case(Pad(((0, 0), (-1, -2))), [real(N, 5)], pad, "crop", reference=False),
    Case(Pad(((0, 0), (-1, 2), (2, -1))), [real(N, 3, 3)], pad, "crop and fill", reference=False),
    Case(Pad(((-2, 3),)), [real(2)], pad, "crop everything", reference=False),
    Case(Pad(((0, 0), (2, 2), (1, 0)), "reflect"), [real(N, 3, 4)], pad, "reflect"),
    Case(Pad(((0, 0), (-1, 2)), "reflect"), [real(N, 4)], pad, "reflect and crop", reference=False),
    Case(Pad(((0, 0), (2, 3), (0, 1)), "edge"), [real(N, 2, 3)], pad, "edge"),
    Case(Pad(((0, 0), (3, -2)), "edge"), [real(N, 4)], pad, "edge and crop", reference=False),
    Case(Pad(((0, 0), (2, 1), (1, 9)), "wrap"), [real(N, 2, 4)], pad, "wrap"),
    Case(Pad(((0, 0), (-1, -2)), "wrap"), [real(N, 4)], pad, "wrap and crop", reference=False),
    Case(Pad(()), [real()], pad, "0-d", reference=False),
    Case(Pad(((1, 1), (0, 0))), [real(0, 2)], pad, "empty"),
    Case(Pad(((0, 0), (1, 0)), value=7.0), [integers(N, 2)], pad, "integers"),
    Case(Pad(((0, 0), (1, 0)), value=2**53 + 1), [integers(N, 2)], pad, "a large integer"),
    Case(Pad(((0, 0), (1, 0)), value=1.0), [booleans(N, 2)], pad, "booleans"),
    Case(PadGrad(((0, 0), (2, 2), (1, 0)), "reflect"), [real(N, 7, 5)], pad_grad, "reflect"),
    Case(PadGrad(((0, 0), (-1, 2)), "reflect"), [real(N, 5)], pad_grad, "reflect and crop"),
    Case(PadGrad(((0, 0), (2, 3), (0, 1)), "edge"), [real(N, 7, 4)], pad_grad, "edge"),
    Case(PadGrad(((0, 0), (3, -2)), "edge"), [real(N, 5)], pad_grad, "edge and crop"),
    Case(PadGrad(((0, 0), (2, 1), (1, 9)), "wrap"), [real(N, 5, 14)], pad_grad, "wrap"),
]
