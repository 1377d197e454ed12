"""Where along an axis the largest number stands."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Symbol, TensorType
from tinygraph.ops.arithmetic import sub
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    from_onnx,
    no_macs,
    normal_axis,
    not_differentiable,
    register,
    type_of,
)
from tinygraph.ops.elementwise import neg
from tinygraph.ops.index import slice

__all__ = ["argmax"]


@register
class Argmax(Op):
    """The place of the largest number along an axis: of the first one, if several are; of NaN, if there is one.

    Attributes:
        axis: counted from the front.
        keepdims: the axis stays, with size 1.
    """

    name = "argmax"
    onnx = ("ArgMax",)
    arity = (1, 1)
    macs = no_macs
    vjp = not_differentiable("its results are places")
    axis: int
    keepdims: bool = False

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype.kind not in "iuf":
            raise ShapeError(f"wants numbers, got {x.dtype.name}")
        if not 0 <= self.axis < x.ndim:
            raise ShapeError(f"there is no axis {self.axis} in {x}")
        if x.shape[self.axis] == 0:
            raise ShapeError(f"there is no largest of no numbers: axis {self.axis} of {x} is empty")
        kept = (1,) if self.keepdims else ()
        return TensorType((*x.shape[: self.axis], *kept, *x.shape[self.axis + 1 :]), np.dtype(np.int64))

    def flops(self, inputs: Types, outputs: Types) -> int:
        """(n - 1) per output element, if one of n numbers is chosen."""
        return inputs[0].size - outputs[0].size

    def kernel(self, x: Array) -> Array:
        y: Array = np.argmax(x, self.axis, keepdims=self.keepdims)
        return y.astype(np.int64, copy=False)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("ArgMax", inputs, axis=self.axis, keepdims=int(self.keepdims))


def argmax(x: Tensor, axis: int = -1, keepdims: bool = False) -> Tensor:
    """The place of the largest number along an axis, as int64.

    Args:
        x: numbers.
        axis: may count from the end.
        keepdims: the axis stays, with size 1; else it vanishes.

    Returns:
        Places from 0; the first one if several numbers are largest; that of NaN if there is one.

    Raises:
        ShapeError: there is no such axis, it is empty, or x holds no numbers.

    Source: ONNX ArgMax.
    """
    return apply(Argmax(normal_axis(int(axis), type_of(x).ndim), bool(keepdims)), x)


@from_onnx("ArgMax", "ArgMin")
def _argmax(node: Any, x: Tensor) -> Tensor:
    type = type_of(x)
    axis, keepdims = normal_axis(node.get("axis", 0), type.ndim), bool(node.get("keepdims", 1))
    if node.op_type == "ArgMin":
        # All bits set, less x: inverts the bits and thereby the order of integers, without overflow.
        x = neg(x) if type.dtype.kind == "f" else sub(np.invert(type.dtype.type(0)), x)
    if not node.get("select_last_index", 0):
        return argmax(x, axis, keepdims)
    last = type.shape[axis]
    if isinstance(last, Symbol):
        raise ShapeError(f"cannot count from the end of the open dimension {last}: bind it first")
    whole = (None,) * type.ndim
    steps = tuple(-1 if i == axis else 1 for i in range(type.ndim))
    return sub(last - 1, argmax(slice(x, whole, whole, steps), axis, keepdims))
