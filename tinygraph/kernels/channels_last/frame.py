"""A part of a map in scratch memory, with zeros where it lies beside the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tinygraph.kernels.channels_last.program import Call
from tinygraph.kernels.scratch import Array, Index


@dataclass(frozen=True)
class Frame:
    """How the part gets there, as views of scratch memory.

    Attributes:
        index: what lies on the map x.
        borders: what is set to zero, around ...
        inside: ... where that goes.
    """

    index: Index
    borders: Sequence[Array]
    inside: Array

    def calls(self, x: Array) -> list[Call]:
        """What brings it there."""
        return [*(partial(border.fill, 0) for border in self.borders), partial(np.copyto, self.inside, x[self.index])]


def framed(memory: Array, images: slice, starts: Sequence[int], sizes: Sequence[int]) -> Frame:
    """The frame of a part of a map [N, *sizes, C].

    Args:
        memory: for it, [images, *spatial, C].
        images: which ones.
        starts: where on the map it begins, along each spatial axis; may lie in front of the map, or behind it.
        sizes: of the map.
    """
    index, borders, inside = [images], [], memory
    for axis, (start, count, size) in enumerate(zip(starts, memory.shape[1:], sizes, strict=False), 1):
        first = min(max(-start, 0), count)
        stop = max(first, min(size - start, count))
        before: Index = (slice(None),) * axis
        borders += [inside[(*before, slice(0, first))], inside[(*before, slice(stop, count))]]
        inside = inside[(*before, slice(first, stop))]
        index.append(slice(start + first, start + stop))
    return Frame(tuple(index), [border for border in borders if border.size], inside)
