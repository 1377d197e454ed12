"""Softmax, log-softmax, hardmax, maxout."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Symbol, TensorType
from tinygraph.kernels import softmax as kernels
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    apply,
    family,
    floating,
    from_onnx,
    no_macs,
    normal_axis,
    per_input,
    register,
    type_of,
)
from tinygraph.ops.elementwise import exp
from tinygraph.ops.reduce import max, sum
from tinygraph.ops.shape import reshape, single_dim

__all__ = ["hardmax", "log_softmax", "maxout", "softmax"]


@family
class AlongAxis(Op):
    """A function of all the elements along one axis.

    Attributes:
        axis: counted from the front.
    """

    arity = (1, 1)
    macs = no_macs
    flops = per_input(5)
    axis: int

    def infer(self, x: TensorType) -> TensorType:
        floating(x)
        if not 0 <= self.axis < x.ndim:
            raise ShapeError(f"there is no axis {self.axis} in {x}")
        if x.shape[self.axis] == 0:
            raise ShapeError(f"axis {self.axis} of {x} is empty")
        return x


@register
class Softmax(AlongAxis):
    """y = exp(x - max) / sum(exp(x - max)) along an axis."""

    name = "softmax"
    onnx = ("Softmax",)

    def kernel(self, x: Array) -> Array:
        e: Array = np.exp(x - x.max(self.axis, keepdims=True))
        y: Array = e / e.sum(self.axis, keepdims=True)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        (x,) = types
        if not x.is_static or x.dtype not in (np.float32, np.float64):
            return None
        routine = kernels.Softmax(x.dims, self.axis, x.dtype)
        return Prepared(lambda xs, ys, memory: routine.run(xs[0], ys[0], memory), routine.workspace, "in_place")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (y,), (g,) = outputs, cotangents
        return [y * (g - sum(g * y, self.axis, keepdims=True))]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Softmax", inputs, axis=self.axis)


@register
class LogSoftmax(AlongAxis):
    """y = x - max - log(sum(exp(x - max))) along an axis."""

    name = "log_softmax"
    onnx = ("LogSoftmax",)

    def kernel(self, x: Array) -> Array:
        shifted: Array = x - x.max(self.axis, keepdims=True)
        y: Array = shifted - np.log(np.exp(shifted).sum(self.axis, keepdims=True))
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        (x,) = types
        if not x.is_static or x.dtype not in (np.float32, np.float64):
            return None
        routine = kernels.LogSoftmax(x.dims, self.axis, x.dtype)
        return Prepared(lambda xs, ys, memory: routine.run(xs[0], ys[0], memory), routine.workspace, "in_place")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (y,), (g,) = outputs, cotangents
        return [g - exp(y) * sum(g, self.axis, keepdims=True)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("LogSoftmax", inputs, axis=self.axis)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis, computed so that large numbers do no harm.

    Args:
        x: floating.
        axis: may count from the end.

    Returns:
        Of x's shape and dtype; sums to 1 along the axis.

    Raises:
        ShapeError: there is no such axis, or it is empty.

    Source: ONNX Softmax (13).
    """
    return apply(Softmax(normal_axis(axis, type_of(x).ndim)), x)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log(softmax(x)) along an axis, exact where softmax underflows. As softmax. Source: ONNX LogSoftmax (13)."""
    return apply(LogSoftmax(normal_axis(axis, type_of(x).ndim)), x)


@register
class Hardmax(AlongAxis):
    """1 where x is largest along an axis, at the first place if there are several; 0 elsewhere. Its derivative is 0."""

    name = "hardmax"
    onnx = ("Hardmax",)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """(n - 1) per line of n numbers."""
        (x,) = inputs
        return x.size // x.dims[self.axis] * (x.dims[self.axis] - 1)

    def kernel(self, x: Array) -> Array:
        y = np.zeros_like(x)
        np.put_along_axis(y, np.argmax(x, self.axis, keepdims=True), x.dtype.type(1), self.axis)
        return y

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [None]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Hardmax", inputs, axis=self.axis)


def hardmax(x: Tensor, axis: int = -1) -> Tensor:
    """1 at the first of the largest numbers along an axis, 0 elsewhere. As softmax. Source: ONNX Hardmax (13)."""
    return apply(Hardmax(normal_axis(axis, type_of(x).ndim)), x)


_FUNCTIONS = {"Softmax": softmax, "LogSoftmax": log_softmax, "Hardmax": hardmax}


@from_onnx(*_FUNCTIONS)
def _softmax(node: Any, x: Tensor) -> Tensor:
    function = _FUNCTIONS[node.op_type]
    if node.opset >= 13:
        return function(x, node.get("axis", -1))
    # Before opset 13 all axes from the given one on are one.
    shape = type_of(x).shape
    axis = normal_axis(node.get("axis", 1), len(shape))
    if axis == len(shape) - 1:
        return function(x, axis)
    return reshape(function(reshape(x, (*shape[:axis], single_dim(shape[axis:]))), axis), shape)


def maxout(x: Tensor, pieces: int, axis: int = 1) -> Tensor:
    """The largest of each group of `pieces` adjacent channels.

    Args:
        x: floating.
        pieces: channels of a group.
        axis: where the channels are; may count from the end.

    Returns:
        As x, with 1 / pieces of the channels.

    Raises:
        ShapeError: the channels do not divide into such groups.

    Source: Goodfellow et al. 2013.
    """
    type = type_of(x)
    axis = normal_axis(axis, type.ndim)
    channels = type.shape[axis]
    if isinstance(channels, Symbol) or pieces < 1 or channels % pieces:
        raise ShapeError(f"{channels} channels do not divide into groups of {pieces}")
    groups = reshape(x, (*type.shape[:axis], channels // pieces, pieces, *type.shape[axis + 1 :]))
    return max(groups, axis + 1)
