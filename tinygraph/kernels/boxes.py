"""Boxes: how much they overlap, and which are left when those that overlap better ones are gone."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def corners(boxes: Array, centred: bool) -> Array:
    """Boxes [n, 4] as lowest and highest corner, [2, n, 2]: from two corners, or from a centre and its sizes."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if centred:
        return np.stack([first - second / 2, first + second / 2])
    return np.stack([np.minimum(first, second), np.maximum(first, second)])


def overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of a box [2, 1, 2] with others [2, n, 2]: [n]; 0 with those that have no area."""
    low, high = np.maximum(box[0], others[0]), np.minimum(box[1], others[1])
    shared = np.maximum(high - low, 0).prod(1)
    own, theirs = (box[1] - box[0]).prod(1), (others[1] - others[0]).prod(1)
    union = own + theirs - shared
    real = (shared > 0) & (own > 0) & (theirs > 0) & (union > 0)
    result: Array = np.where(real, shared / np.where(real, union, 1), 0)
    return result


def best_boxes(
    boxes: Array, scores: Array, most: int, overlap: float, threshold: float | None, centred: bool
) -> list[int]:
    """Numbers of the boxes that are left, the best one first; of equal ones, the first.

    Args:
        boxes: [n, 4].
        scores: [n].
        most: how many may be left.
        overlap: boxes that overlap a better one by more are left out.
        threshold: boxes whose score is not above it are left out.
        centred: boxes are centres and sizes; else two corners.
    """
    left = np.arange(len(scores)) if threshold is None else np.flatnonzero(scores > threshold)
    left = left[np.argsort(-scores[left], kind="stable")]
    places = corners(boxes[left], centred)
    chosen: list[int] = []
    while len(left) and len(chosen) < most:
        chosen.append(int(left[0]))
        apart = overlaps(places[:, :1], places[:, 1:]) <= overlap
        left, places = left[1:][apart], places[:, 1:][:, apart]
    return chosen
