"""One block of memory for many arrays: each gets an offset, and those alive at one time do not overlap.

To need as little memory as possible is a packing problem without a fast exact answer; no packing
needs less than `lower_bound`. Going through time and taking the smallest hole that fits is fast,
and next to the bound for the long graphs of training. Taking one array after the other, the largest
first, to the lowest place that is free while it lives, comes nearer for most others; and so does
trying it again with an array that came to lie on top, but earlier.
Source: Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020 (largest first).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import numpy as np

_NEAR = 1.01  # of the lower bound: near enough not to try another way
_MANY = 100_000  # pairs of buffers that are alive at one time; orders are not tried for more: it would take seconds
_TRIES = 50  # orders beside the first ones; fewer where there are many pairs


class Buffer(NamedTuple):
    """Bytes that are needed for some time.

    Attributes:
        nbytes: how many; offsets are whole multiples of their largest common divisor.
        first, last: the steps from which on and up to which, both included.
    """

    nbytes: int
    first: int
    last: int


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Most bytes that are needed at any one time."""
    changes = [0] * (max((b.last for b in buffers), default=0) + 2)
    for buffer in buffers:
        changes[buffer.first] += buffer.nbytes
        changes[buffer.last + 1] -= buffer.nbytes
    return int(np.cumsum(changes).max())


def pack(buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """An offset for each buffer, and the bytes that all of them take."""
    near = lower_bound(buffers) * _NEAR
    best = _in_order_of_time(buffers)
    if best[1] > near:
        beside = _beside(buffers)
        if beside is not None:
            best = min(best, _search(buffers, beside, near), key=lambda packed: packed[1])
    return best


def _beside(buffers: Sequence[Buffer]) -> list[list[int]] | None:
    """For each buffer, those that live at some time when it does; None if they are too many."""
    beside: list[list[int]] = [[] for _ in buffers]
    pairs = 0
    living: list[int] = []
    for i in sorted((i for i, b in enumerate(buffers) if b.nbytes), key=lambda i: buffers[i].first):
        living = [j for j in living if buffers[j].last >= buffers[i].first]
        pairs += len(living)
        if pairs > _MANY:
            return None
        beside[i] += living
        for j in living:
            beside[j].append(i)
        living.append(i)
    return beside


def _search(buffers: Sequence[Buffer], beside: Sequence[Sequence[int]], near: float) -> tuple[list[int], int]:
    """The best packing among some orders; the first that takes no more than `near` will do."""
    numbers = range(len(buffers))
    areas = [b.nbytes * (b.last - b.first + 1) for b in buffers]
    orders = [
        sorted(numbers, key=lambda i: (-buffers[i].nbytes, buffers[i].first)),
        sorted(numbers, key=lambda i: (-areas[i], buffers[i].first)),
    ]
    packed, order = min(((_one_by_one(buffers, beside, o), o) for o in orders), key=lambda found: found[0][1])
    draws = Random(0)
    for _ in range(min(_TRIES, _MANY // (1 + sum(map(len, beside))))):
        offsets, total = packed
        if total <= near:
            break
        top = draws.choice([i for i in numbers if offsets[i] + buffers[i].nbytes == total])
        below = draws.choice([i for i in beside[top] if offsets[i] < offsets[top]])
        other = [i for i in order if i != top]
        other.insert(other.index(below), top)
        again = _one_by_one(buffers, beside, other)
        if again[1] <= total:
            packed, order = again, other
    return packed


def _one_by_one(
    buffers: Sequence[Buffer], beside: Sequence[Sequence[int]], order: Sequence[int]
) -> tuple[list[int], int]:
    """Each buffer, in this order, at the lowest offset that is free while it lives."""
    offsets = [-1] * len(buffers)
    total = 0
    for i in order:
        nbytes, offset = buffers[i].nbytes, 0
        for begin, end in sorted((offsets[j], offsets[j] + buffers[j].nbytes) for j in beside[i] if offsets[j] >= 0):
            if begin - offset >= nbytes:
                break
            offset = max(offset, end)
        offsets[i] = offset
        total = max(total, offset + nbytes)
    return offsets, total


def _in_order_of_time(buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """Each buffer, when it is first needed, in the smallest hole that it fits into."""
    offsets = [0] * len(buffers)
    total = 0
    holes: list[tuple[int, int]] = []  # (bytes, offset), sorted
    begins: dict[int, int] = {}  # where a hole begins -> where it ends
    ends: dict[int, int] = {}

    def add(begin: int, end: int) -> None:
        begins[begin], ends[end] = end, begin
        insort(holes, (end - begin, begin))

    def remove(begin: int, end: int) -> None:
        del begins[begin], ends[end]
        del holes[bisect_left(holes, (end - begin, begin))]

    events = [(b.first, True, i) for i, b in enumerate(buffers) if b.nbytes]
    events += [(b.last + 1, False, i) for i, b in enumerate(buffers) if b.nbytes]  # sorts first: holes open in time
    for _, needed, i in sorted(events):
        nbytes = buffers[i].nbytes
        if needed:
            at = bisect_left(holes, (nbytes, 0))
            if at < len(holes):
                size, offset = holes[at]
                remove(offset, offset + size)
                if size > nbytes:
                    add(offset + nbytes, offset + size)
            else:
                offset = ends.get(total, total)
                if offset < total:
                    remove(offset, total)
                total = offset + nbytes
            offsets[i] = offset
        else:
            begin, end = offsets[i], offsets[i] + nbytes
            if begin in ends:
                begin = ends[begin]
                remove(begin, offsets[i])
            if end in begins:
                end = begins[end]
                remove(offsets[i] + nbytes, end)
            add(begin, end)
    return offsets, total
