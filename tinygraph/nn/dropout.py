"""Dropout."""

from __future__ import annotations

from typing import Any

from tinygraph.errors import UsageError
from tinygraph.nn import functional
from tinygraph.nn.layer import Layer


class Dropout(Layer):
    """In training zeroes elements at random and scales the others by 1 / (1 - p); else nothing.

    Args:
        p: probability that an element is dropped.

    Source: Srivastava et al. 2014.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise UsageError(f"p={p} is not a probability: give a number from 0 to 1")
        self.p = p

    def forward(self, x: Any) -> Any:
        """In training x with elements dropped; in inference x itself."""
        return functional.dropout(x, self.p)
