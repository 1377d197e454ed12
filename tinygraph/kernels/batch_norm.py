"""Batch normalization with the statistics of the batch itself, forward and backward, a few channels at a time.

Sums are taken of differences from a number near the mean, so that their squares do not cancel,
and those of single rows are added up in float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, reduce
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.blocks import block_shape
from tinygraph.kernels.scratch import Array, carve, room
from tinygraph.kernels.workers import shares, together

WORTH_SHARING = 1 << 18  # numbers; fewer are done before another thread has begun
_PIECE = 8192  # numbers of a row that BLAS sums at once: more, and it begins threads of its own
_SAMPLES = 256  # rows that are added up in the dtype of the arrays: more, and float32 loses digits
LONG = 256  # numbers in a row from which BLAS sums row by row fastest, and a vector need not be repeated along it


@contextmanager
def short_buffers() -> Iterator[None]:
    """While the block runs, NumPy reads broadcast and strided operands where they are.

    Otherwise it copies rows shorter than 8192 numbers into buffers of that size, which takes up to
    three times as long as the arithmetic itself.
    """
    with np.errstate():  # puts the size back, too
        np.setbufsize(16)
        yield


class _Scratch:
    """Vectors [C] beside blocks [N, C, S], and sums over their samples and positions.

    Args:
        row: [C, S], or [C, 1] where rows are long.
        ones: as many as there are numbers in a piece of a long row; empty where rows are short.
    """

    def __init__(self, row: Array, ones: Array) -> None:
        self._row = row
        self._ones = ones
        ones[...] = 1

    def spread(self, vector: Array) -> Array:
        """The vector so that it broadcasts over a block; it lives until the next call of anything here."""
        row = self._row[: len(vector)]
        row[...] = vector[:, None]
        return row

    def sums(self, a: Array) -> Array:
        """The sum of each channel."""
        if self._ones.size:
            return _added(np.vecdot(part, self._ones[: part.shape[2]]).sum(0, np.float64) for part in self._pieces(a))
        row = self._row[: a.shape[1]]
        return _added(np.add.reduce(part, 0, out=row).sum(1, np.float64) for part in self._pieces(a))

    def products(self, a: Array, b: Array) -> Array:
        """The sum of a * b of each channel."""
        pairs = zip(self._pieces(a), self._pieces(b), strict=True)
        if self._ones.size:
            return _added(np.vecdot(*pair).sum(0, np.float64) for pair in pairs)
        row = self._row[: a.shape[1]]
        return _added(np.einsum("ncs,ncs->cs", *pair, out=row).sum(1, np.float64) for pair in pairs)

    def _pieces(self, a: Array) -> list[Array]:
        if self._ones.size:
            return [a[..., first : first + len(self._ones)] for first in range(0, a.shape[2], len(self._ones))]
        return [a[first : first + _SAMPLES] for first in range(0, len(a), _SAMPLES)]


def _added(parts: Iterable[Array]) -> Array:
    return reduce(np.add, parts)


class _ByChannels:
    """Arrays [N, C, *] in blocks of all samples of some channels, as many as the cache holds.

    A channel that is too large comes in several blocks of some samples each.

    Args:
        shape: [N, C, *], nothing of it 0.
        dtype: of all arrays.
        eps: added to the variance.
        workers: threads that may do some blocks each.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any], eps: float, workers: int) -> None:
        samples, channels, *sizes = shape
        self.eps = eps
        self.size = prod(sizes)
        self.count = samples * self.size
        workers = workers if samples * channels * self.size >= WORTH_SHARING else 1
        width, height = block_shape(-(-channels // workers), samples, self.size * dtype.itemsize)
        blocks = [slice(first, first + width) for first in range(0, channels, width)]
        self.parts = [blocks[part] for part in shares(len(blocks), workers)]
        self.samples = [slice(first, first + height) for first in range(0, samples, height)]
        self._dtype = dtype
        self._scratch = ((width, 1), (min(self.size, _PIECE),)) if self.size >= LONG else ((width, self.size), (0,))
        self.workspace = len(self.parts) * room(dtype, *self._scratch)

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
        """Computes all blocks into the outputs, which are uninitialised."""
        memory = list(carve(workspace, self._dtype, *self._scratch * len(self.parts)))
        together(
            [
                partial(self._run, part, inputs, outputs, _Scratch(*memory[2 * i : 2 * i + 2]))
                for i, part in enumerate(self.parts)
            ]
        )

    def _run(
        self, channels: Sequence[slice], inputs: Sequence[Array], outputs: Sequence[Array], scratch: _Scratch
    ) -> None:
        with short_buffers():
            for c in channels:
                self.channels(c, inputs, outputs, scratch)

    def channels(self, c: slice, inputs: Sequence[Array], outputs: Sequence[Array], scratch: _Scratch) -> None:
        """Computes one block of channels."""
        raise NotImplementedError

    def block(self, array: Array, samples: slice, channels: slice) -> Array:
        """A part of an array, as [N, C, S]."""
        part = array[samples, channels]
        return part.reshape(*part.shape[:2], self.size)


class BatchNormForward(_ByChannels):
    """y = (x - mean) / sqrt(var + eps) * gamma + beta, with the mean and variance of each channel, prepared."""

    def channels(self, c: slice, inputs: Sequence[Array], outputs: Sequence[Array], scratch: _Scratch) -> None:
        """From x, gamma and beta to y, mean and var."""
        x, gamma, beta = inputs
        y, mean, var = outputs
        shift = (scratch.sums(self.block(x, slice(1), c)) / self.size).astype(x.dtype)
        offset, variance = self._about(shift, x, y, c, scratch)
        if (offset * offset > variance).any():  # the first sample is far from the others
            shift = (shift + offset).astype(x.dtype)
            offset, variance = self._about(shift, x, y, c, scratch)
        mean[c], var[c] = shift + offset, variance
        scale = gamma[c] / np.sqrt(variance + self.eps)
        for n in self.samples:
            part = self.block(y, n, c)
            if len(self.samples) > 1:
                np.subtract(self.block(x, n, c), scratch.spread(shift), out=part)
            np.multiply(part, scratch.spread(scale), out=part)
            np.add(part, scratch.spread(beta[c] - offset * scale), out=part)

    def _about(self, shift: Array, x: Array, y: Array, c: slice, scratch: _Scratch) -> tuple[Array, Array]:
        """The mean of x - shift, and the variance. A single block of y is x - shift then."""
        total, squares = np.zeros(len(shift)), np.zeros(len(shift))
        for n in self.samples:
            part = self.block(x, n, c)
            centred = np.subtract(part, scratch.spread(shift), out=self.block(y, self.samples[0], c)[: len(part)])
            total += scratch.sums(centred)
            squares += scratch.products(centred, centred)
        offset = total / self.count
        return offset, np.maximum(squares / self.count - offset * offset, 0)


class BatchNormBackward(_ByChannels):
    """The gradients by x, gamma and beta of batch normalization with the statistics of the batch, prepared."""

    def channels(self, c: slice, inputs: Sequence[Array], outputs: Sequence[Array], scratch: _Scratch) -> None:
        """From x, gamma, mean, var and the cotangent of y to dx, dgamma and dbeta."""
        x, gamma, mean, var, gy = inputs
        dx, dgamma, dbeta = outputs
        inverse = 1 / np.sqrt(var[c].astype(np.float64) + self.eps)
        total, moment = self._sums(mean[c], x, gy, dx, c, scratch)
        dgamma[c], dbeta[c] = moment * inverse, total
        slope = -moment * inverse * inverse / self.count
        for n in self.samples:
            part = self.block(dx, n, c)
            if len(self.samples) > 1:
                np.subtract(self.block(x, n, c), scratch.spread(mean[c]), out=part)
            np.multiply(part, scratch.spread(slope), out=part)
            np.add(part, self.block(gy, n, c), out=part)
            np.subtract(part, scratch.spread(total / self.count), out=part)
            np.multiply(part, scratch.spread(gamma[c] * inverse), out=part)

    def _sums(self, mean: Array, x: Array, gy: Array, dx: Array, c: slice, scratch: _Scratch) -> tuple[Array, Array]:
        """The sums of gy and of gy (x - mean). A single block of dx is x - mean then."""
        total, moment = np.zeros(len(mean)), np.zeros(len(mean))
        for n in self.samples:
            part, g = self.block(x, n, c), self.block(gy, n, c)
            centred = np.subtract(part, scratch.spread(mean), out=self.block(dx, self.samples[0], c)[: len(part)])
            total += scratch.sums(g)
            moment += scratch.products(g, centred)
        return total, moment
