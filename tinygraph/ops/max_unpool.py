"""Numbers put back to where max pooling took them from."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.kernels.places import places_of
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    family,
    floating,
    from_onnx,
    gradient_not_in_onnx,
    no_flops,
    no_macs,
    register,
    type_of,
)
from tinygraph.ops.pad import pad
from tinygraph.ops.windows import Pads, onnx_padding, pads, per_axis, transposed_sizes

__all__ = ["max_unpool"]


@family
class Unpooling(Op):
    """What unpooling and its transpose share: the geometry of the pooling.

    Attributes:
        kernel_size, stride: one number per spatial axis.
        padding: a (front, behind) pair of counts per spatial axis.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pads

    arity = (2, 2)
    traits = frozenset({"linear"})
    macs = no_macs
    flops = no_flops

    def unpooled(self, windows: TensorType, places: TensorType) -> TensorType:
        """The type that was pooled; ShapeError if the places or the geometry do not fit the windows."""
        axes = len(self.kernel_size)
        floating(windows)
        if windows.ndim != axes + 2 or len(self.stride) != axes or len(self.padding) != axes:
            raise ShapeError(f"a window {self.kernel_size} wants [N, C] and {axes} spatial axes, got {windows}")
        if places.shape != windows.shape or places.dtype != np.int64:
            raise ShapeError(f"wants a place i64 for each number, got {places}")
        ones = (1,) * axes
        sizes = transposed_sizes(
            windows.shape[2:], self.kernel_size, self.stride, self.padding, ones, [0 for _ in ones]
        )
        return windows.with_shape((*windows.shape[:2], *sizes))

    @property
    def geometry(self) -> tuple[Any, ...]:
        """The attributes that both ops share."""
        return self.kernel_size, self.stride, self.padding


@register
class MaxUnpool(Unpooling):
    """Zeros, with each number of x [N, C, *windows] at its place in all of y; where places are equal, the last one.

    Inputs: x, and as many places i64: numbers of elements of y as one row.
    """

    name = "max_unpool"
    onnx = ("MaxUnpool",)

    def infer(self, x: TensorType, places: TensorType) -> TensorType:
        return self.unpooled(x, places)

    def kernel(self, x: Array, places: Array) -> Array:
        type = self.unpooled(TensorType.of(x), TensorType.of(places))
        y = np.zeros(type.size, x.dtype)
        at = places_of(places.ravel(), y.size)
        last = _last(at, y.size)
        y[at[last]] = x.ravel()[last]
        return y.reshape(type.dims)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(MaxUnpoolGrad(*self.geometry), cotangents[0], inputs[1]), None]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        front, behind = zip(*self.padding, strict=True)
        return export.node(
            "MaxUnpool",
            inputs,
            kernel_shape=list(self.kernel_size),
            strides=list(self.stride),
            pads=[*front, *behind],
        )


@register
class MaxUnpoolGrad(Unpooling):
    """Each number of g at its place; 0 where a later place is the same: the transpose of max_unpool.

    Inputs: g [N, C, *sizes], and places i64[N, C, *windows]: numbers of elements of g as one row.
    """

    name = "max_unpool_grad"
    to_onnx = gradient_not_in_onnx

    def infer(self, g: TensorType, places: TensorType) -> TensorType:
        x = places.with_dtype(g.dtype)
        if self.unpooled(x, places) != g:
            raise ShapeError(f"the places are of {self.unpooled(x, places)}, the cotangent is {g}")
        return x

    def kernel(self, g: Array, places: Array) -> Array:
        at = places_of(places.ravel(), g.size)
        return np.where(_last(at, g.size), g.ravel()[at], 0).astype(g.dtype).reshape(places.shape)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(MaxUnpool(*self.geometry), cotangents[0], inputs[1]), None]


def _last(places: Array, size: int) -> Array:
    """Whether each place is the last of those that are the same."""
    winner = np.full(size, -1)
    np.maximum.at(winner, places, np.arange(len(places)))
    last: Array = winner[places] == np.arange(len(places))
    return last


def max_unpool(x: Tensor, places: Tensor, kernel: Any, stride: Any = None, padding: Any = 0) -> Tensor:
    """Puts numbers back to where max pooling took them from, with zeros around.

    Args:
        x: [N, C, *windows], floating.
        places: int64, of x's shape: the place of each number in all of the result as one row, as max_pool_indices
            gives them.
        kernel: size of the window that was pooled: one number, or one per spatial axis.
        stride: the same; by default the windows lie side by side.
        padding: of the pooling: one number, or one number or (front, behind) pair per axis.

    Returns:
        [N, C, *sizes] of x's dtype; a size is (windows - 1) stride + kernel - padding.

    Raises:
        ShapeError: the places do not fit x, or, when it runs, there is no such place.

    Source: Zeiler et al. 2011; ONNX MaxUnpool.
    """
    axes = type_of(x).ndim - 2
    if axes < 1:
        raise ShapeError(f"unpooling wants [N, C] and at least one spatial axis, got {type_of(x)}")
    window = per_axis(kernel, axes, "kernel")
    steps = window if stride is None else per_axis(stride, axes, "stride")
    sides = pads(padding, type_of(x).shape[2:], window, steps, (1,) * axes)
    return apply(MaxUnpool(window, steps, sides), x, places)


@from_onnx("MaxUnpool")
def _max_unpool(node: Any, x: Tensor, places: Tensor, output_shape: Tensor = None) -> Tensor:
    """An output shape adds zeros behind; the places are those without."""
    kernel = node.get("kernel_shape")
    if kernel is None:
        raise ModelFormatError("the attribute 'kernel_shape' is missing")
    y = max_unpool(x, places, kernel, node.get("strides", 1), onnx_padding(node, len(kernel)))
    if output_shape is None:
        return y
    made, wanted = type_of(y).shape, node.sizes(2, "output_shape")
    if len(wanted) != len(made):
        raise ShapeError(f"MaxUnpool: an output shape of {len(wanted)} numbers for {type_of(y)}")
    return pad(y, [(0, 0 if old == new else _more(old, new)) for old, new in zip(made, wanted, strict=True)])


def _more(old: Any, new: Any) -> int:
    if not (isinstance(old, int) and isinstance(new, int) and old < new):
        raise ShapeError(f"MaxUnpool: the windows give {old}, which is no part of an output shape of {new}")
    return new - old
