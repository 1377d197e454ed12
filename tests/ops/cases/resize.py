"""Rows of ops/resize.py: resizing of axes, and its transpose."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor
from typing import Any

import numpy as np

from tests.ops.cases.pool import like
from tests.ops.harness import Array, Case, N, booleans, integers, real
from tinygraph.ops.resampling import Resampling
from tinygraph.ops.resize import Resize, ResizeGrad


def place(op: Resampling, number: int, i: int, old: int, new: int) -> float:
    """Where number i of an axis that gets longer from old to new lies in the old one."""
    scale = op.scales[number] if op.scales else new / old
    length = old * scale if op.scales else new
    if op.coordinates == "align_corners":
        return i * (old - 1) / (length - 1) if length != 1 else 0.0
    if op.coordinates == "asymmetric":
        return i / scale
    if op.coordinates == "tf_crop_and_resize":
        start, end = ((old - 1) * part for part in op.roi[number])
        return start + i * (end - start) / (length - 1) if length != 1 else (start + end) / 2
    if op.coordinates == "pytorch_half_pixel" and length <= 1:
        return 0.0
    middle = (i + 0.5) / scale - 0.5
    return middle + old / 2 * (1 - new / length) if op.coordinates == "half_pixel_symmetric" else middle


def weight(op: Resampling, distance: float) -> float:
    """The weight of a tap so far away."""
    d, a = abs(distance), op.cubic_a
    if op.mode == "linear":
        return max(0.0, 1 - d)
    if d >= 2:
        return 0.0
    return (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a


def nearest(op: Resampling, at: float) -> int:
    if op.rounding in ("floor", "ceil"):
        return floor(at) if op.rounding == "floor" else ceil(at)
    return ceil(at - 0.5) if op.rounding == "round_prefer_floor" else floor(at + 0.5)


def taps(op: Resampling, number: int, old: int, new: int) -> Iterator[tuple[int, list[tuple[int, float]]]]:
    """Each number of the new axis, with the places and weights that it is made of; none if it lies outside."""
    scale = op.scales[number] if op.scales else new / old
    for i in range(new):
        at = place(op, number, i, old, new)
        if op.coordinates == "tf_crop_and_resize" and not 0 <= at <= old - 1:
            yield i, []
            continue
        if op.mode == "nearest":
            yield i, [(min(max(nearest(op, at), 0), old - 1), 1.0)]
            continue
        stretch = min(scale, 1.0) if op.antialias else 1.0
        reach = ceil((2 if op.mode == "cubic" else 1) / stretch)
        around = range(ceil(at) - reach, ceil(at) + reach)
        weights = [weight(op, (p - at) * stretch) for p in around]
        if op.antialias:
            weights = [w / sum(weights) for w in weights]
        if op.exclude_outside:
            weights = [w * (0 <= p < old) for p, w in zip(around, weights, strict=True)]
            weights = [w / sum(weights) for w in weights]
        yield i, [(min(max(p, 0), old - 1), w) for p, w in zip(around, weights, strict=True)]


def resize(op: Resize, x: Array) -> Array:
    beside: list[tuple[int, int]] = []
    for number in reversed(range(len(op.axes))):
        axis, new = op.axes[number], op.size[number]
        y = np.empty((*x.shape[:axis], new, *x.shape[axis + 1 :]), x.dtype)
        for i, parts in taps(op, number, x.shape[axis], new):
            for rest in np.ndindex(*x.shape[:axis], *x.shape[axis + 1 :]):
                line = x[(*rest[:axis], slice(None), *rest[axis:])]
                terms = [line[p] if op.mode == "nearest" else line[p] * w for p, w in parts]
                total: Any = terms[0] if terms else line[0]
                for term in terms[1:]:
                    total = total + term
                y[(*rest[:axis], i, *rest[axis:])] = total
            beside += [] if parts else [(axis, i)]
        x = y
    for axis, i in beside:
        x[(slice(None),) * axis + (i,)] = op.extrapolation
    return x


def resize_grad(op: ResizeGrad, g: Array) -> Array:
    for number, (axis, old) in enumerate(zip(op.axes, op.size, strict=True)):
        x = np.full((*g.shape[:axis], old, *g.shape[axis + 1 :]), like(g, 0.0), g.dtype)
        for i, parts in taps(op, number, old, g.shape[axis]):
            for rest in np.ndindex(*g.shape[:axis], *g.shape[axis + 1 :]):
                share = g[(*rest[:axis], i, *rest[axis:])]
                for p, w in parts:
                    to = (*rest[:axis], p, *rest[axis:])
                    x[to] = x[to] + (share if op.mode == "nearest" else share * w)
        g = x
    return g


LINEAR: dict[str, Any] = {"mode": "linear"}
CUBIC: dict[str, Any] = {"mode": "cubic"}
CROP: dict[str, Any] = {"coordinates": "tf_crop_and_resize"}

FORMS: list[tuple[str, tuple[int, int], tuple[int, int], dict[str, Any]]] = [  # from these sizes to those
    ("twice", (2, 3), (4, 6), {}),
    ("3 times, floor", (2, 2), (6, 6), {"coordinates": "asymmetric", "rounding": "floor"}),
    ("smaller", (5, 7), (3, 2), {}),
    ("ceil", (3, 4), (5, 6), {"rounding": "ceil"}),
    ("prefer ceil", (4, 5), (6, 2), {"rounding": "round_prefer_ceil", "coordinates": "align_corners"}),
    ("symmetric", (5, 4), (3, 2), {"coordinates": "half_pixel_symmetric", "scales": (0.7, 0.6)}),
    ("linear twice", (3, 2), (6, 4), LINEAR),
    ("linear 3 times", (3, 4), (9, 12), LINEAR | {"coordinates": "asymmetric"}),
    ("linear smaller", (5, 6), (3, 4), LINEAR),
    ("linear corners", (3, 4), (5, 7), LINEAR | {"coordinates": "align_corners"}),
    ("linear to one", (3, 4), (1, 1), LINEAR | {"coordinates": "pytorch_half_pixel"}),
    ("linear scales", (4, 5), (2, 7), LINEAR | {"coordinates": "align_corners", "scales": (0.6, 1.5)}),
    ("linear antialias", (7, 6), (3, 4), LINEAR | {"antialias": True}),
    ("linear crop", (4, 5), (3, 4), LINEAR | CROP | {"roi": ((0.25, 0.75), (0.125, 0.5))}),
    ("cubic twice", (3, 4), (6, 8), CUBIC),
    ("cubic", (4, 3), (5, 2), CUBIC | {"cubic_a": -0.5, "exclude_outside": True}),
    ("cubic antialias", (8, 5), (3, 6), CUBIC | {"antialias": True, "exclude_outside": True}),
    ("cubic scales", (4, 3), (2, 4), CUBIC | {"coordinates": "half_pixel_symmetric", "scales": (0.6, 1.4)}),
]


def exact(attributes: dict[str, Any]) -> dict[str, Any]:
    """With scales that float32 has, as ONNX does."""
    scales = tuple(float(np.float32(s)) for s in attributes.get("scales", ()))
    return attributes | {"scales": scales}


CASES = [
    *(
        Case(Resize((2, 3), new, **exact(how)), [real(N, 2, *old)], resize, label, tolerance=2e-5)
        for label, old, new, how in FORMS
    ),
    Case(
        Resize((1, 2), (3, 4), **LINEAR, **CROP, roi=((-0.5, 1.0), (0.5, 2.0)), extrapolation=7.0),
        [real(N, 4, 5)],
        resize,
        "beside the input",
    ),
    Case(Resize((1,), (3,), **LINEAR, **CROP, roi=((0.0, 1.0),)), [real(2, 3)], resize, "the whole"),
    Case(Resize((1,), (1,), **LINEAR, **CROP, roi=((0.25, 1.0),)), [real(2, 3)], resize, "the middle"),
    Case(Resize((0,), (4,), **LINEAR), [real(3)], resize, "1-D"),
    Case(Resize((0, 2, 3, 4), (3, 2, 5, 1), **LINEAR), [real(2, 2, 3, 2, 2)], resize, "many axes"),
    Case(Resize((1, 2), (3, 2), scales=(0.6, 0.6)), [real(2, 5, 3)], resize, "rounded up"),
    Case(Resize((1, 2), (4, 2)), [integers(N, 2, 3)], resize, "integers"),
    Case(Resize((1,), (7,)), [booleans(N, 3)], resize, "booleans", reference=False),
    *(
        Case(ResizeGrad((2, 3), old, **exact(how)), [real(N, 2, *new)], resize_grad, label, tolerance=2e-5)
        for label, old, new, how in FORMS
    ),
    Case(
        ResizeGrad((1, 2), (4, 5), **LINEAR, **CROP, roi=((-0.5, 1.0), (0.5, 0.75))),
        [real(N, 3, 4)],
        resize_grad,
        "from beside",
    ),
]
