"""Depthwise convolution by multiply-adds: each filter reads one channel, so there is no matrix product in it."""

from __future__ import annotations

from math import prod

import numpy as np

from tinygraph.kernels.geometry import Array, Geometry, carve, put_into_border, room
from tinygraph.kernels.taps import taps

# Input, product and sum of a block are gone through once a tap: they should stay in the L2 cache.
_BLOCK_BYTES = 1 << 20


class Depthwise:
    """y = w * x + b where every group has one input channel and one or more filters."""

    algorithm = "depthwise"

    def __init__(self, g: Geometry) -> None:
        self.g = g
        wanted = max(_BLOCK_BYTES // ((prod(g.padded) + 2 * g.positions) * g.dtype.itemsize), 1)
        self.channels = min(wanted, g.channels)
        self.images = min(wanted // g.channels, g.batch) if self.channels == g.channels else 1
        self.padded = (self.images, self.channels, *g.padded) if g.is_padded else (0,)
        self.product = (self.images, self.channels, *g.out)
        self.workspace = room(g.dtype, self.padded, self.product)

    def run(self, x: Array, w: Array, b: Array | None, y: Array, workspace: Array) -> None:
        """Computes y [batch, filters, *out], C-contiguous."""
        g = self.g
        padded, product = carve(workspace, g.dtype, self.padded, self.product)
        y = y.reshape(g.batch, g.channels, -1, *g.out)
        w = w.reshape(g.channels, -1, *(1,) * len(g.out), *g.kernel)
        b = None if b is None else b.reshape(g.channels, -1, *(1,) * len(g.out))
        for image in range(0, g.batch, self.images):
            for channel in range(0, g.channels, self.channels):
                channels = slice(channel, channel + self.channels)
                block = x[image : image + self.images, channels]
                if g.is_padded:
                    inside = padded[: block.shape[0], : block.shape[1]]
                    put_into_border(block, g.padding, inside)
                    block = inside
                for m in range(y.shape[2]):
                    self._filter(
                        block,
                        w[channels, m],
                        None if b is None else b[channels, m],
                        y[image : image + self.images, channels, m],
                        product[: block.shape[0], : block.shape[1]],
                    )

    def _filter(self, x: Array, w: Array, b: Array | None, y: Array, product: Array) -> None:
        """One filter for each channel: y [n, channels, *out], by w [channels, 1.., *kernel]."""
        g = self.g
        out = y
        for tap, region in taps(g.kernel, g.out, g.stride, g.dilation):
            np.multiply(x[region], w[tap], out=out)
            if out is product:
                y += product
            out = product
        if b is not None:
            y += b
