"""The gradient of max and min pooling, tap by tap: each window's number goes to the element that won it.

Elements whose places leave the same remainder when divided by the stride are put together. Then
the windows and what they meet at one tap are two arrays of one layout, some places apart: every
step is one pass over contiguous memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.blocks import Block
from tinygraph.kernels.pooling import Separable
from tinygraph.kernels.scratch import Array, Index, carve, room
from tinygraph.kernels.workers import together


class Scatter:
    """The gradient of the pooling of [N, C, *sizes] to [N, C, *counts], prepared.

    Args:
        pool: the pooling.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(self, pool: Separable) -> None:
        self.pool = pool
        self.disjoint = all(stride > (kernel - 1) * dilation for _, _, kernel, stride, dilation, _ in pool.axes)
        # Each tap of an axis: the remainder of its elements, and how many places further on they are.
        steps = [[divmod(tap * d, stride)[::-1] for tap in range(k)] for _, _, k, stride, d, _ in pool.axes]
        sizes = [size for size, *_ in pool.axes]
        self.counts = [count for _, count, *_ in pool.axes]
        self.line = [count + axis[-1][1] for count, axis in zip(self.counts, steps, strict=True)]
        remainders = [sorted({remainder for remainder, _ in axis}) for axis in steps]
        self.phases = list(product(*remainders))
        weights = [prod(self.line[axis:]) for axis in range(1, len(self.line) + 1)]
        self.taps = []
        for tap in product(*steps):
            phase = self.phases.index(tuple(remainder for remainder, _ in tap))
            self.taps.append((phase, sum(ahead * weight for (_, ahead), weight in zip(tap, weights, strict=True))))
        self.places = [self._place(phase) for phase in self.phases]
        reached = sum(prod(len(range(n)[e]) for n, e in zip(sizes, which[1:], strict=True)) for _, which in self.places)
        self.complete = reached == prod(sizes)
        self.shape = (*pool.block, *self.line)
        self.bits = np.dtype(f"i{pool.dtype.itemsize}")
        self.shapes = ((len(self.phases), *self.shape), (len(self.phases), *self.shape), self.shape, self.shape)
        self.numbers = room(pool.dtype, *self.shapes)
        self.flags = room(np.dtype(bool), self.shape, self.shape)
        self.scratch = self.numbers + room(self.bits, self.shape) + self.flags
        self.workspace = self.scratch * len(pool.parts)

    def _place(self, phase: tuple[int, ...]) -> tuple[Index, Index]:
        """Where the elements of a phase stand in memory of the shape `line`, and which ones they are."""
        inside: list[Any] = []
        elements: list[Any] = []
        for (size, _, _, stride, _, front), remainder, length in zip(self.pool.axes, phase, self.line, strict=True):
            start = remainder - front
            first = max(0, -(start // stride))
            end = max(first, min(length, (size - 1 - start) // stride + 1))
            inside.append(slice(first, end))
            elements.append(slice(start + first * stride, max(0, start + (end - 1) * stride + 1), stride))
        return (..., *inside), (..., *elements)

    def run(self, better: Any, x: Array, g: Array, dx: Array, workspace: Array) -> bool:
        """Scatters g to where the windows of x have their winners.

        Args:
            better: np.maximum or np.minimum.
            x: the array that was pooled.
            g: one number for each window.
            dx: the result, uninitialised.
            workspace: bytes.

        Returns:
            Whether it is done; False if a winner is not finite: NaN are equal to nothing, infinity to
            what stands around the input.
        """
        done = [False] * len(self.pool.parts)

        def part(i: int) -> None:
            memory = workspace[i * self.scratch : (i + 1) * self.scratch]
            done[i] = self._part(better, self.pool.parts[i], x, g, dx, memory)

        together([partial(part, i) for i in range(len(done))])
        return all(done)

    def _part(self, better: Any, found: Sequence[Block], x: Array, g: Array, dx: Array, memory: Array) -> bool:
        arrays = list(carve(memory, self.pool.dtype, *self.shapes))
        (mask,) = carve(memory[self.numbers :], self.bits, self.shape)
        flags = list(carve(memory[self.scratch - self.flags :], np.dtype(bool), self.shape, self.shape))
        windows: Index = (..., *(slice(count) for count in self.counts))
        worst = -np.inf if better is np.maximum else np.inf
        for block in found:
            n, c = x[block].shape[:2]
            size = n * c * prod(self.line)
            elements, slopes = (
                a.reshape(-1)[: len(self.phases) * size].reshape(-1, n, c, *self.line) for a in arrays[:2]
            )
            won, own = (a.reshape(-1)[:size].reshape(n, c, *self.line) for a in arrays[2:])
            undecided, hit, bits = (a.reshape(-1)[:size] for a in (*flags, mask))
            elements.fill(worst)
            for memory_of, (inside, which) in zip(elements, self.places, strict=True):
                memory_of[inside] = x[block][which]
            own.fill(0)
            own[windows] = g[block]  # what lies beside the windows wins garbage, and shares out a 0
            self._win(better, elements.reshape(-1, size), won.reshape(-1))
            if not np.isfinite(won[windows]).all():
                return False
            self._scatter(
                elements.reshape(-1, size),
                slopes.reshape(-1, size),
                won.reshape(-1),
                own.reshape(-1),
                undecided,
                hit,
                bits,
            )
            target = dx[block]
            if not self.complete:
                target[...] = 0
            for slope, (inside, which) in zip(slopes, self.places, strict=True):
                target[which] = slope[inside]
        return True

    def _win(self, better: Any, elements: Array, won: Array) -> None:
        """The best element of each window."""
        (phase, _), *rest = self.taps
        won[...] = elements[phase]
        for phase, ahead in rest:
            length = won.size - ahead
            better(won[:length], elements[phase, ahead:], out=won[:length])

    def _scatter(
        self, elements: Array, slopes: Array, won: Array, own: Array, undecided: Array, hit: Array, bits: Array
    ) -> None:
        if not self.disjoint:
            slopes.fill(0)
        undecided[...] = True
        for phase, ahead in self.taps:
            length = won.size - ahead
            found, mask, open_ones = hit[:length], bits[:length], undecided[:length]
            np.equal(elements[phase, ahead:], won[:length], out=found)
            np.logical_and(found, open_ones, out=found)
            np.logical_xor(open_ones, found, out=open_ones)
            # A mask and no product: infinity times 0 is not 0.
            np.copyto(mask, found)
            np.negative(mask, out=mask)
            target = slopes[phase, ahead:]
            share = target.view(self.bits) if self.disjoint else mask
            np.bitwise_and(mask, own[:length].view(self.bits), out=share)
            if not self.disjoint:
                target += mask.view(slopes.dtype)
