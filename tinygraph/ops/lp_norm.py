"""Vectors divided by their own length: LpNormalization."""

from __future__ import annotations

from typing import Any

from tinygraph.errors import ShapeError, UnsupportedOp
from tinygraph.ops.arithmetic import compare, where
from tinygraph.ops.base import Tensor, floating, from_onnx, type_of
from tinygraph.ops.reduce_norm import l1_norm, l2_norm

__all__ = ["lp_normalize"]


def lp_normalize(x: Tensor, p: int = 2, axis: int = -1) -> Tensor:
    """x / (the norm of x along an axis); 0 where all of that is 0.

    Args:
        x: floating.
        p: 1 for the sum of the magnitudes, 2 for the Euclidean norm.
        axis: may count from the end.

    Raises:
        ShapeError: there is no such axis or norm, or x is not floating.

    Source: ONNX LpNormalization.
    """
    floating(type_of(x))
    if p not in (1, 2):
        raise ShapeError(f"lp_normalize: there is no norm of order {p} here; give 1 or 2")
    size = (l1_norm if p == 1 else l2_norm)(x, axis, keepdims=True)
    return x / where(compare(size, 0, "=="), 1, size)


@from_onnx("LpNormalization")
def _lp_normalization(node: Any, x: Tensor) -> Tensor:
    p = node.get("p", 2)
    if p not in (1, 2):
        raise UnsupportedOp(f"with p = {p}; want 1 or 2")
    return lp_normalize(x, p, node.get("axis", -1))
