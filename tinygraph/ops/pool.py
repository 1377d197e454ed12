"""Windows that slide over [N, C, *spatial], and max and min pooling. Their gradients: pool_grad.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from math import prod
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import ModelFormatError, ShapeError, UnsupportedOp
from tinygraph.ir import Array, Symbol, TensorType
from tinygraph.kernels import taps
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.channels_last.pooling import Pooling
from tinygraph.kernels.channels_last.program import Program
from tinygraph.kernels.pooling import Separable
from tinygraph.ops.base import (
    CALL,
    Exporter,
    Op,
    Precision,
    Prepared,
    Tensor,
    Types,
    apply,
    family,
    floating,
    from_onnx,
    no_macs,
    register,
    type_of,
)
from tinygraph.ops.windows import Pads, extents, margins, onnx_padding, output_sizes, pads, per_axis

__all__ = ["global_max_pool", "max_pool", "min_pool"]

BYTES = (np.dtype(np.int8), np.dtype(np.uint8))  # the whole numbers whose largest are found, as in ONNX

_PROBED = 1 << 16  # windows looked at for taps that all step over a tiny input; a file may ask for billions


@family
class Pool(Op):
    """What all sliding pools share: a window over the spatial axes of [N, C, *spatial].

    Padding may be wider than half the window, as in ONNX, but every window must have at least
    one tap on the input.

    Attributes:
        kernel_size, stride, dilation: one number per spatial axis.
        padding: a (front, behind) pair of counts per spatial axis.
        ceil_mode: the number of windows is rounded up; a last window that would start in the
            padding behind is left out.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...] = (1, 1)
    padding: Pads = ((0, 0), (0, 0))
    dilation: tuple[int, ...] = (1, 1)
    ceil_mode: bool = False

    macs = no_macs

    @property
    def taps(self) -> int:
        """Elements of one window, padding included."""
        return prod(self.kernel_size)

    def work(self, inputs: Types, outputs: Types) -> int:
        """The plain kernels go from tap to tap; prepared ones look at every window of an axis."""
        return super().work(inputs, outputs) + CALL * (self.taps + sum(outputs[0].dims[2:]))

    def scratch(self, inputs: Types, outputs: Types) -> int:
        """The padding."""
        return max(margins(t, self.kernel_size, self.padding, self.dilation) for t in (inputs[0], outputs[0]))

    def pooled(self, x: TensorType) -> TensorType:
        """Type of the pooled array; ShapeError if the windows do not fit."""
        if x.ndim != len(self.kernel_size) + 2:
            raise ShapeError(
                f"a window {self.kernel_size} wants [N, C] and {len(self.kernel_size)} spatial axes, got {x}"
            )
        sizes = x.shape[2:]
        counts = output_sizes(sizes, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        for axis, (size, count) in enumerate(zip(sizes, counts, strict=True)):
            if isinstance(size, int) and isinstance(count, int) and self._misses(axis, size, count):
                raise ShapeError(
                    f"with padding {self.padding[axis]} a window of {self.kernel_size[axis]} on spatial axis {axis} "
                    f"lies beside all {size} positions of the input; pad by less than the window"
                )
        return x.with_shape((*x.shape[:2], *counts))

    def _misses(self, axis: int, size: int, count: int) -> bool:
        """Whether a window along a spatial axis has no tap on the input."""
        stride, dilation, (front, behind) = self.stride[axis], self.dilation[axis], self.padding[axis]
        if max(front, behind) >= self.extents[axis]:
            return True
        # Taps that are no farther apart than the input is long cannot step over it.
        windows = range(min(count, dilation, _PROBED)) if dilation > size else ()
        return any((window * stride - front) % dilation >= size for window in windows)

    @property
    def extents(self) -> tuple[int, ...]:
        """Positions that a window spans on each spatial axis."""
        return extents(self.kernel_size, self.dilation)

    def on_input(self, axis: int, size: int, count: int, margins: tuple[int, int] = (0, 0)) -> Array:
        """How many taps of each window along a spatial axis lie on the input, or on it and its margins."""
        starts = self.stride[axis] * np.arange(count) - self.padding[axis][0]
        before = -((starts + margins[0]) // self.dilation[axis])
        behind = (size + margins[1] - 1 - starts) // self.dilation[axis] + 1
        number: Array = np.minimum(behind, self.kernel_size[axis]) - np.maximum(before, 0)
        return number

    def frame(self, x: Array, counts: Sequence[int], fill: float) -> Array:
        """The array surrounded by `fill` as far as any window reaches."""
        reach = [(n - 1) * s + extent for n, s, extent in zip(counts, self.stride, self.extents, strict=True)]
        sides = [(lo, max(r - lo - size, 0)) for r, (lo, _), size in zip(reach, self.padding, x.shape[2:], strict=True)]
        return taps.pad(x, sides, fill)

    def crop(self, frame: Array, sizes: Sequence[int]) -> Array:
        """The part of a frame where the array was."""
        inner: Any = (..., *(slice(lo, lo + n) for (lo, _), n in zip(self.padding, sizes, strict=True)))
        part: Array = frame[inner]
        return part

    def regions(self, counts: Sequence[int]) -> Iterator[Any]:
        """For each tap in row-major order: the slices of the frame that it meets, one element a window."""
        return (region for _, region in taps.taps(self.kernel_size, counts, self.stride, self.dilation))

    def separable(self, x: TensorType, workers: int) -> Separable:
        """The pooling of arrays of this type, axis by axis."""
        front = [front for front, _ in self.padding]
        counts = self.pooled(x).dims[2:]
        return Separable(x.dims, counts, self.kernel_size, self.stride, self.dilation, front, x.dtype, workers)

    def prepared_channels_last(
        self, x: TensorType, workers: int, combine: Any, neutral: float, divisors: Array | None = None
    ) -> Prepared:
        """The same for maps whose channels are last; see Pooling."""
        sizes = (x.dims, self.pooled(x).dims[2:], self.kernel_size, self.stride, self.dilation)
        front = [front for front, _ in self.padding]
        pool = Pooling(*sizes, front, x.dtype, workers, combine, neutral, divisors)

        def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> Program:
            return pool.program(inputs[0], outputs[0], workspace)

        return Prepared.bound(bind, pool.workspace, "separable", reads_slices=True, slice_workspace=pool.workspace)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes that all pools share."""
        return {f.name: getattr(self, f.name) for f in fields(Pool)}


def bounds(dtype: np.dtype[Any]) -> tuple[float, float]:
    """What no number of the dtype is below, and what none is above."""
    if dtype.kind in "fc":
        return -np.inf, np.inf
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


@family
class Extreme(Pool):
    """The winner of each window: the largest element, or the smallest. Padding never wins; NaN always does."""

    arity = (1, 1)
    smallest: ClassVar[bool]

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype not in BYTES:
            floating(x)
        return self.pooled(x)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """(prod(kernel) - 1) per output element, padding counted."""
        return (self.taps - 1) * outputs[0].size

    def kernel(self, x: Array) -> Array:
        counts = self.pooled(TensorType.of(x)).dims[2:]
        better = np.minimum if self.smallest else np.maximum
        worst = bounds(x.dtype)[1 if self.smallest else 0]
        frame = self.frame(x, counts, worst)
        y = np.full((*x.shape[:2], *counts), worst, x.dtype)
        for region in self.regions(counts):
            better(y, frame[region], out=y)
        return y

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared:
        pool = self.separable(types[0], workers)
        better = np.minimum if self.smallest else np.maximum

        def run(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
            pool.run(better, inputs[0], outputs[0], workspace)

        return Prepared(run, pool.workspace, "separable")

    def fits_channels_last(self, types: Types, constants: Sequence[Array | None]) -> bool:
        return types[0].size > 0

    def lower_channels_last(
        self,
        types: Types,
        constants: Sequence[Array | None],
        workers: int,
        precision: Precision,
        epilogue: Epilogue,
    ) -> Prepared:
        better = np.minimum if self.smallest else np.maximum
        return self.prepared_channels_last(types[0], workers, better, bounds(types[0].dtype)[1 if self.smallest else 0])

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        from tinygraph.ops.pool_grad import ExtremeGrad

        return [apply(ExtremeGrad(**self.attributes, smallest=self.smallest), inputs[0], cotangents[0])]


@register
class MaxPool(Extreme):
    """y[n, c, o] = max over taps t of x[n, c, o stride + t dilation - front]; padding counts as -inf."""

    name = "max_pool"
    onnx = ("MaxPool", "GlobalMaxPool")
    smallest = False

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        whole = self.extents == types[0].shape[2:] == self.kernel_size and not any(map(any, self.padding))
        if whole and types[0].dtype.kind == "f":
            return export.node("GlobalMaxPool", inputs)
        return export.node("MaxPool", inputs, **onnx_attributes(self, types[0]))


@register
class MinPool(Extreme):
    """y[n, c, o] = min over taps t of x[n, c, o stride + t dilation - front]; padding counts as +inf."""

    name = "min_pool"
    onnx = ("Neg", "MaxPool")
    smallest = True

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        if types[0].dtype in BYTES:
            raise UnsupportedOp(
                f"min_pool of {types[0]} cannot be saved as ONNX, which has no such pool; cast it to float32"
            )
        largest = export.node("MaxPool", [export.node("Neg", inputs)], **onnx_attributes(self, types[0]))
        return export.node("Neg", [largest])


def summing(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that a mean is summed in: in float16 a hundred thousand numbers soon overflow."""
    return np.result_type(dtype, np.float32)


def onnx_attributes(pool: Pool, x: TensorType) -> dict[str, Any]:
    """The attributes of ONNX's pooling operators, for an input of this type."""
    front, behind = zip(*pool.padding, strict=True)
    axes = zip(x.shape[2:], pool.pooled(x).shape[2:], pool.extents, pool.stride, pool.padding, strict=True)
    # ceil_mode is written where it adds a window: onnx's shape inference forgets to leave one out.
    rounded_up = any(
        isinstance(size, int) and count != (size + sum(pads) - extent) // stride + 1
        for size, count, extent, stride, pads in axes
    )
    return {
        "kernel_shape": list(pool.kernel_size),
        "strides": list(pool.stride),
        "pads": [*front, *behind],
        "dilations": list(pool.dilation),
        "ceil_mode": int(rounded_up),
    }


def attributes(
    type: TensorType, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> dict[str, Any]:
    """The attributes of a sliding pool, as the public functions take them."""
    if type.ndim < 3:
        raise ShapeError(f"pooling wants [N, C] and at least one spatial axis, got {type}")
    axes = type.ndim - 2
    window = per_axis(kernel, axes, "kernel")
    steps = window if stride is None else per_axis(stride, axes, "stride")
    gaps = per_axis(dilation, axes, "dilation")
    return {
        "kernel_size": window,
        "stride": steps,
        "padding": pads(padding, type.shape[2:], window, steps, gaps),
        "dilation": gaps,
        "ceil_mode": bool(ceil_mode),
    }


def max_pool(
    x: Tensor, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Tensor:
    """The largest element of each window; padding never wins, and NaN always does.

    The gradient goes to the first largest element in row-major order.

    Args:
        x: [N, C, *spatial], floating, int8 or uint8.
        kernel: size of the window: one number, or one per spatial axis.
        stride: the same; by default the windows lie side by side.
        padding: one number, one number or (front, behind) pair per axis, "same", "same_lower" or
            "valid". It may be wider than half the window as long as every window touches the input.
        dilation: distance of the taps of a window.
        ceil_mode: let the last window hang over the end, unless it would start in the padding.

    Returns:
        [N, C, *windows] of x's dtype.

    Raises:
        ShapeError: the windows do not fit.

    Source: ONNX MaxPool.
    """
    return apply(MaxPool(**attributes(type_of(x), kernel, stride, padding, dilation, ceil_mode)), x)


def min_pool(
    x: Tensor, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Tensor:
    """The smallest element of each window; padding counts as +inf. Otherwise as max_pool."""
    return apply(MinPool(**attributes(type_of(x), kernel, stride, padding, dilation, ceil_mode)), x)


def global_max_pool(x: Tensor) -> Tensor:
    """The largest element of each channel: [N, C, *spatial] -> [N, C, 1, ...]. Source: ONNX GlobalMaxPool."""
    sizes = type_of(x).shape[2:]
    if any(isinstance(size, Symbol) for size in sizes):
        raise ShapeError(f"global_max_pool wants spatial sizes that have numbers, got {type_of(x)}; bind them first")
    return max_pool(x, sizes)


def attributes_from_onnx(node: Any, x: TensorType) -> dict[str, Any]:
    """The attributes of a sliding pool, as an ONNX node has them."""
    kernel = node.get("kernel_shape")
    if kernel is None:
        raise ModelFormatError("the attribute 'kernel_shape' is missing")
    return attributes(
        x,
        kernel,
        node.get("strides", 1),
        onnx_padding(node, len(kernel)),
        node.get("dilations", 1),
        bool(node.get("ceil_mode", 0)),
    )


@from_onnx("GlobalMaxPool")
def _global_max_pool(node: Any, x: Tensor) -> Tensor:
    return global_max_pool(x)
