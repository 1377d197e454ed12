"""The product of the numbers along axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import Prepared, Tensor, Types, apply, from_onnx, register
from tinygraph.ops.cumulative import cumprod
from tinygraph.ops.reduce import Axes, Reduction, all_but_first, normal_axes, onnx_reduction
from tinygraph.ops.shape import reshape, single_dim, transpose

__all__ = ["prod"]


@register
class Prod(Reduction):
    """The product over the axes; 1 of no numbers."""

    name = "prod"
    onnx = ("ReduceProd",)
    flops = all_but_first

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype.kind not in "iuf":
            raise ShapeError(f"wants numbers, got {x.dtype.name}")
        return super().infer(x)

    def kernel(self, x: Array) -> Array:
        y: Array = np.prod(x, self.axes, dtype=x.dtype, keepdims=self.keepdims)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        routine = self.reducing(np.multiply, types, workers)
        if routine is None:
            return None
        return Prepared(lambda inputs, outputs, _: routine.run(inputs[0], outputs[0]), 0, "multiply")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        """The slope by each number is the product of the others: of those before it and those behind it."""
        x = inputs[0]
        kept = [axis for axis in range(x.ndim) if axis not in self.axes]
        order = [*kept, *self.axes]
        moved = transpose(x, order)
        shape = (*(x.shape[axis] for axis in kept), single_dim([x.shape[axis] for axis in self.axes]))
        lines = reshape(moved, shape)
        others = cumprod(lines, -1, exclusive=True) * cumprod(lines, -1, exclusive=True, reverse=True)
        back = transpose(reshape(others, moved.shape), [order.index(axis) for axis in range(x.ndim)])
        return [back * self.widened(cotangents[0], x)]


def prod(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The product over one axis, several, or all of them, in x's dtype.

    Raises:
        ShapeError: x has no such axis, or holds no numbers.

    Source: ONNX ReduceProd.
    """
    return apply(Prod(normal_axes(axis, x), bool(keepdims)), x)


@from_onnx("ReduceProd")
def _prod(node: Any, x: Tensor, axes: Tensor = None) -> Tensor:
    return apply(Prod(*onnx_reduction(node, x, axes)), x)
