"""The triangles of matrices: what lies above or below a diagonal."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import Exporter, Op, Tensor, Types, apply, from_onnx, no_flops, no_macs, register

__all__ = ["tril", "triu"]


@register
class Triangle(Op):
    """x[..., i, j] where j - i >= diagonal (upper) or j - i <= diagonal (lower), 0 elsewhere.

    Attributes:
        upper: which triangle is kept.
        diagonal: how far its edge lies above the main diagonal.
    """

    name = "triangle"
    onnx = ("Trilu",)
    arity = (1, 1)
    traits = frozenset({"linear"})
    macs = no_macs
    flops = no_flops
    upper: bool = True
    diagonal: int = 0

    def infer(self, x: TensorType) -> TensorType:
        if x.ndim < 2:
            raise ShapeError(f"wants matrices [..., m, n], got {x}")
        return x

    def kernel(self, x: Array) -> Array:
        rows, columns = x.shape[-2:]
        distance = np.arange(columns) - np.arange(rows)[:, None]
        kept = distance >= self.diagonal if self.upper else distance <= self.diagonal
        return np.where(kept, x, x.dtype.type(0))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(self, cotangents[0])]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Trilu", [*inputs, export.const(np.array(self.diagonal, np.int64))], upper=int(self.upper))


def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of each matrix [..., m, n], zeros below it.

    Args:
        x: of any dtype.
        diagonal: where the triangle begins: 0 is the main diagonal, 1 the one above it.

    Raises:
        ShapeError: x has fewer than two dimensions.

    Source: ONNX Trilu.
    """
    return apply(Triangle(True, int(diagonal)), x)


def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of each matrix, zeros above it. As triu."""
    return apply(Triangle(False, int(diagonal)), x)


@from_onnx("Trilu")
def _trilu(node: Any, x: Tensor, k: Tensor = None) -> Tensor:
    diagonal = 0 if k is None else int(node.demand(1, "k").item())
    return triu(x, diagonal) if node.get("upper", 1) else tril(x, diagonal)
