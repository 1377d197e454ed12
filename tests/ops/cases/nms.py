"""Rows of ops/nms.py. Their counts are known, so that results have the inferred shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Array, Case, fixed, plain
from tinygraph.ops.nms import NonMaxSuppression


def corners(op: NonMaxSuppression, box: Array) -> list[tuple[float, float]]:
    """Low and high end of a box on both axes."""
    a, b, c, d = (float(v) for v in box)
    if op.centred:
        return [(a - c / 2, a + c / 2), (b - d / 2, b + d / 2)]
    return [(min(a, c), max(a, c)), (min(b, d), max(b, d))]


def overlap(op: NonMaxSuppression, one: Array, other: Array) -> float:
    pairs = list(zip(corners(op, one), corners(op, other), strict=True))
    shared = np.prod([max(min(p[1], q[1]) - max(p[0], q[0]), 0.0) for p, q in pairs])
    both = sum(np.prod([box[side][1] - box[side][0] for side in (0, 1)]) for box in zip(*pairs, strict=True))
    return float(shared / (both - shared)) if shared > 0 else 0.0


def nms(op: NonMaxSuppression, boxes: Array, scores: Array) -> Array:
    kept: list[tuple[int, int, int]] = []
    for n, c in np.ndindex(*scores.shape[:2]):
        of_class: list[int] = []
        left = [b for b, s in enumerate(scores[n, c]) if op.threshold is None or s > op.threshold]
        for b in sorted(left, key=lambda b: -plain(scores[n, c, b])):
            if len(of_class) < op.most and all(overlap(op, boxes[n, b], boxes[n, k]) <= op.overlap for k in of_class):
                of_class.append(b)
        kept += [(n, c, b) for b in of_class]
    return np.array(kept, np.int64).reshape(-1, 3)


# Two heaps of boxes, one of them given by its other corners, and a box without an area.
BOXES = [
    [[0.0, 0, 1, 1], [0, 0.125, 1, 1.125], [1, 0.875, 0, -0.125], [0, 10, 1, 11], [0, 10.125, 1, 11.125], [5, 5, 5, 5]]
]
CENTRED = [
    [[0.5, 0.5, 1, 1], [0.5, 0.625, 1, 1], [0.5, 0.375, 1, 1], [0.5, 10, 1, 1], [0.5, 10.125, 1, 1], [5, 5, 0, 0]]
]
SCORES = [[[0.75, 0.75, 0.5, 0.875, 0.25, 0.125], [0.125, 0.25, 0.375, 0.5, 0.0, 0.625]]]


def given(boxes: Any, scores: Any = SCORES) -> list[Any]:
    return [fixed(np.array(boxes), numbers=False), fixed(np.array(scores))]


CASES = [
    Case(NonMaxSuppression(6, 3, 0.5), given(BOXES), nms),
    Case(NonMaxSuppression(5, 9, 0.5, 0.125), given(BOXES), nms, "threshold"),
    Case(NonMaxSuppression(6, 3, 0.5, centred=True), given(CENTRED), nms, "centred"),
    Case(NonMaxSuppression(12, 9, 1.0), given(BOXES), nms, "all"),
    Case(NonMaxSuppression(0, 0), given(BOXES), nms, "none"),
    Case(NonMaxSuppression(4, 1, 0.5, 0.0), given(BOXES * 2, SCORES * 2), nms, "batch"),
]
