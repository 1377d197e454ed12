"""The shape of a tensor as numbers, and tensors made from shapes."""

from __future__ import annotations

from functools import reduce
from math import ceil
from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, ShapeError
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.ops.arithmetic import mul
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    from_onnx,
    no_flops,
    no_macs,
    not_differentiable,
    register,
    type_of,
)
from tinygraph.ops.cumulative import cumsum
from tinygraph.ops.index import getitem
from tinygraph.ops.shape import broadcast_to

__all__ = ["shape_of"]


@register
class ShapeOf(Op):
    """y[i] = the size of axis start + i of x, up to axis stop - 1, as int64."""

    name = "shape_of"
    onnx = ("Shape",)
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("sizes are whole numbers")
    start: int
    stop: int

    def infer(self, x: TensorType) -> TensorType:
        if not 0 <= self.start <= self.stop <= x.ndim:
            raise ShapeError(f"there are no axes {self.start} to {self.stop} in {x.ndim} dimensions")
        return TensorType((self.stop - self.start,), np.dtype(np.int64))

    def sizes(self, types: Types) -> tuple[Dim, ...]:
        return types[0].shape[self.start : self.stop]

    def kernel(self, x: Array) -> Array:
        return np.array(x.shape[self.start : self.stop], np.int64)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Shape", inputs, start=self.start, end=self.stop)


def shape_of(x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
    """The sizes of the axes from start to before stop, which may count from the end, as int64 [axes].

    Returns:
        An array, where the sizes are known; else a tensor that is known once they are bound.

    Source: ONNX Shape.
    """
    shape = type_of(x).shape
    first, last, _ = slice(start, stop).indices(len(shape))
    part = shape[first : max(first, last)]
    if any(isinstance(d, Symbol) for d in part):
        return apply(ShapeOf(first, last), x)
    return np.array(part, np.int64)


@from_onnx("Shape")
def _shape(node: Any, x: Tensor) -> Tensor:
    start, stop, _ = slice(node.get("start", 0), node.get("end")).indices(type_of(x).ndim)
    return apply(ShapeOf(start, max(start, stop)), x)


@from_onnx("Size")
def _size(node: Any, x: Tensor) -> Tensor:
    type = type_of(x)
    if type.is_static:
        return np.array(type.size, np.int64)
    shape = shape_of(x)
    return reduce(mul, (getitem(shape, axis) for axis in range(type.ndim)))


@from_onnx("ConstantOfShape")
def _constant_of_shape(node: Any, shape: Tensor) -> Tensor:
    value = np.asarray(node.get("value", np.zeros(1, np.float32)))
    if value.size != 1:
        raise ModelFormatError(f"its value has {value.size} numbers, want one")
    return broadcast_to(node.tensor(value.reshape(())), node.sizes(0, "shape"))


@from_onnx("Range")
def _range(node: Any, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, step = node.demand(0, "start").reshape(()), node.demand(2, "delta").reshape(())
    if step == 0:
        raise ModelFormatError("its delta is 0")
    if node.constant(1) is None and (first, step) == (0, 1):
        return cumsum(broadcast_to(node.tensor(step), node.sizes(1, "limit")), 0, exclusive=True)
    last = node.demand(1, "limit").reshape(())
    count = max(_steps(first.item(), last.item(), step.item()), 0)
    node.afford(8 * count)
    return (first.item() + np.arange(count) * step.item()).astype(first.dtype)


def _steps(first: float, last: float, step: float) -> int:
    if isinstance(step, int):
        return int(-((first - last) // step))
    if not np.isfinite([first, last, step]).all():
        raise ModelFormatError(f"a range from {first} to {last} in steps of {step} has no end")
    return ceil((last - first) / step)
