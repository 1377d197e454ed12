"""How many elements there are: what a mean divides by, where the size of the batch is open."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import (
    Op,
    Tensor,
    apply,
    no_flops,
    no_macs,
    normal_axis,
    not_in_onnx,
    register,
    type_of,
)

__all__ = ["count"]


@register
class Count(Op):
    """y = the product of x's dimensions along the axes, a scalar of x's dtype.

    It depends on the shape of x alone, so that no gradient flows through it.
    """

    name = "count"
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    to_onnx = not_in_onnx("it belongs to training; save an inference graph")
    axes: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        if not all(0 <= axis < x.ndim for axis in self.axes):
            raise ShapeError(f"axes {self.axes} are not axes of {x.ndim} dimensions")
        return x.with_shape(())

    def kernel(self, x: Array) -> Array:
        return np.asarray(prod(x.shape[axis] for axis in self.axes), x.dtype)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [None]


def count(x: Tensor, axes: Sequence[int]) -> Tensor:
    """The number of elements along the axes, as a scalar of x's dtype.

    Returns:
        An array, where the sizes are known; else a tensor that is known once they are bound.

    Raises:
        ShapeError: x has no such axis.
    """
    type = type_of(x)
    op = Count(tuple(normal_axis(int(axis), type.ndim) for axis in axes))
    reduced = type.with_shape(type.shape[axis] for axis in op.axes)
    return np.asarray(reduced.size, type.dtype) if reduced.is_static else apply(op, x)
