"""Other shapes for the same numbers: reshape, transpose, broadcast_to, and what follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Dim, Shape, Symbol, TensorType, symbols_of
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    from_onnx,
    no_flops,
    no_macs,
    normal_axis,
    register,
    type_of,
)

__all__ = ["broadcast_to", "expand_dims", "flatten", "reshape", "squeeze", "transpose"]


class Movement(Op):
    """Moves numbers about and computes nothing; the result may be a view of the input."""

    arity = (1, 1)
    traits = frozenset({"linear", "view"})
    macs = no_macs
    flops = no_flops


def volume(shape: Sequence[Dim]) -> tuple[int, tuple[Symbol, ...]]:
    """The number of elements: a product of whole numbers, and the symbols that multiply it."""
    number = prod(d.factor if isinstance(d, Symbol) else d for d in shape)
    return number, tuple(sorted(symbols_of(shape))) if number else ()


def single_dim(shape: Sequence[Dim]) -> Dim:
    """One dimension as large as all of these; ShapeError if it would be a product of symbols."""
    number, symbols = volume(shape)
    if len(symbols) > 1:
        product = " * ".join(map(str, shape))
        raise ShapeError(f"{product} is not a dimension: bind {symbols[0]} first, or keep it apart")
    return symbols[0].times(number) if symbols else number


def broadcast(*shapes: Shape) -> Shape:
    """The common shape by NumPy's rules; a symbol goes with itself and with 1.

    Raises:
        ShapeError: the shapes do not fit.
    """
    ndim = max(map(len, shapes), default=0)
    result: list[Dim] = []
    for dims in zip(*((1,) * (ndim - len(shape)) + shape for shape in shapes), strict=True):
        wide = [d for d in dict.fromkeys(dims) if d != 1]
        if len(wide) > 1:
            given = " and ".join(f"[{','.join(map(str, shape))}]" for shape in shapes)
            raise ShapeError(f"shapes {given} do not broadcast: {wide[0]} against {wide[1]}")
        result.append(wide[0] if wide else 1)
    return tuple(result)


@register
class Reshape(Movement):
    """The same numbers in the same row-major order, in another shape."""

    name = "reshape"
    onnx = ("Reshape", "Shape", "Concat")
    shape: tuple[Dim, ...]

    def infer(self, x: TensorType) -> TensorType:
        y = x.with_shape(self.shape)
        if volume(x.shape) != volume(y.shape):
            raise ShapeError(f"cannot reshape to [{','.join(map(str, y.shape))}]: another number of elements")
        return y

    def kernel(self, x: Array) -> Array:
        return x.reshape(self.shape)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [reshape(cotangents[0], inputs[0].shape)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        dims, allowzero = _onnx_shape(types[0].shape, self.shape)
        return export.node("Reshape", [*inputs, export.sizes(dims)], allowzero=int(allowzero))


def _onnx_shape(old: Shape, new: Shape) -> tuple[Sequence[Dim], bool]:
    """The dims of an ONNX Reshape: a symbol in its old place is 0, one that moves is -1, as long as it is one."""
    allowzero = 0 in new
    stays = [not allowzero and before == after for before, after in zip_longest(old[: len(new)], new)]
    dims = [d if isinstance(d, int) else 0 if stay else -1 for d, stay in zip(new, stays, strict=True)]
    if dims.count(-1) > 1 or (allowzero and -1 in dims):
        return new, True
    return dims, allowzero


def reshape(x: Tensor, shape: Dim | Sequence[Dim]) -> Tensor:
    """The numbers of x in another shape, row by row.

    Args:
        x: any shape and dtype.
        shape: one dim may be -1: whatever is left. An open dimension may stand in it by
            its name, or be what is left.

    Raises:
        ShapeError: the number of elements differs, or is not known.

    Source: ONNX Reshape.
    """
    dims: list[Any] = list(shape) if isinstance(shape, (tuple, list)) else [shape]
    if -1 in dims:
        known = [d for d in dims if d != -1]
        if len(known) < len(dims) - 1:
            raise ShapeError(f"cannot reshape to {tuple(dims)}: more than one -1")
        dims[dims.index(-1)] = _left_over(type_of(x), known)
    return apply(Reshape(TensorType(tuple(dims)).shape), x)


def _left_over(x: TensorType, known: Sequence[Any]) -> Dim:
    number, symbols = volume(x.shape)
    divisor, named = volume(TensorType(tuple(known)).shape)
    rest = Counter(symbols)
    rest.subtract(named)
    if divisor == 0 or number % divisor or min(rest.values(), default=0) < 0:
        beside = ", ".join(map(str, known)) or "nothing"
        raise ShapeError(f"reshape: {x} leaves no whole number for the -1 beside {beside}")
    return single_dim((number // divisor, *rest.elements()))


@from_onnx("Reshape")
def _reshape(node: Any, x: Tensor, shape: Tensor) -> Tensor:
    wanted = node.sizes(1, "shape")
    if node.get("allowzero", 0):
        return reshape(x, wanted)
    old = type_of(x).shape
    if any(d == 0 and i >= len(old) for i, d in enumerate(wanted)):
        raise ShapeError(f"Reshape to {wanted}: a 0 copies a dimension that the input {type_of(x)} does not have")
    return reshape(x, [old[i] if d == 0 else d for i, d in enumerate(wanted)])


def flatten(x: Tensor, start: int = 1, end: int = -1) -> Tensor:
    """Makes one axis of those from `start` to `end`, both included; a scalar becomes [1].

    Raises:
        ShapeError: no such axes, or an open dimension would be multiplied.
    """
    shape = type_of(x).shape or (1,)
    start, end = (normal_axis(axis, len(shape)) if len(shape) > 1 else 0 for axis in (start, end))
    if end < start:
        raise ShapeError(f"flatten from axis {start} to axis {end}: the end lies before the start")
    return reshape(x, (*shape[:start], single_dim(shape[start : end + 1]), *shape[end + 1 :]))


@from_onnx("Flatten")
def _flatten(node: Any, x: Tensor) -> Tensor:
    shape = type_of(x).shape
    axis = node.get("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise ShapeError(f"Flatten: there is no axis {axis} in {len(shape)} dimensions")
    axis = axis + len(shape) if axis < 0 else axis
    return reshape(x, (single_dim(shape[:axis]), single_dim(shape[axis:])))


def squeeze(x: Tensor, axis: int | Sequence[int] | None = None) -> Tensor:
    """Drops axes of size 1: those named, or all of them.

    Raises:
        ShapeError: a named axis is not of size 1. Source: ONNX Squeeze.
    """
    shape = type_of(x).shape
    if axis is None:
        gone = {i for i, d in enumerate(shape) if d == 1}
    else:
        gone = {normal_axis(int(a), len(shape)) for a in np.ravel(axis)}
        for i in gone:
            if shape[i] != 1:
                raise ShapeError(f"squeeze: axis {i} of {type_of(x)} has size {shape[i]}, not 1")
    return reshape(x, tuple(d for i, d in enumerate(shape) if i not in gone))


def expand_dims(x: Tensor, axis: int | Sequence[int]) -> Tensor:
    """Puts in axes of size 1, which have these numbers in the result.

    Raises:
        ShapeError: no such axis, or one is named twice. Source: ONNX Unsqueeze.
    """
    shape = list(type_of(x).shape)
    axes = [int(a) for a in np.ravel(axis)]
    new = sorted({normal_axis(a, len(shape) + len(axes)) for a in axes})
    if len(new) < len(axes):
        raise ShapeError(f"expand_dims: {axes} names an axis twice")
    for i in new:
        shape.insert(i, 1)
    return reshape(x, tuple(shape))


def onnx_axes(node: Any) -> list[int]:
    """The axes of an ONNX node: an input since opset 13 or 18, an attribute before."""
    axes = node.get("axes")
    return [int(a) for a in np.ravel(node.demand(1, "axes") if axes is None else axes)]


@from_onnx("Squeeze")
def _squeeze(node: Any, x: Tensor, axes: Tensor = None) -> Tensor:
    return squeeze(x, None if axes is None and node.get("axes") is None else onnx_axes(node))


@from_onnx("Unsqueeze")
def _unsqueeze(node: Any, x: Tensor, axes: Tensor = None) -> Tensor:
    return expand_dims(x, onnx_axes(node))


@register
class Transpose(Movement):
    """Axis i of the result is axis `axes[i]` of x."""

    name = "transpose"
    onnx = ("Transpose",)
    axes: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        if sorted(self.axes) != list(range(x.ndim)):
            raise ShapeError(f"axes {self.axes} do not name each of {x.ndim} dimensions once")
        return x.with_shape(x.shape[axis] for axis in self.axes)

    def kernel(self, x: Array) -> Array:
        return x.transpose(self.axes)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [transpose(cotangents[0], [self.axes.index(i) for i in range(len(self.axes))])]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Transpose", inputs, perm=self.axes)


def transpose(x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """Puts the axes of x in another order; the reverse order by default.

    Raises:
        ShapeError: `axes` does not name each axis once. Source: ONNX Transpose.
    """
    ndim = type_of(x).ndim
    order = range(ndim - 1, -1, -1) if axes is None else [normal_axis(int(a), ndim) for a in axes]
    return apply(Transpose(tuple(order)), x)


@from_onnx("Transpose")
def _transpose(node: Any, x: Tensor) -> Tensor:
    return transpose(x, node.get("perm"))


@register
class BroadcastTo(Movement):
    """x repeated along new axes and axes of size 1."""

    name = "broadcast_to"
    onnx = ("Expand", "Shape", "Concat", "Mul")
    shape: tuple[Dim, ...]

    def infer(self, x: TensorType) -> TensorType:
        y = x.with_shape(self.shape)
        if broadcast(x.shape, y.shape) != y.shape:
            raise ShapeError(f"cannot broadcast to [{','.join(map(str, y.shape))}]: it is the smaller shape")
        return y

    def kernel(self, x: Array) -> Array:
        return np.broadcast_to(x, self.shape)  # type: ignore[arg-type]  # bound by now

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0]]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        old = (1,) * (len(self.shape) - types[0].ndim) + types[0].shape
        dims = [1 if d == before else d for d, before in zip(self.shape, old, strict=True)]
        return export.node("Expand", [*inputs, export.sizes(dims)])


def broadcast_to(x: Tensor, shape: Sequence[Dim]) -> Tensor:
    """Repeats x along new axes and axes of size 1, up to `shape`.

    Raises:
        ShapeError: x does not fit into `shape`. Source: ONNX Expand.
    """
    return apply(BroadcastTo(TensorType(tuple(shape)).shape), x)


@from_onnx("Expand")
def _expand(node: Any, x: Tensor, shape: Tensor) -> Tensor:
    return broadcast_to(x, broadcast(type_of(x).shape, TensorType(tuple(node.sizes(1, "shape"))).shape))
