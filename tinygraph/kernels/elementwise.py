"""Elementwise functions of broadcast arrays, divided among threads; several passes; a choice without branches.

Every routine may be given a result that is the memory of one of its operands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.scratch import Array, Index, carve, room
from tinygraph.kernels.workers import shares, together

_WORTH_SHARING = 1 << 16  # elements; fewer are done before another thread has begun
_TILE = 1 << 17  # elements; arrays of smaller parts are done before threads have taken turns
_SMALL_TILE = 1 << 16  # elements; a few arrays of them fit into the cache of a core

Part = tuple[slice, ...]


def divided(shape: Sequence[int], workers: int) -> list[Part]:
    """An array of this shape in at most that many parts, along the first axis that is long enough."""
    if workers > 1 and prod(shape) >= _WORTH_SHARING:
        for axis, size in enumerate(shape):
            if size >= workers:
                return [(slice(None),) * axis + (part,) for part in shares(size, workers)]
    return [()]


def tiles(shape: Sequence[int], most: int) -> Iterator[Part]:
    """An array of this shape in parts of at most so many elements, or of one element."""
    if 0 in shape:
        return
    axis = 0
    while axis < len(shape) - 1 and prod(shape[axis + 1 :]) > most:
        axis += 1
    steps = [1] * axis + [max(1, most // max(1, prod(shape[axis + 1 :])))]
    starts = [range(0, size, step) for size, step in zip(shape, steps, strict=False)]
    for first in product(*starts):
        yield tuple(slice(a, a + step) for a, step in zip(first, steps, strict=False))


def meeting(index: Part, shape: Sequence[int], ndim: int) -> Part:
    """The part of an operand that broadcasting brings to a part of a result with `ndim` axes."""
    own = index[max(0, ndim - len(shape)) :]
    return tuple(slice(None) if size == 1 else part for part, size in zip(own, shape, strict=False))


def part_of(x: Array, part: Part) -> Array:
    """The part as a view; an array also where nothing is cut."""
    whole: Index = (*part, ...)
    view: Array = x[whole]
    return view


def extent(shape: Sequence[int], index: Part) -> tuple[int, ...]:
    """The shape of a part."""
    return (*(len(range(n)[part]) for n, part in zip(shape, index, strict=False)), *shape[len(index) :])


class Elementwise:
    """y = function(*operands, out=y), prepared.

    Args:
        function: a ufunc, or what is called like one.
        operands: their shapes.
        shape: of the result.
        workers: threads that may be used.
    """

    workspace = 0

    def __init__(
        self, function: Callable[..., Any], operands: Sequence[Sequence[int]], shape: Sequence[int], workers: int
    ) -> None:
        self.function = function
        parts = divided(shape, workers)
        self.parts = [(part, [meeting(part, operand, len(shape)) for operand in operands]) for part in parts]

    def run(self, operands: Sequence[Array], y: Array) -> None:
        """Computes y."""
        if len(self.parts) == 1:
            self.function(*operands, out=y)
            return
        together(
            [
                partial(
                    self.function,
                    *(part_of(x, index) for x, index in zip(operands, indices, strict=True)),
                    out=part_of(y, part),
                )
                for part, indices in self.parts
            ]
        )


class Passes:
    """y = function(x, y, *scratch), prepared: several calls, each of which finds in the cache what the last one made.

    Args:
        function: computes y, which may be x itself.
        shape: of x and y.
        dtype: of x and y.
        scratch: arrays like x that the function needs.
        workers: threads that may be used.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(
        self, function: Callable[..., None], shape: Sequence[int], dtype: np.dtype[Any], scratch: int, workers: int
    ) -> None:
        self.function, self.dtype, self.count = function, dtype, scratch
        self.parts = []
        size = 0
        for part in divided(shape, workers):
            sizes = extent(shape, part)
            steps = [(tile, extent(sizes, tile)) for tile in tiles(sizes, _SMALL_TILE)]
            size = max([size, *(prod(sizes) for _, sizes in steps)])
            self.parts.append((part, steps))
        self.scratch = ((size,),) * (scratch * len(self.parts))
        self.workspace = room(dtype, *self.scratch)

    def run(self, x: Array, y: Array, workspace: Array) -> None:
        """Computes y."""
        memory = list(carve(workspace, self.dtype, *self.scratch))
        tasks = []
        for i, (part, steps) in enumerate(self.parts):
            own = memory[i * self.count : (i + 1) * self.count]
            tasks.append(partial(self._compute, part_of(x, part), part_of(y, part), steps, own))
        together(tasks)

    def _compute(self, x: Array, y: Array, steps: Any, scratch: Sequence[Array]) -> None:
        for tile, sizes in steps:
            own = [s[: prod(sizes)].reshape(sizes) for s in scratch]
            self.function(part_of(x, tile), part_of(y, tile), *own)


class Choice:
    """y = a where a condition holds, else b, prepared: bit by bit, since NumPy's own waits for every guess gone wrong.

    y = b ^ ((a ^ b) & mask), the mask being all ones where the condition holds.

    Args:
        shapes: of the condition, a and b.
        shape: of the result.
        dtype: of a and b, of 1, 2, 4 or 8 bytes.
        zero: whether b is known to be zero in every bit.
        workers: threads that may be used.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(
        self, shapes: Sequence[Sequence[int]], shape: Sequence[int], dtype: np.dtype[Any], zero: bool, workers: int
    ) -> None:
        self.zero = zero
        self.bits = np.dtype(f"i{dtype.itemsize}")
        self.parts = []
        size = 0
        for part in divided(shape, workers):
            sizes = extent(shape, part)
            steps = [
                (tile, [meeting(tile, s, len(shape)) for s in shapes], extent(sizes, tile))
                for tile in tiles(sizes, _TILE)
            ]
            size = max([size, *(prod(sizes) for *_, sizes in steps)])
            self.parts.append((part, [meeting(part, s, len(shape)) for s in shapes], steps))
        self.scratch = ((size,), (0,) if zero else (size,)) * len(self.parts)
        self.workspace = room(self.bits, *self.scratch)

    def run(self, condition: Array, a: Array, b: Array, y: Array, workspace: Array) -> None:
        """Computes y."""
        memory = list(carve(workspace, self.bits, *self.scratch))
        operands = (condition, a.view(self.bits), b.view(self.bits))
        y = y.view(self.bits)
        tasks = []
        for i, (part, indices, steps) in enumerate(self.parts):
            own = [part_of(x, index) for x, index in zip(operands, indices, strict=True)]
            tasks.append(partial(self._choose, own, part_of(y, part), steps, *memory[2 * i : 2 * i + 2]))
        together(tasks)

    def _choose(self, operands: Sequence[Array], y: Array, steps: Any, masks: Array, terms: Array) -> None:
        for tile, indices, sizes in steps:
            condition, a, b = (part_of(x, index) for x, index in zip(operands, indices, strict=True))
            mask = masks[: prod(sizes)].reshape(sizes)
            np.copyto(mask, condition)
            np.negative(mask, out=mask)
            if self.zero:
                np.bitwise_and(a, mask, out=part_of(y, tile))
                continue
            term = terms[: prod(sizes)].reshape(sizes)
            np.bitwise_xor(a, b, out=term)
            np.bitwise_and(term, mask, out=term)
            np.bitwise_xor(term, b, out=part_of(y, tile))
