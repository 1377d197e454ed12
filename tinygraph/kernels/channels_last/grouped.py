"""Small groups of channels as fewer and larger ones, whose weight has zeros between what was apart.

Products are faster with enough channels, and Winograd's transforms do the same for all of them. But a number that is
not finite comes into results of its neighbours.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.scratch import Array

# As many channels together are enough.
_CHANNELS = 16


def merged(g: Geometry) -> Geometry:
    """The convolution with as few of its groups merged as make enough channels."""
    divisors = (n for n in range(1, g.groups + 1) if g.groups % n == 0)
    together = next((n for n in divisors if n * (g.channels // g.groups) >= _CHANNELS), g.groups)
    return replace(g, groups=g.groups // together)


def block_diagonal(weight: Array, groups: int, fewer: int) -> Array:
    """The weight [filters, channels / groups, *kernel] for fewer groups, [filters, channels / fewer, *kernel]."""
    if fewer == groups:
        return weight
    filters, channels, *kernel = weight.shape
    together = groups // fewer
    wide = np.zeros((fewer, together, filters // groups, together, channels, *kernel), weight.dtype)
    apart = weight.reshape(fewer, together, filters // groups, channels, *kernel)
    for n in range(together):
        wide[:, n, :, n] = apart[:, n]
    return wide.reshape(filters, together * channels, *kernel)
