"""Layers that move numbers about, or do nothing."""

from __future__ import annotations

from typing import Any

from tinygraph import ops
from tinygraph.nn.layer import Layer


class Flatten(Layer):
    """Makes one axis of the axes from start_dim to end_dim."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Any:
        """[N, C, H, W] -> [N, C * H * W], unless told otherwise."""
        return ops.flatten(x, self.start_dim, self.end_dim)


class Identity(Layer):
    """Returns what it gets."""

    def forward(self, x: Any) -> Any:
        """The x that came in."""
        return x
