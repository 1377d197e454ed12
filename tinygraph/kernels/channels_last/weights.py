"""Weights of convolutions as Winograd's products read them."""

from __future__ import annotations

from functools import partial

import numpy as np

from tinygraph.kernels.scratch import Array
from tinygraph.kernels.workers import shares, together

_BLOCK = 1 << 11  # pairs of filter and channel that are transformed at a time: their numbers stay in the cache


def transformed(weight: Array, matrix: Array, parts: int, workers: int) -> Array:
    """A weight [filters, channels, k, k] with both axes of its kernels transformed.

    Args:
        weight: the result has its dtype, and is rounded to that once.
        matrix: G [t, k], in float64.
        parts: into which the filters are divided.
        workers: threads that it may use.

    Returns:
        [t t, parts, channels, filters of a part]; the first axis as [axis 1, axis 0] of the kernels.
    """
    filters, channels, *kernel = weight.shape
    width = filters // parts
    both = np.einsum("ia,jb->jiab", matrix, matrix).reshape(len(matrix) ** 2, -1)
    taps = weight.reshape(parts, width, channels, *kernel)
    made = np.empty((len(both), parts, channels, width), weight.dtype)
    blocks = [(n, block) for n in range(parts) for block in shares(channels, -(-channels * width // _BLOCK))]

    def transform(share: slice) -> None:
        for n, block in blocks[share]:
            wide = np.ascontiguousarray(np.moveaxis(taps[n, :, block], (2, 3, 1, 0), (0, 1, 2, 3)), np.float64)
            made[:, n, block] = (both @ wide.reshape(both.shape[1], -1)).reshape(len(both), -1, width)

    together([partial(transform, share) for share in shares(len(blocks), workers)])
    return made
