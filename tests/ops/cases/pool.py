"""Rows of ops/pool.py and ops/pool_grad.py: max and min pooling and their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from tests.ops.cases.quantize import whole
from tests.ops.counted import Counted
from tests.ops.harness import Array, Case, Input, N, distinct, fixed, maximum, minimum, real
from tinygraph.ops.pool import MaxPool, MinPool, Pool
from tinygraph.ops.pool_grad import ExtremeGather, ExtremeGrad

Position = tuple[int, ...] | None


def like(x: Array, number: float) -> Any:
    """A number that counts where those of x count."""
    first = x.flat[0]
    return Counted(number, first.tally) if isinstance(first, Counted) else number


def starts(size: int, window: int, stride: int, padding: tuple[int, int], dilation: int, ceil_mode: bool) -> list[int]:
    """Where the windows of an axis begin, counted from the first element of the input."""
    front, behind = padding
    span = dilation * (window - 1) + 1
    overhang = stride - 1 if ceil_mode else 0
    return [
        start
        for start in range(-front, size + behind, stride)
        if start + span <= size + behind + overhang and (start < size or not ceil_mode)
    ]


def windows(op: Pool, sizes: Sequence[int]) -> Iterator[tuple[tuple[int, ...], list[Position]]]:
    """Each window's index and the input positions of its taps, None for padding."""
    axes = zip(sizes, op.kernel_size, op.stride, op.padding, op.dilation, strict=True)
    begins = [starts(*axis, op.ceil_mode) for axis in axes]
    for index in product(*(range(len(b)) for b in begins)):
        places: list[Position] = []
        for tap in product(*map(range, op.kernel_size)):
            place = tuple(b[i] + t * d for b, i, t, d in zip(begins, index, tap, op.dilation, strict=True))
            inside = all(0 <= p < size for p, size in zip(place, sizes, strict=True))
            places.append(place if inside else None)
        yield index, places


def counts(op: Pool, x: Array) -> tuple[int, ...]:
    """How many windows there are on each axis."""
    *_, (last, _) = windows(op, x.shape[2:])
    return tuple(i + 1 for i in last)


def extreme(op: MaxPool | MinPool, x: Array) -> Array:
    better, worst = (minimum, np.inf) if isinstance(op, MinPool) else (maximum, -np.inf)
    y = np.empty((*x.shape[:2], *counts(op, x)), x.dtype)
    for n, c in np.ndindex(*x.shape[:2]):
        for index, places in windows(op, x.shape[2:]):
            taps = [x[n, c][place] if place else like(x, worst) for place in places]
            best = taps[0]
            for tap in taps[1:]:
                best = better(best, tap)
            y[n, c][index] = best
    return y


def winner(x: Array, places: list[Position], smallest: bool) -> tuple[int, ...]:
    """Where the first largest (or smallest) element of a window is; a NaN wins."""
    found, best = None, None
    for place in places:
        tap = x[place] if place else like(x, np.inf if smallest else -np.inf)
        if best is not None:
            better = tap < best if smallest else tap > best
        if place and (found is None or better or (np.isnan(float(tap)) and not np.isnan(float(best)))):
            found = place
            best = tap
        elif best is None:
            best = tap
    assert found is not None
    return found


def extreme_grad(op: ExtremeGrad, x: Array, g: Array) -> Array:
    dx = np.zeros(x.shape, x.dtype)
    for n, c in np.ndindex(*x.shape[:2]):
        for index, places in windows(op, x.shape[2:]):
            place = winner(x[n, c], places, op.smallest)
            dx[n, c][place] = dx[n, c][place] + g[n, c][index]
    return dx


def extreme_gather(op: ExtremeGather, x: Array, t: Array) -> Array:
    y = np.empty((*x.shape[:2], *counts(op, x)), x.dtype)
    for n, c in np.ndindex(*x.shape[:2]):
        for index, places in windows(op, x.shape[2:]):
            y[n, c][index] = t[n, c][winner(x[n, c], places, op.smallest)]
    return y


TWO_BY_TWO: dict[str, Any] = {"kernel_size": (2, 2), "stride": (2, 2)}
RESNET: dict[str, Any] = {"kernel_size": (3, 3), "stride": (2, 2), "padding": ((1, 1), (1, 1))}
OVERLAP: dict[str, Any] = {"kernel_size": (3, 2), "stride": (1, 1)}
CEIL: dict[str, Any] = {"kernel_size": (3, 2), "stride": (2, 3), "padding": ((1, 0), (0, 1)), "ceil_mode": True}
DILATED: dict[str, Any] = {
    "kernel_size": (2, 3),
    "stride": (2, 1),
    "padding": ((0, 1), (2, 2)),
    "dilation": (3, 2),
}
LINE: dict[str, Any] = {"kernel_size": (3,), "stride": (2,), "padding": ((2, 1),), "dilation": (1,)}
SOLID: dict[str, Any] = {
    "kernel_size": (2, 1, 2),
    "stride": (1, 2, 2),
    "padding": ((0, 0), (0, 0), (1, 0)),
    "dilation": (1, 1, 1),
}

TIES = fixed(np.array([1.0, 1, 0, 2, 2, 2, 2, 0, 1, 1, 2, 2, 0, 0, 0, 0]).reshape(1, 1, 4, 4))
LOWEST = fixed(np.full((1, 1, 3, 3), -np.inf))
NANS = fixed(np.array([1.0, np.nan, 3, -np.inf, 5, 6, np.nan, 8, np.inf]).reshape(1, 1, 3, 3))


def shapes() -> list[tuple[str, dict[str, Any], Input]]:
    """A label, the geometry and the input of each row that every op has."""
    return [
        ("2x2", TWO_BY_TWO, distinct(N, 2, 4, 5)),
        ("3x3 stride 2 padding 1", RESNET, distinct(N, 2, 5, 4)),
        ("overlapping", OVERLAP, distinct(1, 2, 4, 3)),
        ("ceil", CEIL, distinct(1, 2, 6, 6)),
        ("dilated", DILATED, distinct(2, 1, 6, 5)),
        ("1-D", LINE, distinct(2, 1, 6)),
        ("3-D", SOLID, distinct(1, 2, 3, 3, 4)),
    ]


def special() -> list[tuple[str, dict[str, Any], Input]]:
    """Ties, infinite numbers and NaN."""
    return [
        ("ties", OVERLAP, TIES),
        ("all lowest", RESNET, LOWEST),
        ("NaN", RESNET, NANS),
    ]


def per_window(geometry: dict[str, Any], x: Input) -> Input:
    """Random numbers, one for each window."""
    op = MaxPool(**geometry)
    sizes = tuple(d for d in x.shape[2:] if isinstance(d, int))
    *_, (last, _) = windows(op, sizes)
    return real(*x.shape[:2], *(i + 1 for i in last))


CASES = [
    *(Case(op(**g), [x], extreme, label) for op in (MaxPool, MinPool) for label, g, x in shapes()),
    *(
        # onnx.reference loses the NaN
        Case(op(**g), [x], extreme, label, smooth=False, reference=label != "NaN")
        for op in (MaxPool, MinPool)
        for label, g, x in special()
    ),
    Case(MaxPool(**RESNET), [whole(np.int8, N, 2, 5, 4, low=-128, high=-120)], extreme, "signed bytes"),
    Case(MaxPool(**RESNET), [whole(np.uint8, N, 2, 5, 4, low=0, high=255)], extreme, "bytes"),
    Case(MaxPool((3, 2)), [whole(np.uint8, N, 2, 3, 2, low=0, high=255)], extreme, "global of bytes"),
    Case(MaxPool((3, 3), stride=(2, 2), ceil_mode=True), [distinct(1, 1, 2, 4)], extreme, "ceil, window larger"),
    Case(MaxPool((3, 2), stride=(3, 2)), [distinct(N, 2, 3, 2)], extreme, "global"),
    *(
        Case(ExtremeGrad(**g, smallest=smallest), [x, per_window(g, x)], extreme_grad, f"{label} {smallest}")
        for label, g, x in shapes()
        for smallest in (False, True)
    ),
    *(Case(ExtremeGrad(**g), [x, per_window(g, x)], extreme_grad, label, smooth=False) for label, g, x in special()),
    *(
        Case(ExtremeGather(**g, smallest=smallest), [x, real(*x.shape)], extreme_gather, f"{label} {smallest}")
        for label, g, x in shapes()
        for smallest in (False, True)
    ),
    *(Case(ExtremeGather(**g), [x, real(*x.shape)], extreme_gather, label, smooth=False) for label, g, x in special()),
]
