"""Transposed convolution: the input gradient of a convolution, and an op of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from math import prod
from typing import Any

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Dim, TensorType
from tinygraph.kernels import taps
from tinygraph.kernels.channels_last import transpose
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.phases import Phases, PointwiseTranspose
from tinygraph.ops.base import (
    Exporter,
    Prepared,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    register,
    type_of,
)
from tinygraph.ops.conv import (
    Conv,
    ConvWeightGrad,
    Weighing,
    add_bias,
    check_bias,
    onnx_axes,
    prepared,
    sum_to_channels,
)
from tinygraph.ops.windows import onnx_padding, pads, per_axis, transposed_sizes

__all__ = ["conv_transpose"]

_MOST_PHASES = 1024  # of a prepared kernel: behind that, most of them have no tap


@register
class ConvTranspose(Weighing):
    """y[n, c, i stride + t dilation - padding] = b[c] + sum over k, i, t of w[k, c, t] x[n, k, i].

    x [N, K, *spatial], w [K, C / groups, *kernel], b [C] -> y [N, C, *output_size]: what a
    convolution with the same attributes and weight takes to the shape of x. Several sizes are
    taken to one if the stride is above 1, so `output_size` says which is meant.
    """

    name = "conv_transpose"
    onnx = ("ConvTranspose",)
    output_size: tuple[Dim, ...] = field(kw_only=True)

    def infer(self, x: TensorType, w: TensorType, *bias: TensorType) -> TensorType:
        floating(x, w, *bias)
        self.check(x, w, "weight")
        k, per_group, *kernel = w.dims
        if x.shape[1] != k:
            raise ShapeError(f"the weight reads {k} channels, the input has {x.shape[1]}")
        self.divided(k, "the input channels")
        check_bias(bias, per_group * self.groups)
        if len(self.output_size) != len(kernel) or self.windows(self.output_size, kernel) != x.shape[2:]:
            raise ShapeError(
                f"a convolution would not take output_size {self.output_size} to the input's {x.shape[2:]}"
            )
        return x.with_shape((x.shape[0], per_group * self.groups, *self.output_size))

    def macs(self, inputs: Types, outputs: Types) -> int:
        """(C / groups) prod(kernel) per input element."""
        return inputs[0].size * prod(inputs[1].dims[1:])

    def kernel(self, x: Array, w: Array, *bias: Array) -> Array:
        return add_bias(taps.spread(x, w, TensorType(self.output_size).dims, **self.attributes), bias)

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        g = self.planned(types)
        if g is None:
            return None
        return prepared(PointwiseTranspose(g, workers) if g.is_dense else Phases(g, workers))

    def planned(self, types: Types) -> Geometry | None:
        x, w, *bias = types
        g = self.geometry(self.infer(x, w, *bias), x, w.dims[2:])
        return None if g is None or prod(map(min, g.stride, g.sizes)) > _MOST_PHASES else g

    def routine(self, g: Geometry, workers: int, weight: Array, epilogue: Epilogue, fast: bool) -> Any:
        return transpose.transposed(g, workers, weight, epilogue, fast)

    def fits_channels_last(self, types: Types, constants: Sequence[Array | None]) -> bool:
        g = self.planned(types)
        return g is not None and transpose.fits(g) and super().fits_channels_last(types, constants)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x, w, *bias = inputs
        g = cotangents[0]
        dx = apply(Conv(**self.attributes), g, w)
        dw = apply(ConvWeightGrad(**self.attributes, kernel_size=type_of(w).dims[2:]), g, x)
        return [dx, dw, *(sum_to_channels(g) for _ in bias)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        x, w = types[:2]
        none = (0,) * len(self.stride)
        covered = transposed_sizes(x.shape[2:], w.dims[2:], self.stride, self.padding, self.dilation, none)
        # An open size is as large before and after: nothing is behind the windows.
        sizes = zip(self.output_size, covered, strict=True)
        extra = [a - b if isinstance(a, int) and isinstance(b, int) else 0 for a, b in sizes]
        return export.node("ConvTranspose", inputs, **self.onnx_attributes, output_padding=extra)


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Transposed convolution: every number of x, times the kernel, is added into the result.

    The size on each axis is (size - 1) stride + dilation (kernel - 1) + 1 - padding +
    output_padding, padding counted on both sides.

    Args:
        x: [N, K, *spatial], floating.
        weight: [K, C / groups, *kernel], of the same dtype.
        bias: [C], or None.
        stride: a number, or one per axis.
        padding: positions cut off the full result: a number, or a number or (front, behind)
            pair per axis.
        output_padding: positions added behind, below the stride: a number, or one per axis.
        dilation: a number, or one per axis.
        groups: input and output channels fall into that many independent parts.

    Returns:
        [N, C, *out], of x's dtype.

    Raises:
        ShapeError: sizes, channels, groups, dtypes or attributes do not fit together.

    Source: ONNX ConvTranspose; Zeiler et al. 2010, Deconvolutional Networks.
    """
    sizes, kernel = type_of(x).shape[2:], type_of(weight).dims[2:]
    steps = per_axis(stride, len(kernel), "stride")
    spacing = per_axis(dilation, len(kernel), "dilation")
    extra = per_axis(output_padding, len(kernel), "output_padding", 0)
    if any(e >= s for e, s in zip(extra, steps, strict=True)):
        raise ShapeError(f"output_padding {output_padding} must be below the stride, {stride}")
    if isinstance(padding, str):
        raise ShapeError(f"padding {padding!r} does not say which positions to cut off; give numbers")
    cut = pads(padding, sizes, kernel, steps, spacing)
    size = transposed_sizes(sizes, kernel, steps, cut, spacing, extra)
    op = ConvTranspose(steps, cut, spacing, groups, output_size=size)
    return apply(op, x, weight) if bias is None else apply(op, x, weight, bias)


@from_onnx("ConvTranspose")
def _conv_transpose(node: Any, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    axes = onnx_axes(node, w)
    stride, dilation = node.get("strides", 1), node.get("dilations", 1)
    extra, groups = node.get("output_padding", 0), node.get("group", 1)
    padding = onnx_padding(node, axes)
    shape = node.get("output_shape")
    if shape is None and padding not in ("same", "same_lower"):
        return conv_transpose(x, w, b, stride, 0 if padding == "valid" else padding, extra, dilation, groups)
    # The result's size is said, and what the windows cover beyond it is cut off on both sides.
    sizes, kernel = TensorType(type_of(x).shape[2:]).dims, type_of(w).dims[2:]
    steps = per_axis(stride, axes, "stride")
    spacing = per_axis(dilation, axes, "dilation")
    rear = per_axis(extra, axes, "output_padding", 0)
    same = tuple(n * s for n, s in zip(sizes, steps, strict=True))
    said = same if shape is None else per_axis(shape[-axes:], axes, "output_shape")
    full = TensorType(transposed_sizes(sizes, kernel, steps, ((0, 0),) * axes, spacing, rear)).dims
    surplus = [max(a - b, 0) for a, b in zip(full, said, strict=True)]
    pairs = [(total // 2, total - total // 2) for total in surplus]
    cut = tuple((less, more) if padding == "same" else (more, less) for less, more in pairs)
    op = ConvTranspose(steps, cut, spacing, groups, output_size=said)
    return apply(op, x, w) if b is None else apply(op, x, w, b)
