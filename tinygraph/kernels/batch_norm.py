"""Batch normalization with the statistics of the batch itself, forward and backward, a few channels at a time.

Sums are taken of differences from a number near the mean, so that their squares do not cancel,
and those of single rows are added up in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.blocks import block_shape
from tinygraph.kernels.scratch import Array, carve, room

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
        ones: [S] where rows are long, else empty.
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
            total: Array = np.matmul(a, self._ones).sum(0, dtype=np.float64)
        else:
            total = np.add.reduce(a, 0, out=self._row[: a.shape[1]]).sum(1, dtype=np.float64)
        return total

    def products(self, a: Array, b: Array) -> Array:
        """The sum of a * b of each channel."""
        if self._ones.size:
            total: Array = np.vecdot(a, b).sum(0, dtype=np.float64)
        else:
            total = np.einsum("ncs,ncs->cs", a, b, out=self._row[: a.shape[1]]).sum(1, dtype=np.float64)
        return total


class _ByChannels:
    """Arrays [N, C, *] in blocks of all samples of some channels, as many as the cache holds.

    A channel that is too large comes in several blocks of some samples each.

    Args:
        shape: [N, C, *], nothing of it 0.
        dtype: of all arrays.
        eps: added to the variance.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any], eps: float) -> None:
        samples, channels, *sizes = shape
        self.eps = eps
        self.size = prod(sizes)
        self.count = samples * self.size
        width, height = block_shape(channels, samples, self.size * dtype.itemsize)
        self.channels = [slice(first, first + width) for first in range(0, channels, width)]
        self.samples = [slice(first, first + height) for first in range(0, samples, height)]
        self._dtype = dtype
        self._scratch = ((width, 1), (self.size,)) if self.size >= LONG else ((width, self.size), (0,))
        self.workspace = room(dtype, *self._scratch)

    def scratch(self, workspace: Array) -> _Scratch:
        return _Scratch(*carve(workspace, self._dtype, *self._scratch))

    def block(self, array: Array, samples: slice, channels: slice) -> Array:
        """A part of an array, as [N, C, S]."""
        part = array[samples, channels]
        return part.reshape(*part.shape[:2], self.size)


class BatchNormForward(_ByChannels):
    """y = (x - mean) / sqrt(var + eps) * gamma + beta, with the mean and variance of each channel, prepared."""

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
        """From x, gamma and beta to y, mean and var, uninitialised."""
        x, gamma, beta = inputs
        y, mean, var = outputs
        scratch = self.scratch(workspace)
        with short_buffers():
            for c in self.channels:
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

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
        """From x, gamma, mean, var and the cotangent of y to dx, dgamma and dbeta, uninitialised."""
        x, gamma, mean, var, gy = inputs
        dx, dgamma, dbeta = outputs
        scratch = self.scratch(workspace)
        with short_buffers():
            for c in self.channels:
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
