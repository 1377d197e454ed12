"""Reductions over axes: sum, mean, max, min."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Shape, TensorType
from tinygraph.kernels.reduction import Reduce
from tinygraph.ops.arithmetic import Div, compare, where
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
    register,
    type_of,
)
from tinygraph.ops.count import count
from tinygraph.ops.elementwise import cast
from tinygraph.ops.shape import broadcast_to, onnx_axes, reshape

__all__ = ["max", "mean", "min", "sum"]

Axes = int | Sequence[int] | None


@family
class Reduction(Op):
    """One number for all those along the axes; the axes vanish, or stay with size 1."""

    arity = (1, 1)
    macs = no_macs
    axes: tuple[int, ...]
    keepdims: bool = False

    def infer(self, x: TensorType) -> TensorType:
        if sorted(set(self.axes)) != list(self.axes) or not all(0 <= axis < x.ndim for axis in self.axes):
            raise ShapeError(f"axes {self.axes} are not rising and different axes of {x.ndim} dimensions")
        return x.with_shape(self.reduced(x.shape, self.keepdims))

    def reduced(self, shape: Shape, keepdims: bool) -> Shape:
        """The shape with the axes reduced."""
        if keepdims:
            return tuple(1 if i in self.axes else d for i, d in enumerate(shape))
        return tuple(d for i, d in enumerate(shape) if i not in self.axes)

    def reducing(self, ufunc: np.ufunc, types: Types, workers: int) -> Reduce | None:
        """A prepared routine; None if the shape is open, or the numbers want a wider accumulator."""
        (x,) = types
        if not x.is_static or x.dtype not in (np.float32, np.float64):
            return None
        return Reduce(ufunc, x.dims, self.axes, self.keepdims, workers)

    def widened(self, y: Tensor, x: Tensor) -> Tensor:
        """A result, or a cotangent of it, in the shape of the input x."""
        return broadcast_to(reshape(y, self.reduced(x.shape, keepdims=True)), x.shape)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        axes = export.const(np.array(self.axes, np.int64))
        return export.node(self.onnx[0], [*inputs, axes], keepdims=int(self.keepdims), noop_with_empty_axes=1)


def all_but_first(self: Op, inputs: Types, outputs: Types) -> int:
    """(n - 1) per output element, if n numbers make one."""
    return inputs[0].size - outputs[0].size if inputs[0].size else 0


@register
class Sum(Reduction):
    """The sum over the axes."""

    name = "sum"
    onnx = ("ReduceSum",)
    traits = frozenset({"linear"})
    flops = all_but_first

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype.kind not in "iuf":
            raise ShapeError(f"wants numbers, got {x.dtype.name}")
        return super().infer(x)

    def kernel(self, x: Array) -> Array:
        return np.sum(x, self.axes, dtype=x.dtype, keepdims=self.keepdims)

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        routine = self.reducing(np.add, types, workers)
        if routine is None:
            return None
        return Prepared(lambda inputs, outputs, _: routine.run(inputs[0], outputs[0]), 0, "add")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [self.widened(cotangents[0], inputs[0])]


def sum(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The sum over one axis, several, or all of them, in x's dtype.

    Raises:
        ShapeError: x has no such axis, or holds no numbers.

    Source: ONNX ReduceSum.
    """
    return apply(Sum(normal_axes(axis, x), bool(keepdims)), x)


@register
class Mean(Reduction):
    """The mean over the axes."""

    name = "mean"
    onnx = ("ReduceMean",)
    traits = frozenset({"linear"})

    def infer(self, x: TensorType) -> TensorType:
        floating(x)
        return super().infer(x)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """1 per input element."""
        return inputs[0].size

    def kernel(self, x: Array) -> Array:
        y: Array = np.mean(x, self.axes, keepdims=self.keepdims)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        routine = self.reducing(np.add, types, workers)
        if routine is None:
            return None
        count = types[0].dtype.type(prod(types[0].dims[axis] for axis in self.axes))

        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            routine.run(inputs[0], outputs[0])
            np.divide(outputs[0], count, out=outputs[0])

        return Prepared(run, 0, "mean")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [self.widened(cotangents[0] / count(inputs[0], self.axes), inputs[0])]


def mean(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The mean over one axis, several, or all of them, of x's floating dtype.

    Raises:
        ShapeError: x has no such axis, or is not floating.

    Source: ONNX ReduceMean.
    """
    return apply(Mean(normal_axes(axis, x), bool(keepdims)), x)


class _Extreme(Reduction):
    """The one number along the axes that the others do not surpass; NaN if there is one. Equal ones share the gradient.

    Of no numbers it is the number that every other surpasses: -inf or inf, the end of the range of
    integers, False or True.
    """

    flops = all_but_first
    ufunc: ClassVar[np.ufunc]

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype.kind not in "biuf":
            raise ShapeError(f"wants numbers or booleans, got {x.dtype.name}")
        return super().infer(x)

    def identity(self, dtype: np.dtype[Any]) -> Any:
        """What is made of no numbers."""
        lowest = self.ufunc is np.maximum
        if dtype.kind == "b":
            return np.bool_(not lowest)
        if dtype.kind in "iu":
            return dtype.type(np.iinfo(dtype).min if lowest else np.iinfo(dtype).max)
        return dtype.type(-np.inf if lowest else np.inf)

    def kernel(self, x: Array) -> Array:
        y: Array = self.ufunc.reduce(x, self.axes, keepdims=self.keepdims, initial=self.identity(x.dtype))
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        routine = self.reducing(self.ufunc, types, workers)
        if routine is None or not types[0].size:
            return None
        return Prepared(lambda inputs, outputs, _: routine.run(inputs[0], outputs[0]), 0, self.ufunc.__name__)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x = inputs[0]
        extreme = compare(x, self.widened(outputs[0], x), "==")
        count = sum(cast(extreme, x.dtype), self.axes, self.keepdims)
        return [where(extreme, self.widened(cotangents[0] / count, x), 0)]


@register
class Max(_Extreme):
    """The largest number along the axes; NaN if there is one. Equal ones share the gradient."""

    name = "max"
    onnx = ("ReduceMax",)
    ufunc = np.maximum


def max(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The largest number along one axis, several, or all of them, of x's dtype.

    Raises:
        ShapeError: x has no such axis, holds no numbers, or an axis is empty.

    Source: ONNX ReduceMax.
    """
    return apply(Max(_of_numbers(axis, x, "largest"), bool(keepdims)), x)


@register
class Min(_Extreme):
    """The smallest number along the axes; NaN if there is one. Equal ones share the gradient."""

    name = "min"
    onnx = ("ReduceMin",)
    ufunc = np.minimum


def min(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The smallest number along one axis, several, or all of them. As max. Source: ONNX ReduceMin."""
    return apply(Min(_of_numbers(axis, x, "smallest"), bool(keepdims)), x)


def _of_numbers(axis: Axes, x: Tensor, wanted: str) -> tuple[int, ...]:
    axes = normal_axes(axis, x)
    if 0 in [type_of(x).shape[a] for a in axes]:
        raise ShapeError(f"there is no {wanted} of no numbers: an axis is empty")
    return axes


def normal_axes(axis: Axes, x: Tensor) -> tuple[int, ...]:
    """The axes counted from the front, rising; all of them for None."""
    ndim = type_of(x).ndim
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(normal_axis(int(a), ndim) for a in np.ravel(axis)))


def onnx_reduction(node: Any, x: Tensor, axes: Tensor) -> tuple[tuple[int, ...], bool]:
    """Axes and keepdims of an ONNX reduction; the axes are an input, or an attribute in older opsets."""
    found = [] if axes is None and node.get("axes") is None else onnx_axes(node)
    everything = not found and not node.get("noop_with_empty_axes", 0)
    return normal_axes(None if everything else found, x), bool(node.get("keepdims", 1))


_REDUCTIONS = {"ReduceSum": Sum, "ReduceMax": Max, "ReduceMin": Min}


@from_onnx(*_REDUCTIONS)
def _reduce(node: Any, x: Tensor, axes: Tensor = None) -> Tensor:
    return apply(_REDUCTIONS[node.op_type](*onnx_reduction(node, x, axes)), x)


@from_onnx("ReduceMean")
def _reduce_mean(node: Any, x: Tensor, axes: Tensor = None) -> Tensor:
    along, keepdims = onnx_reduction(node, x, axes)
    if type_of(x).dtype.kind == "f":
        return apply(Mean(along, keepdims), x)
    return apply(Div(), apply(Sum(along, keepdims), x), count(x, along))
