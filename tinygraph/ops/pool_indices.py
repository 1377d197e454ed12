"""Where the largest element of each window is; max pooling as ONNX has it, with or without these places."""

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
    not_differentiable,
    register,
    type_of,
)
from tinygraph.ops.pool import BYTES, MaxPool, attributes, attributes_from_onnx, onnx_attributes
from tinygraph.ops.pool_grad import Winners

__all__ = ["max_pool_indices"]


@register
class MaxPoolIndices(Winners):
    """y[n, c, o] = the number, in all of x [N, C, *spatial], of the first largest element of window o; int64.

    Attributes:
        column_major: the elements of a channel are numbered with the first spatial axis running
            fastest; else with the last.
    """

    name = "max_pool_indices"
    onnx = ("MaxPool",)
    arity = (1, 1)
    vjp = not_differentiable("places are whole numbers")
    column_major: bool = False

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype not in BYTES:
            floating(x)
        return self.pooled(x).with_dtype(np.int64)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """(prod(kernel) - 1) per output element: comparisons to find the winner."""
        return (self.taps - 1) * outputs[0].size

    def kernel(self, x: Array) -> Array:
        n, c, *sizes = x.shape
        counts = self.pooled(TensorType.of(x)).dims[2:]
        number: Array = (np.arange(n * c) * prod(sizes)).reshape(n, c, *[1] * len(sizes))
        taps = np.unravel_index(self.winners(x, counts), self.kernel_size)
        for axis, tap in enumerate(taps):
            windows = np.arange(counts[axis]).reshape(-1, *[1] * (len(sizes) - 1 - axis))
            place = windows * self.stride[axis] + tap * self.dilation[axis] - self.padding[axis][0]
            number = number + place * self._step(sizes, axis)
        return number

    def _step(self, sizes: Sequence[int], axis: int) -> int:
        """How far apart the numbers of neighbours along a spatial axis are."""
        return prod(sizes[:axis] if self.column_major else sizes[axis + 1 :])

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        order = int(self.column_major)
        return export.node("MaxPool", inputs, 2, **onnx_attributes(self, types[0]), storage_order=order)[1]


def max_pool_indices(
    x: Tensor,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    column_major: bool = False,
) -> Tensor:
    """Which element of x max_pool takes for each window: the first of the largest in row-major order.

    Args:
        x: [N, C, *spatial], floating, int8 or uint8.
        kernel: as in `max_pool`.
        stride: as in `max_pool`.
        padding: as in `max_pool`; it is never taken.
        dilation: as in `max_pool`.
        ceil_mode: as in `max_pool`.
        column_major: number the elements of a channel with the first spatial axis running fastest.

    Returns:
        [N, C, *windows], int64: numbers of elements of the whole of x, padding not counted.

    Raises:
        ShapeError: the windows do not fit.

    Source: ONNX MaxPool, output Indices.
    """
    shared = attributes(type_of(x), kernel, stride, padding, dilation, ceil_mode)
    return apply(MaxPoolIndices(**shared, column_major=bool(column_major)), x)


@from_onnx("MaxPool")
def _max_pool(node: Any, x: Tensor) -> tuple[Tensor, Tensor | None]:
    shared, order = attributes_from_onnx(node, type_of(x)), node.get("storage_order", 0)
    if order not in (0, 1):
        raise ModelFormatError(f"storage_order is {order}; ONNX has 0, rows, and 1, columns")
    places = apply(MaxPoolIndices(**shared, column_major=bool(order)), x) if node.used(1) else None
    return apply(MaxPool(**shared), x), places
