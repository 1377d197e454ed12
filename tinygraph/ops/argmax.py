"""Where along an axis the largest or the smallest number stands."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    family,
    from_onnx,
    no_macs,
    normal_axis,
    not_differentiable,
    register,
    type_of,
)

__all__ = ["argmax", "argmin"]


@family
class _Place(Op):
    """The place of one number along an axis; of NaN, if there is one.

    Attributes:
        axis: counted from the front.
        keepdims: the axis stays, with size 1.
        last: the last place, if several are as good, instead of the first.
    """

    arity = (1, 1)
    macs = no_macs
    vjp = not_differentiable("its results are places")
    wanted: ClassVar[str]
    axis: int
    keepdims: bool = False
    last: bool = False

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype.kind not in "iuf":
            raise ShapeError(f"wants numbers, got {x.dtype.name}")
        if not 0 <= self.axis < x.ndim:
            raise ShapeError(f"there is no axis {self.axis} in {x}")
        if x.shape[self.axis] == 0:
            raise ShapeError(f"there is no {self.wanted} of no numbers: axis {self.axis} of {x} is empty")
        kept = (1,) if self.keepdims else ()
        return TensorType((*x.shape[: self.axis], *kept, *x.shape[self.axis + 1 :]), np.dtype(np.int64))

    def flops(self, inputs: Types, outputs: Types) -> int:
        """(n - 1) per output element, if one of n numbers is chosen."""
        return inputs[0].size - outputs[0].size

    def kernel(self, x: Array) -> Array:
        find = np.argmax if self.wanted == "largest" else np.argmin
        places = find(np.flip(x, self.axis) if self.last else x, self.axis, keepdims=self.keepdims)
        y: Array = np.asarray(places, np.int64)
        return x.shape[self.axis] - 1 - y if self.last else y

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        last, keepdims = int(self.last), int(self.keepdims)
        return export.node(self.onnx[0], inputs, axis=self.axis, keepdims=keepdims, select_last_index=last)


@register
class Argmax(_Place):
    """The place of the largest number along an axis: of the first one, if several are; of NaN, if there is one."""

    name = "argmax"
    onnx = ("ArgMax",)
    wanted = "largest"


@register
class Argmin(_Place):
    """The place of the smallest number along an axis: of the first one, if several are; of NaN, if there is one."""

    name = "argmin"
    onnx = ("ArgMin",)
    wanted = "smallest"


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


def argmin(x: Tensor, axis: int = -1, keepdims: bool = False) -> Tensor:
    """The place of the smallest number along an axis. As argmax. Source: ONNX ArgMin."""
    return apply(Argmin(normal_axis(int(axis), type_of(x).ndim), bool(keepdims)), x)


@from_onnx("ArgMax", "ArgMin")
def _argmax(node: Any, x: Tensor) -> Tensor:
    op = Argmax if node.op_type == "ArgMax" else Argmin
    axis = normal_axis(node.get("axis", 0), type_of(x).ndim)
    return apply(op(axis, bool(node.get("keepdims", 1)), bool(node.get("select_last_index", 0))), x)
