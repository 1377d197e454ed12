"""Group normalization, some groups of some samples at a time. Layer normalization is that of one group."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from tinygraph.kernels.batch_norm import LONG, WORTH_SHARING, short_buffers
from tinygraph.kernels.blocks import Block, blocks
from tinygraph.kernels.scratch import Array
from tinygraph.kernels.workers import shares, together


class GroupNormByRows:
    """y = (x - mean) / sqrt(var + eps) * gamma + beta, prepared, with the statistics of each group of each sample.

    Args:
        samples: N.
        groups: G.
        channels: D, of a group.
        size: S, numbers in a channel.
        dtype: of all arrays.
        eps: added to the variance.
        workers: threads that may do some blocks each.
    """

    def __init__(
        self, samples: int, groups: int, channels: int, size: int, dtype: np.dtype[Any], eps: float, workers: int
    ) -> None:
        self.eps = eps
        self.rows = samples, groups, channels * size
        self.channels = groups, channels, size
        found = list(blocks(samples, groups, channels * size * dtype.itemsize))
        workers = workers if samples * groups * channels * size >= WORTH_SHARING else 1
        self.parts = [found[part] for part in shares(len(found), workers)]
        self.buffers = short_buffers if size >= LONG else nullcontext

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
        """From x, G D S numbers a sample, and gamma and beta, G D numbers each, to y like x, uninitialised."""
        x, y = inputs[0], outputs[0]
        if not x.flags.c_contiguous:
            y[...] = x
            x = y
        rows, results = x.reshape(self.rows), y.reshape(self.rows)
        gamma, beta = (vector.reshape(*self.channels[:2], 1) for vector in inputs[1:])
        together([partial(self._run, part, rows, gamma, beta, results) for part in self.parts])

    def _run(self, found: Sequence[Block], rows: Array, gamma: Array, beta: Array, results: Array) -> None:
        with self.buffers():
            for block in found:
                part, count = results[block], results.dtype.type(self.rows[2])
                mean = np.add.reduce(rows[block], 2, keepdims=True) / count
                np.subtract(rows[block], mean, out=part)
                variance = np.vecdot(part, part)[..., None] / count
                np.multiply(part, 1 / np.sqrt(variance + part.dtype.type(self.eps)), out=part)
                affine = part.reshape(len(part), -1, *self.channels[1:])
                np.multiply(affine, gamma[block[1]], out=affine)
                np.add(affine, beta[block[1]], out=affine)
