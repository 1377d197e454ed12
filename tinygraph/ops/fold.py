"""Patches of an image as columns of a matrix, and the way back: im2col, col2im."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Shape, TensorType
from tinygraph.kernels.padding import crop
from tinygraph.ops.base import (
    CALL,
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    family,
    floating,
    from_onnx,
    no_flops,
    no_macs,
    not_in_onnx,
    per_input,
    register,
    type_of,
)
from tinygraph.ops.windows import margins, onnx_padding, output_sizes, pads, per_axis

__all__ = ["col2im", "im2col"]


@family
class _Patches(Op):
    """The windows of a convolution over an image [N, C, *sizes], as columns [N, C * taps, windows].

    Row c * taps + t holds what tap t of the windows reads in channel c; taps and windows are
    counted row by row.
    """

    arity = (1, 1)
    traits = frozenset({"linear"})
    macs = no_macs
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    def scratch(self, inputs: Types, outputs: Types) -> int:
        """The padding."""
        images = [t for t in (inputs[0], outputs[0]) if t.ndim == len(self.padding) + 2]
        return max((margins(t, self.kernel_size, self.padding, self.dilation) for t in images), default=0)

    def work(self, inputs: Types, outputs: Types) -> int:
        """The kernels go from tap to tap."""
        return super().work(inputs, outputs) + CALL * prod(self.kernel_size)

    def windows(self, sizes: Shape) -> tuple[int, ...]:
        """How many windows there are on each axis."""
        counts = output_sizes(sizes, self.kernel_size, self.stride, self.padding, self.dilation)
        return TensorType(counts).dims

    def taps(self, padded: Array, windows: tuple[int, ...]) -> Iterator[Array]:
        """For each tap, a view of what it reads in a padded image: [N, C, *windows]."""
        for tap in np.ndindex(self.kernel_size):
            axes = zip(tap, self.dilation, self.stride, windows, strict=True)
            lines = [slice(t * d, t * d + step * (count - 1) + 1, step) for t, d, step, count in axes]
            yield padded[(slice(None), slice(None), *lines)]


@register
class Im2Col(_Patches):
    """Each window of the padded image as a column."""

    name = "im2col"
    flops = no_flops
    to_onnx = not_in_onnx("it has no operator that makes columns of patches")

    def infer(self, x: TensorType) -> TensorType:
        if x.ndim != len(self.kernel_size) + 2:
            raise ShapeError(f"wants an image of {len(self.kernel_size)} spatial axes")
        (channels,) = x.with_shape(x.shape[1:2]).dims
        return x.with_shape((x.shape[0], channels * prod(self.kernel_size), prod(self.windows(x.shape[2:]))))

    def kernel(self, x: Array) -> Array:
        n, channels, *sizes = x.shape
        windows = self.windows(tuple(sizes))
        padded = np.pad(x, ((0, 0), (0, 0), *self.padding))
        columns = np.stack(list(self.taps(padded, windows)), 2)
        return columns.reshape(n, channels * prod(self.kernel_size), prod(windows))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        op = Col2Im(self.kernel_size, self.stride, self.padding, self.dilation, inputs[0].shape[2:])
        return [apply(op, cotangents[0])]


@register
class Col2Im(_Patches):
    """The image in which each number is added where its window reads: the transpose of im2col."""

    name = "col2im"
    onnx = ("Col2Im",)
    flops = per_input(1)
    image: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        if x.ndim != 3 or len(self.image) != len(self.kernel_size):
            raise ShapeError(f"wants columns [N, C * taps, windows] and sizes of {len(self.kernel_size)} axes")
        floating(x)
        rows, columns = x.with_shape(x.shape[1:]).dims
        taps, windows = prod(self.kernel_size), prod(self.windows(self.image))
        if rows % taps or columns != windows:
            raise ShapeError(f"{taps} taps and {windows} windows make no [{rows},{columns}]")
        return x.with_shape((x.shape[0], rows // taps, *self.image))

    def kernel(self, x: Array) -> Array:
        n, rows, _ = x.shape
        channels, windows = rows // prod(self.kernel_size), self.windows(self.image)
        added = x.reshape(n, channels, prod(self.kernel_size), *windows)
        sizes = [size + front + behind for size, (front, behind) in zip(self.image, self.padding, strict=True)]
        padded = np.zeros((n, channels, *sizes), x.dtype)
        for i, place in enumerate(self.taps(padded, windows)):
            place += added[:, :, i]
        return crop(padded, ((0, 0), (0, 0), *((-front, -behind) for front, behind in self.padding)))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(Im2Col(self.kernel_size, self.stride, self.padding, self.dilation), cotangents[0])]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        fronts, ends = zip(*self.padding, strict=True)
        return export.node(
            "Col2Im",
            [*inputs, export.const(np.array(self.image, np.int64)), export.const(np.array(self.kernel_size, np.int64))],
            strides=self.stride,
            pads=(*fronts, *ends),
            dilations=self.dilation,
        )


def _attributes(sizes: Shape, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Any, ...]:
    """Kernel, stride, padding and dilation with an entry for each spatial axis."""
    axes = len(sizes)
    kernel, stride = per_axis(kernel_size, axes, "kernel"), per_axis(stride, axes, "stride")
    dilation = per_axis(dilation, axes, "dilation")
    return kernel, stride, pads(padding, sizes, kernel, stride, dilation), dilation


def im2col(x: Tensor, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Tensor:
    """The windows of a convolution over an image, one behind the other as columns.

    Args:
        x: [N, C, *sizes], floating.
        kernel_size: taps of a window, a number or one for each spatial axis, like all that follow.
        stride: from one window to the next.
        padding: zeros around the image, or a (front, behind) pair for each axis.
        dilation: from one tap to the next.

    Returns:
        [N, C * taps, windows].

    Raises:
        ShapeError: no window fits.

    Source: torch.nn.Unfold.
    """
    return apply(Im2Col(*_attributes(type_of(x).shape[2:], kernel_size, stride, padding, dilation)), x)


def col2im(
    x: Tensor, image: Sequence[int], kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Tensor:
    """Adds up columns into the image that im2col would have taken them from.

    Args:
        x: [N, C * taps, windows], floating.
        image: sizes of the spatial axes.
        kernel_size: as in im2col, like all that follow.
        stride: as there.
        padding: as there; what is added there is cut off.
        dilation: as there.

    Returns:
        [N, C, *image].

    Raises:
        ShapeError: the columns are not those of such an image.

    Source: ONNX Col2Im; torch.nn.Fold.
    """
    sizes = tuple(int(d) for d in image)
    kernel, stride, padding, dilation = _attributes(sizes, kernel_size, stride, padding, dilation)
    return apply(Col2Im(kernel, stride, padding, dilation, sizes), x)


@from_onnx("Col2Im")
def _col2im(node: Any, x: Tensor, image: Tensor, block: Tensor) -> Tensor:
    sizes, taps = ([int(n) for n in node.demand(i, what)] for i, what in ((1, "image_shape"), (2, "block_shape")))
    padding = onnx_padding(node, len(sizes))
    return col2im(x, sizes, taps, node.get("strides", 1), padding, node.get("dilations", 1))
