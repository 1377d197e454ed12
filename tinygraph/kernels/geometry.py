"""The numbers of one convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.scratch import Array


@dataclass(frozen=True)
class Geometry:
    """A convolution that takes [batch, channels, *sizes] to [batch, filters, *out].

    Its transpose goes the other way, its weight gradient takes both to the weight's shape
    [filters, channels / groups, *kernel].
    """

    batch: int
    channels: int
    filters: int
    sizes: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int
    dtype: np.dtype[Any]

    @property
    def depth(self) -> int:
        """Numbers that one output number is made of: channels of a group times taps."""
        return self.channels // self.groups * prod(self.kernel)

    @property
    def positions(self) -> int:
        """Output positions of one image."""
        return prod(self.out)

    @property
    def padded(self) -> tuple[int, ...]:
        """Spatial sizes with the padding."""
        return tuple(n + front + behind for n, (front, behind) in zip(self.sizes, self.padding, strict=True))

    def reach(self, counts: Sequence[int]) -> tuple[int, ...]:
        """How many positions of the padded input so many neighbouring windows meet, along each axis."""
        axes = zip(counts, self.stride, self.kernel, self.dilation, strict=True)
        return tuple((n - 1) * s + (k - 1) * d + 1 for n, s, k, d in axes)

    @property
    def is_padded(self) -> bool:
        """Whether there is any padding."""
        return self.padded != self.sizes

    @property
    def is_pointwise(self) -> bool:
        """Whether every output position reads one input position and no padding."""
        return prod(self.kernel) == 1 and not self.is_padded

    @property
    def is_dense(self) -> bool:
        """Whether it is pointwise and reads every input position."""
        return self.is_pointwise and self.out == self.sizes

    @property
    def matrix_shape(self) -> tuple[int, int, int]:
        """The weight as a matrix for each group: [groups, filters / groups, depth]."""
        return self.groups, self.filters // self.groups, self.depth

    def matrix(self, w: Array) -> Array:
        """The weight in that shape."""
        return w.reshape(self.matrix_shape)

    def matrices(self, y: Array) -> Array:
        """The output as [batch, groups, filters / groups, positions]."""
        return y.reshape(self.batch, self.groups, self.filters // self.groups, self.positions)
