"""One block of memory for many arrays: each gets an offset, and those alive at one time do not overlap.

To need as little memory as possible is a packing problem without a fast exact answer; no packing
needs less than `lower_bound`. Going through time and taking the smallest hole that fits is fast,
and next to the bound for the long graphs of training. Taking the largest array first, to the
lowest place that is free while it lives, is slower, and at the bound for most others.
Source: Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

_MANY = 4096  # buffers; taking the largest first is not tried for more: its time grows with their square
_NEAR = 1.01  # of the lower bound: near enough not to try another way


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
    for rank in (_nbytes, _area):
        if best[1] > near and len(buffers) <= _MANY:
            best = min(best, _one_by_one(buffers, rank), key=lambda packed: packed[1])
    return best


def _nbytes(buffer: Buffer) -> int:
    return buffer.nbytes


def _area(buffer: Buffer) -> int:
    return buffer.nbytes * (buffer.last - buffer.first + 1)


def _one_by_one(buffers: Sequence[Buffer], rank: Callable[[Buffer], int]) -> tuple[list[int], int]:
    """Each buffer, the highest rank first, at the lowest offset that is free while it lives."""
    offsets = [0] * len(buffers)
    firsts, lasts, starts, ends = np.zeros((4, len(buffers)), np.int64)
    for count, i in enumerate(sorted(range(len(buffers)), key=lambda i: (-rank(buffers[i]), buffers[i].first))):
        nbytes, first, last = buffers[i]
        beside = np.flatnonzero((firsts[:count] <= last) & (lasts[:count] >= first))
        beside = beside[np.argsort(starts[beside])]
        # Below each neighbour there is a gap down to the highest end of those before it.
        floors = np.maximum.accumulate(np.append(0, ends[beside]))
        gaps = np.append(starts[beside], np.iinfo(np.int64).max) - floors
        offset = int(floors[np.argmax(gaps >= nbytes)])
        offsets[i] = offset
        firsts[count], lasts[count], starts[count], ends[count] = first, last, offset, offset + nbytes
    return offsets, int(ends.max(initial=0))


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
