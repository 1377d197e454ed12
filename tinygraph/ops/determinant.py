"""Determinants of square matrices."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import (
    Op,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    no_macs,
    not_differentiable,
    one_onnx_node,
    register,
)

__all__ = ["det"]


@register
class Det(Op):
    """The determinant of each matrix [..., n, n], by elimination with row exchanges; 1 if n is 0."""

    name = "det"
    onnx = ("Det",)
    to_onnx = one_onnx_node
    arity = (1, 1)
    macs = no_macs
    vjp = not_differentiable("its slope is the matrix of cofactors, which no op computes")

    def infer(self, x: TensorType) -> TensorType:
        floating(x)
        if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
            raise ShapeError(f"wants square matrices [..., n, n], got {x}")
        return x.with_shape(x.shape[:-2])

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 m + 2 m^2 per matrix for each m = 1 .. n - 1 of elimination, and n - 1 for the product of the pivots."""
        *stack, n, _ = inputs[0].dims
        return prod(stack) * (2 * n * (n * n - 1) // 3 + max(0, n - 1))

    def kernel(self, x: Array) -> Array:
        wide = np.result_type(x.dtype, np.float32)  # LAPACK knows no float16
        return np.asarray(np.linalg.det(x.astype(wide, copy=False)), x.dtype)


def det(x: Tensor) -> Tensor:
    """The determinant of each matrix.

    Args:
        x: [..., n, n], floating.

    Returns:
        [...], of x's dtype.

    Raises:
        ShapeError: x is not floating, or its last two dimensions differ.

    Source: ONNX Det.
    """
    return apply(Det(), x)


@from_onnx("Det")
def _det(node: Any, x: Tensor) -> Tensor:
    return det(x)
