"""What is found while a model runs, so that its number is not known before: nonzero, compress."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError, UsageError
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    from_onnx,
    gradient_not_in_onnx,
    no_flops,
    no_macs,
    normal_axis,
    not_differentiable,
    one_onnx_node,
    per_input,
    register,
    type_of,
)
from tinygraph.ops.shape import reshape, single_dim

__all__ = ["compress", "nonzero"]


def check_count(op: Op, found: int, wanted: Dim) -> None:
    """Raises UsageError if the graph says another number than was found; an open one takes any."""
    if not isinstance(wanted, Symbol) and found != wanted:
        raise UsageError(f"{op.name} found {found}, the graph was made for {wanted}; leave that dimension open")


@register
class NonZero(Op):
    """The places where x is not 0, row by row, one column [x.ndim] for each.

    Attributes:
        count: how many there are: a symbol, unless it is known.
    """

    name = "nonzero"
    onnx = ("NonZero",)
    arity = (1, 1)
    macs = no_macs
    flops = per_input(1)
    vjp = not_differentiable("its results are places")
    to_onnx = one_onnx_node
    count: Dim

    def infer(self, x: TensorType) -> TensorType:
        return TensorType((x.ndim, self.count), np.dtype(np.int64))

    def at_most(self, types: Types) -> int:
        return types[0].size

    def kernel(self, x: Array) -> Array:
        places = np.argwhere(x).T.astype(np.int64, copy=False)
        check_count(self, places.shape[1], self.count)
        return places


def nonzero(x: Tensor, count: Dim) -> Tensor:
    """The places where x is not 0, in row-major order.

    Args:
        x: any shape and dtype.
        count: how many there are: a Symbol that the run gives its number, or the number itself.

    Returns:
        [x.ndim, count], int64: a row for each axis.

    Raises:
        UsageError: when it runs, there are not `count` of them.

    Source: ONNX NonZero.
    """
    return apply(NonZero(count), x)


@from_onnx("NonZero")
def _nonzero(node: Any, x: Tensor) -> Tensor:
    return nonzero(x, node.symbol("nonzero"))


@register
class Compress(Op):
    """The slices of x along an axis at whose place the condition holds.

    Inputs: x, and a condition bool[m] with m no longer than the axis; what lies behind is left out.

    Attributes:
        axis: counted from the front.
        count: how many slices those are: a symbol, unless it is known.
    """

    name = "compress"
    onnx = ("Compress",)
    arity = (2, 2)
    traits = frozenset({"linear"})
    macs = no_macs
    flops = no_flops
    axis: int
    count: Dim

    def infer(self, x: TensorType, condition: TensorType) -> TensorType:
        _check(x, condition, self.axis)
        return x.with_shape((*x.shape[: self.axis], self.count, *x.shape[self.axis + 1 :]))

    def at_most(self, types: Types) -> int:
        return types[1].size

    def kernel(self, x: Array, condition: Array) -> Array:
        y = np.compress(condition, x, self.axis)
        check_count(self, y.shape[self.axis], self.count)
        return y

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x, condition = inputs
        return [apply(CompressGrad(self.axis, x.shape[self.axis], self.count), cotangents[0], condition), None]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Compress", inputs, axis=self.axis)


@register
class CompressGrad(Op):
    """Zeros, with the slices of g where the condition holds: the gradient of compress.

    Attributes:
        axis: counted from the front.
        length: of that axis, in the result.
        count: its length in g.
    """

    name = "compress_grad"
    arity = (2, 2)
    traits = frozenset({"linear"})
    macs = no_macs
    flops = no_flops
    to_onnx = gradient_not_in_onnx
    axis: int
    length: Dim
    count: Dim

    def infer(self, g: TensorType, condition: TensorType) -> TensorType:
        if not 0 <= self.axis < g.ndim or g.shape[self.axis] != self.count:
            raise ShapeError(f"wants {self.count} slices along axis {self.axis}")
        x = g.with_shape((*g.shape[: self.axis], self.length, *g.shape[self.axis + 1 :]))
        _check(x, condition, self.axis)
        return x

    def kernel(self, g: Array, condition: Array) -> Array:
        shape = TensorType((*g.shape[: self.axis], self.length, *g.shape[self.axis + 1 :])).dims
        x = np.zeros(shape, g.dtype)
        np.moveaxis(x, self.axis, 0)[np.flatnonzero(condition)] = np.moveaxis(g, self.axis, 0)
        return x

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(Compress(self.axis, self.count), cotangents[0], inputs[1]), None]


def _check(x: TensorType, condition: TensorType, axis: int) -> None:
    if condition.ndim != 1 or condition.dtype.kind != "b":
        raise ShapeError(f"the condition must be booleans of one dimension, got {condition}")
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"there is no axis {axis} in {x}")
    length, known = x.shape[axis], condition.shape[0]
    if isinstance(length, int) and isinstance(known, int) and known > length:
        raise ShapeError(f"{known} conditions for {length} slices")


def compress(x: Tensor, condition: Tensor, axis: int, count: Dim) -> Tensor:
    """The slices of x along an axis at whose place the condition holds.

    Args:
        x: of any dtype.
        condition: bool[m], m no longer than the axis; the slices behind are left out.
        axis: may count from the end.
        count: how many slices those are: a Symbol that the run gives its number, or the number.

    Returns:
        As x, with `count` slices along the axis.

    Raises:
        ShapeError: the condition does not fit x.
        UsageError: when it runs, there are not `count` of them.

    Source: ONNX Compress.
    """
    return apply(Compress(normal_axis(int(axis), type_of(x).ndim), count), x, condition)


@from_onnx("Compress")
def _compress(node: Any, x: Tensor, condition: Tensor) -> Tensor:
    """Without an axis, of x as one row."""
    known, axis = node.constant(1), node.get("axis")
    count = node.symbol("compressed") if known is None else int(np.count_nonzero(known))
    if axis is None:
        x, axis = reshape(x, (single_dim(type_of(x).shape),)), 0
    return compress(x, condition, axis, count)
