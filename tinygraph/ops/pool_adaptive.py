"""Average pooling to a given size, adaptive and global, and its transpose.

Arrays are [N, C, *spatial]. The gradient op is the transpose of the pool as a linear map, so the
gradient of the gradient is the pool itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError, UnsupportedOp
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.kernels.channels_last.adaptive import Adaptive
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.elementwise import Elementwise
from tinygraph.ops.base import (
    Exporter,
    Op,
    Precision,
    Prepared,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    gradient_not_in_onnx,
    no_macs,
    register,
    type_of,
)
from tinygraph.ops.pool import summing
from tinygraph.ops.windows import per_axis

__all__ = ["adaptive_avg_pool", "global_avg_pool"]


def bins(size: int, count: int) -> list[tuple[int, int]]:
    """The adaptive windows of an axis: window i is floor(i size / count) up to ceil((i + 1) size / count)."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def elements(sizes: Sequence[int], counts: Sequence[int]) -> int:
    """Elements of all adaptive windows of a channel together."""
    axes = zip(sizes, counts, strict=True)
    return prod(sum(end - start for start, end in bins(size, count)) for size, count in axes)


def bin_sizes(sizes: Sequence[int], counts: Sequence[int], dtype: Any) -> Array:
    """Elements of each adaptive window: [*windows]."""
    result = np.ones((), dtype)
    for size, count in zip(sizes, counts, strict=True):
        result = np.multiply.outer(result, np.array([end - start for start, end in bins(size, count)], dtype))
    return result


def _check_bins(x: TensorType, counts: Sequence[Dim]) -> None:
    floating(x)
    if x.ndim != len(counts) + 2:
        raise ShapeError(f"output size {tuple(counts)} wants [N, C] and {len(counts)} spatial axes, got {x}")
    if 0 in x.shape[2:]:
        raise ShapeError(f"there is nothing to average in {x}")


@register
class AdaptiveAvgPool(Op):
    """y[n, c, o] = mean of x[n, c, floor(o size / count) : ceil((o + 1) size / count)], on each spatial axis.

    Windows overlap where the sizes do not divide, and repeat elements where the output is larger.

    Attributes:
        output_size: windows on each spatial axis; all 1 is global average pooling.
    """

    name = "adaptive_avg_pool"
    onnx = ("GlobalAveragePool", "AveragePool", "Slice", "ReduceMean", "Concat")
    arity = (1, 1)
    traits = frozenset({"linear"})
    macs = no_macs
    output_size: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        _check_bins(x, self.output_size)
        return x.with_shape((*x.shape[:2], *self.output_size))

    def flops(self, inputs: Types, outputs: Types) -> int:
        """1 per element of each window: additions and one division."""
        n, c, *sizes = inputs[0].dims
        return n * c * elements(sizes, self.output_size)

    def kernel(self, x: Array) -> Array:
        y = x.astype(summing(x.dtype), copy=False)
        for axis, count in enumerate(self.output_size, 2):
            before = (slice(None),) * axis
            sums = [y[(*before, slice(*bin))].sum(axis) for bin in bins(x.shape[axis], count)]
            y = np.stack(sums, axis)
        return (y / bin_sizes(x.shape[2:], self.output_size, y.dtype)).astype(x.dtype)

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        if set(self.output_size) != {1} or types[0].dtype != summing(types[0].dtype):
            return None
        n, c, *sizes = types[0].dims
        elements = prod(sizes)
        ones = np.ones((elements, 1), types[0].dtype)

        def run(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
            y = outputs[0].reshape(n, c, 1)
            np.matmul(inputs[0].reshape(n, c, elements), ones, out=y)
            np.divide(y, elements, out=y)

        return Prepared(run, 0, "gemv")

    def fits_channels_last(self, types: Types, constants: Sequence[Array | None]) -> bool:
        (x,) = types
        return x.size > 0 and 0 not in self.output_size and x.dtype == summing(x.dtype)

    def lower_channels_last(
        self,
        types: Types,
        constants: Sequence[Array | None],
        workers: int,
        precision: Precision,
        epilogue: Epilogue,
    ) -> Prepared:
        (x,) = types
        sizes = x.dims[2:]
        windows = [bins(*axis) for axis in zip(sizes, self.output_size, strict=True)]
        routine = Adaptive(x.dims, windows, bin_sizes(sizes, self.output_size, x.dtype), x.dtype)
        return Prepared(lambda xs, ys, memory: routine.run(xs[0], ys[0], memory), routine.workspace, "gemv")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(AdaptiveAvgPoolGrad(size=inputs[0].shape[2:]), cotangents[0])]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        if set(self.output_size) == {1}:
            return export.node("GlobalAveragePool", inputs)
        sizes = types[0].shape[2:]
        opened = next((size for size in sizes if isinstance(size, Symbol)), None)
        if opened:
            raise UnsupportedOp(
                f"adaptive_avg_pool to {self.output_size} cannot be saved as ONNX while the size {opened} is open: "
                "which elements a window has depends on it; bind it first"
            )
        known = TensorType(sizes).dims
        windows = [_even(size, count) for size, count in zip(known, self.output_size, strict=True)]
        if None not in windows:
            lengths, steps = zip(*windows, strict=True)
            return export.node("AveragePool", inputs, kernel_shape=list(lengths), strides=list(steps))
        (y,) = inputs
        for axis, (size, count) in enumerate(zip(known, self.output_size, strict=True), 2):
            if size != count:
                y = _means(export, y, axis, bins(size, count))
        return y


def _means(export: Exporter, x: str, axis: int, windows: Sequence[tuple[int, int]]) -> str:
    """The mean of each window along an axis. A mean of means is that of all, for windows that are boxes."""
    axes = export.const(np.array([axis], np.int64))
    parts = []
    for window in windows:
        start, end = (export.const(np.array([place], np.int64)) for place in window)
        parts.append(export.node("ReduceMean", [export.node("Slice", [x, start, end, axes]), axes], keepdims=1))
    joined: str = export.node("Concat", parts, axis=axis)
    return joined


def _even(size: int, count: int) -> tuple[int, int] | None:
    """(length, stride) of an axis' windows if they are all alike, else None."""
    windows = bins(size, count)
    lengths = {end - start for start, end in windows}
    steps = {b[0] - a[0] for a, b in pairwise(windows)} or {size}
    return (lengths.pop(), steps.pop()) if len(lengths) == len(steps) == 1 and 0 not in steps else None


@register
class AdaptiveAvgPoolGrad(Op):
    """dx = each window's g, divided evenly among its elements: the transpose of adaptive_avg_pool.

    Attributes:
        size: spatial sizes of the result.
    """

    name = "adaptive_avg_pool_grad"
    arity = (1, 1)
    traits = frozenset({"linear"})
    macs = no_macs
    to_onnx = gradient_not_in_onnx
    size: tuple[Dim, ...]

    def infer(self, g: TensorType) -> TensorType:
        x = g.with_shape((*g.shape[:2], *self.size))
        _check_bins(x, g.shape[2:])
        return x

    def flops(self, inputs: Types, outputs: Types) -> int:
        """1 per window and 1 per element of each window: a division, and additions."""
        n, c, *counts = inputs[0].dims
        return inputs[0].size + n * c * elements(outputs[0].dims[2:], counts)

    def kernel(self, g: Array) -> Array:
        sizes = TensorType(self.size).dims
        dx = g / bin_sizes(sizes, g.shape[2:], summing(g.dtype))
        for axis, size in enumerate(sizes, 2):
            share = np.moveaxis(dx, axis, 0)
            spread = np.zeros((size, *share.shape[1:]), share.dtype)
            for number, (start, end) in enumerate(bins(size, len(share))):
                spread[start:end] += share[number]
            dx = np.moveaxis(spread, 0, axis)
        return np.ascontiguousarray(dx, g.dtype)

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        (g,) = types
        x = self.infer(g)
        if not x.is_static or set(g.dims[2:]) != {1} or g.dtype != summing(g.dtype):
            return None
        number = np.asarray(prod(x.dims[2:]), g.dtype)
        routine = Elementwise(np.divide, [g.dims, ()], x.dims, workers)
        return Prepared(lambda inputs, outputs, _: routine.run([inputs[0], number], outputs[0]), 0, "divide")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(AdaptiveAvgPool(output_size=inputs[0].shape[2:]), cotangents[0])]


def adaptive_avg_pool(x: Tensor, output_size: Any) -> Tensor:
    """Means of as many windows as asked for, spread evenly over each spatial axis.

    Window i of an axis is x[floor(i size / count) : ceil((i + 1) size / count)].

    Args:
        x: [N, C, *spatial], floating. Spatial sizes may be open.
        output_size: one number, or one per spatial axis; may be larger than the input.

    Returns:
        [N, C, *output_size] of x's dtype.

    Raises:
        ShapeError: wrong counts, or an empty input.

    Source: torch.nn.AdaptiveAvgPool2d.
    """
    axes = type_of(x).ndim - 2
    if axes < 1:
        raise ShapeError(f"pooling wants [N, C] and at least one spatial axis, got {type_of(x)}")
    return apply(AdaptiveAvgPool(per_axis(output_size, axes, "output size")), x)


def global_avg_pool(x: Tensor) -> Tensor:
    """The mean of each channel: [N, C, *spatial] -> [N, C, 1, ...]. Source: ONNX GlobalAveragePool."""
    return adaptive_avg_pool(x, 1)


@from_onnx("GlobalAveragePool")
def _global_avg_pool(node: Any, x: Tensor) -> Tensor:
    return global_avg_pool(x)
