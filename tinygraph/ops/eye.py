"""Matrices with ones on a diagonal."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import Exporter, Op, Tensor, Types, apply, from_onnx, no_flops, no_macs, register, type_of

__all__ = ["eye_like"]


@register
class EyeLike(Op):
    """1 where j - i = diagonal, 0 elsewhere, in the shape of the matrix x, whose numbers do not matter.

    Attributes:
        dtype: of the result.
        diagonal: how far the ones lie above the main diagonal.
    """

    name = "eye_like"
    onnx = ("EyeLike",)
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    dtype: str
    diagonal: int = 0

    def infer(self, x: TensorType) -> TensorType:
        if x.ndim != 2:
            raise ShapeError(f"wants a matrix, got {x}")
        return x.with_dtype(self.dtype)

    def kernel(self, x: Array) -> Array:
        rows, columns = x.shape
        return np.eye(rows, columns, self.diagonal, np.dtype(self.dtype))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [None]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("EyeLike", inputs, dtype=np.dtype(self.dtype), k=self.diagonal)


def eye_like(x: Tensor, diagonal: int = 0, dtype: Any = None) -> Tensor:
    """A matrix of x's shape with ones on a diagonal and zeros elsewhere.

    Args:
        x: a matrix; only its shape matters.
        diagonal: 0 is the main diagonal, 1 the one above it.
        dtype: of the result; x's own by default.

    Raises:
        ShapeError: x is no matrix.

    Source: ONNX EyeLike.
    """
    return apply(EyeLike(np.dtype(type_of(x).dtype if dtype is None else dtype).name, int(diagonal)), x)


@from_onnx("EyeLike")
def _eye_like(node: Any, x: Tensor) -> Tensor:
    return eye_like(x, node.get("k", 0), node.dtype("dtype", type_of(x).dtype))
