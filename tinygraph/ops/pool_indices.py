"""Max pooling that also says where the largest elements are; ONNX's MaxPool, which is it or max_pool."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import (
    Exporter,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    register,
    type_of,
)
from tinygraph.ops.pool import BYTES, MaxPool, attributes, attributes_from_onnx, onnx_attributes
from tinygraph.ops.pool_grad import ExtremeGrad, Winners

__all__ = ["max_pool_indices"]


@register
class MaxPoolIndices(Winners):
    """y as of max_pool; indices[n, c, o] = the number, in all of x [N, C, *spatial], of the element that y is.

    It is the first largest in row-major order. Outputs: y of x's dtype, indices int64.

    Attributes:
        column_major: the elements of a channel are numbered with the first spatial axis running
            fastest; else with the last.
    """

    name = "max_pool_indices"
    labels = ("y", "indices")
    onnx = ("MaxPool",)
    arity = (1, 1)
    column_major: bool = False

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        if x.dtype not in BYTES:
            floating(x)
        y = self.pooled(x)
        return y, y.with_dtype(np.int64)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """(prod(kernel) - 1) per element of y: comparisons to find the winner."""
        return (self.taps - 1) * outputs[0].size

    def kernel(self, x: Array) -> tuple[Array, Array]:
        sizes = x.shape[2:]
        counts = self.pooled(TensorType.of(x)).dims[2:]
        taps = np.unravel_index(self.winners(x, counts), self.kernel_size)
        places = []
        for axis, tap in enumerate(taps):
            windows = np.arange(counts[axis]).reshape(-1, *[1] * (len(sizes) - 1 - axis))
            places.append(windows * self.stride[axis] + tap * self.dilation[axis] - self.padding[axis][0])
        by_rows = self._numbers(x, places, [prod(sizes[axis + 1 :]) for axis in range(len(sizes))])
        y = x.reshape(-1)[by_rows]
        if not self.column_major:
            return y, by_rows
        return y, self._numbers(x, places, [prod(sizes[:axis]) for axis in range(len(sizes))])

    def _numbers(self, x: Array, places: Sequence[Array], steps: Sequence[int]) -> Array:
        """The numbers of elements at these places of each channel, neighbours along an axis being a step apart."""
        n, c, *sizes = x.shape
        number: Array = (np.arange(n * c) * prod(sizes)).reshape(n, c, *[1] * len(sizes))
        for place, step in zip(places, steps, strict=True):
            number = number + place * step
        return number

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [None if cotangents[0] is None else apply(ExtremeGrad(**self.attributes), inputs[0], cotangents[0])]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        order = int(self.column_major)
        return export.node("MaxPool", inputs, 2, **onnx_attributes(self, types[0]), storage_order=order)


def max_pool_indices(
    x: Tensor,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    column_major: bool = False,
) -> tuple[Tensor, Tensor]:
    """What max_pool gives, and which element of x that is: the first of the largest in row-major order.

    Args:
        x: [N, C, *spatial], floating, int8 or uint8.
        kernel: as in `max_pool`.
        stride: as in `max_pool`.
        padding: as in `max_pool`; it is never taken.
        dilation: as in `max_pool`.
        ceil_mode: as in `max_pool`.
        column_major: number the elements of a channel with the first spatial axis running fastest.

    Returns:
        The largest elements, [N, C, *windows] of x's dtype, and their numbers in the whole of x, padding not
        counted, of the same shape, int64.

    Raises:
        ShapeError: the windows do not fit.

    Source: ONNX MaxPool, output Indices.
    """
    shared = attributes(type_of(x), kernel, stride, padding, dilation, ceil_mode)
    result: tuple[Tensor, Tensor] = apply(MaxPoolIndices(**shared, column_major=bool(column_major)), x)
    return result


@from_onnx("MaxPool")
def _max_pool(node: Any, x: Tensor) -> tuple[Tensor, Tensor | None]:
    shared, order = attributes_from_onnx(node, type_of(x)), node.get("storage_order", 0)
    if order not in (0, 1):
        raise ModelFormatError(f"storage_order is {order}; ONNX has 0, rows, and 1, columns")
    if node.used(1):
        result: tuple[Tensor, Tensor] = apply(MaxPoolIndices(**shared, column_major=bool(order)), x)
        return result
    return apply(MaxPool(**shared), x), None
