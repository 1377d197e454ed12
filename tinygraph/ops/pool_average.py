"""Average pooling by sliding windows, and its transpose: the gradient of either is the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Dim, TensorType
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.pool_spread import Spread
from tinygraph.ops.base import (
    Exporter,
    Precision,
    Prepared,
    Tensor,
    Types,
    apply,
    family,
    floating,
    from_onnx,
    gradient_not_in_onnx,
    register,
    type_of,
)
from tinygraph.ops.pool import Pool, attributes, attributes_from_onnx, onnx_attributes, summing

__all__ = ["avg_pool"]


@family
class Average(Pool):
    """What the average pool and its transpose share.

    Attributes:
        count_include_pad: divide by the taps on input and padding; else by those on the input.
            What hangs over the padding (ceil_mode) never counts.
    """

    count_include_pad: bool = True

    arity = (1, 1)
    traits = frozenset({"linear"})

    def divisors(self, sizes: Sequence[int], counts: Sequence[int], dtype: Any) -> Array:
        """What the sum of each window is divided by: [*windows]."""
        result = np.ones((), dtype)
        for axis, (size, count) in enumerate(zip(sizes, counts, strict=True)):
            margins = self.padding[axis] if self.count_include_pad else (0, 0)
            result = np.multiply.outer(result, self.on_input(axis, size, count, margins).astype(dtype))
        return result


@register
class AvgPool(Average):
    """y[n, c, o] = mean over taps t of x[n, c, o stride + t dilation - front]; padding counts as 0."""

    name = "avg_pool"
    onnx = ("AveragePool",)

    def infer(self, x: TensorType) -> TensorType:
        floating(x)
        return self.pooled(x)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """1 per element of each window, padding counted: additions and one division."""
        return self.taps * outputs[0].size

    def kernel(self, x: Array) -> Array:
        counts = self.pooled(TensorType.of(x)).dims[2:]
        frame = self.frame(x, counts, 0.0)
        y = np.zeros((*x.shape[:2], *counts), summing(x.dtype))
        for region in self.regions(counts):
            y += frame[region]
        return (y / self.divisors(x.shape[2:], counts, y.dtype)).astype(x.dtype)

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        x = types[0]
        if x.dtype != summing(x.dtype):
            return None
        pool = self.separable(x, workers)
        divisors = self.divisors(x.dims[2:], self.pooled(x).dims[2:], x.dtype)

        def run(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
            pool.run(np.add, inputs[0], outputs[0], workspace, lambda y: np.divide(y, divisors, out=y))

        return Prepared(run, pool.workspace, "separable")

    def fits_channels_last(self, types: Types, constants: Sequence[Array | None]) -> bool:
        return types[0].size > 0 and types[0].dtype == summing(types[0].dtype)

    def lower_channels_last(
        self,
        types: Types,
        constants: Sequence[Array | None],
        workers: int,
        precision: Precision,
        epilogue: Epilogue,
    ) -> Prepared:
        (x,) = types
        divisors = self.divisors(x.dims[2:], self.pooled(x).dims[2:], x.dtype)
        return self.prepared_channels_last(x, workers, np.add, 0.0, divisors)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        grad = AvgPoolGrad(**self.attributes, count_include_pad=self.count_include_pad, size=inputs[0].shape[2:])
        return [apply(grad, cotangents[0])]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        counted = {"count_include_pad": int(self.count_include_pad)}
        return export.node("AveragePool", inputs, **onnx_attributes(self, types[0]), **counted)


@register
class AvgPoolGrad(Average):
    """dx = each window's g, divided evenly among its taps: the transpose of avg_pool.

    Attributes:
        size: spatial sizes of the result.
    """

    name = "avg_pool_grad"
    to_onnx = gradient_not_in_onnx
    size: tuple[Dim, ...] = ()

    def infer(self, g: TensorType) -> TensorType:
        floating(g)
        x = g.with_shape((*g.shape[:2], *self.size))
        if self.pooled(x) != g:
            raise ShapeError(f"the windows are {self.pooled(x)}, the cotangent is {g}")
        return x

    def flops(self, inputs: Types, outputs: Types) -> int:
        """(prod(kernel) + 1) per window: one division, and an addition at each tap, padding counted."""
        return (self.taps + 1) * inputs[0].size

    def kernel(self, g: Array) -> Array:
        counts = g.shape[2:]
        sizes = TensorType(self.size).dims
        share = g / self.divisors(sizes, counts, summing(g.dtype))
        frame = self.frame(np.zeros((*g.shape[:2], *sizes), share.dtype), counts, 0.0)
        for region in self.regions(counts):
            frame[region] += share
        return np.ascontiguousarray(self.crop(frame, sizes), g.dtype)

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        (g,) = types
        x = self.infer(g)
        if not x.is_static or not x.size or g.dtype != summing(g.dtype):
            return None
        sizes, counts = x.dims[2:], g.dims[2:]
        fronts = [front for front, _ in self.padding]
        axes = list(zip(sizes, counts, self.kernel_size, self.stride, self.dilation, fronts, strict=True))
        routine = Spread(x.dims, axes, self.divisors(sizes, counts, g.dtype), workers)
        return Prepared(lambda xs, ys, memory: routine.run(xs[0], ys[0], memory), routine.workspace, "by_tap")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(AvgPool(**self.attributes, count_include_pad=self.count_include_pad), cotangents[0])]


def avg_pool(
    x: Tensor,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    dilation: Any = 1,
) -> Tensor:
    """The mean of each window.

    Args:
        x: [N, C, *spatial], floating.
        kernel: size of the window: one number, or one per spatial axis.
        stride: the same; by default the windows lie side by side.
        padding: zeros around x, in any form that max_pool takes.
        ceil_mode: let the last window hang over the end, unless it would start in the padding.
        count_include_pad: whether padding counts in the number that the sum is divided by. What
            hangs over the padding because of ceil_mode never counts.
        dilation: distance of the taps of a window.

    Returns:
        [N, C, *windows] of x's dtype.

    Raises:
        ShapeError: the windows do not fit.

    Source: ONNX AveragePool (whose count_include_pad is 0 unless given).
    """
    shared = attributes(type_of(x), kernel, stride, padding, dilation, ceil_mode)
    return apply(AvgPool(**shared, count_include_pad=bool(count_include_pad)), x)


@from_onnx("AveragePool")
def _avg_pool(node: Any, x: Tensor) -> Tensor:
    shared = attributes_from_onnx(node, type_of(x))
    return apply(AvgPool(**shared, count_include_pad=bool(node.get("count_include_pad", 0))), x)
