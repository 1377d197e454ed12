"""Borders around an array: filled with a number, or with what the array has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygraph.kernels.scratch import Array, Index

Pads = Sequence[tuple[int, int]]  # numbers in front of and behind each axis; negative where the axis is cropped


def crop(x: Array, pads: Pads) -> Array:
    """The part of x that negative pads leave, as a view."""
    return x[tuple(slice(max(-lo, 0), max(d + min(hi, 0), 0)) for d, (lo, hi) in zip(x.shape, pads, strict=True))]


def put_into_border(x: Array, pads: Pads, value: Any, bordered: Array) -> None:
    """Copies x into the middle of a larger array and writes one number around it.

    Args:
        x: any shape.
        pads: nowhere negative.
        value: the number.
        bordered: as large as x and its pads.
    """
    inside: Index = ()
    for size, (front, behind) in zip(bordered.shape, pads, strict=True):
        bordered[(*inside, slice(0, front))] = value
        bordered[(*inside, slice(size - behind, None))] = value
        inside = (*inside, slice(front, size - behind))
    bordered[inside] = x


def continue_into_border(x: Array, pads: Pads, mode: str, bordered: Array) -> None:
    """Copies x into the middle of a larger array and continues it into the border.

    Axis by axis, so that the corners are continued from borders that are there already.

    Args:
        x: any shape; not empty on an axis that has pads.
        pads: nowhere negative; in mode "reflect" less than the size of the axis.
        mode: "reflect", "edge" or "wrap", as np.pad has them.
        bordered: as large as x and its pads.
    """
    bordered[tuple(slice(front, front + d) for d, (front, _) in zip(x.shape, pads, strict=True))] = x
    for axis, (d, (front, _)) in enumerate(zip(x.shape, pads, strict=True)):
        # Later axes have no border yet: it would be copied for nothing.
        later = [slice(p, p + size) for size, (p, _) in zip(x.shape[axis + 1 :], pads[axis + 1 :], strict=True)]
        lines = bordered[(slice(None),) * axis + (slice(None), *later)].swapaxes(0, axis)
        _continue(lines, front, front + d, mode)


def _continue(lines: Array, start: int, stop: int, mode: str) -> None:
    """Fills the first axis before start and from stop on; between them it has its numbers."""
    behind = len(lines) - stop
    if mode == "edge":
        lines[:start] = lines[start : start + 1]
        lines[stop:] = lines[stop - 1 : stop]
    elif mode == "reflect":
        lines[:start] = lines[start + 1 : 2 * start + 1][::-1]
        lines[stop:] = lines[stop - 1 - behind : stop - 1][::-1]
    else:
        period = stop - start
        for end in range(start, 0, -period):
            begin = max(end - period, 0)
            lines[begin:end] = lines[begin + period : end + period]
        for begin in range(stop, len(lines), period):
            end = min(begin + period, len(lines))
            lines[begin:end] = lines[begin - period : end - period]
