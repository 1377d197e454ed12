"""Convolution whose taps are moved by offsets, each window's by its own."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.kernels import sampling
from tinygraph.ops.base import CALL, Exporter, Tensor, Types, apply, floating, from_onnx, register, type_of
from tinygraph.ops.conv import Convolution, add_bias, check_bias
from tinygraph.ops.matmul import matmul
from tinygraph.ops.sampling import TapIndex, TapSum, TapWeight
from tinygraph.ops.shape import reshape, transpose
from tinygraph.ops.windows import onnx_padding, pads, per_axis

__all__ = ["deform_conv"]


@register
class DeformConv(Convolution):
    """y[n, k, o] = bias[k] + sum over c, t of w[k, c, t] mask[n, t, o] x[n, c, o stride + t dilation - front + offset].

    Inputs: x [N, C, *spatial], w [K, C / groups, *kernel], offset [N, offset_groups * taps * axes, *windows] with a
    number for each spatial axis, perhaps a mask [N, offset_groups * taps, *windows], perhaps a bias [K]. Between its
    numbers x is interpolated linearly; around it are zeros.

    Attributes:
        offset_groups: the channels of x fall into that many parts, each of which has offsets of its own.
        masked: whether there is a mask.
    """

    name = "deform_conv"
    onnx = ("DeformConv",)
    arity = (3, 5)
    offset_groups: int = 1
    masked: bool = False

    def infer(self, x: TensorType, w: TensorType, offset: TensorType, *more: TensorType) -> TensorType:
        floating(x, w, offset, *more)
        mask, bias = self.split(more)
        y = self.convolved(x, w)
        channels = w.dims[1] * self.groups
        if 0 in x.shape[1:] or self.offset_groups < 1 or channels % self.offset_groups:
            raise ShapeError(f"{self.offset_groups} groups of offsets do not divide the channels of {x}")
        kernel = w.dims[2:]
        sets = self.offset_groups * prod(kernel)
        for given, count, what in ((offset, sets * len(kernel), "offset"), *((m, sets, "mask") for m in mask)):
            wanted = given.with_shape((y.shape[0], count, *y.shape[2:]))
            if given != wanted:
                raise ShapeError(f"the {what} is {given}, want {wanted}")
        check_bias(bias, w.dims[0])
        return y

    def split(self, more: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        """The mask and the bias, each in a list that is empty if there is none."""
        if len(more) not in (self.masked, self.masked + 1):
            raise ShapeError(f"takes {'a mask and ' * self.masked}at most one bias behind the offset")
        return more[: self.masked], more[self.masked :]

    def macs(self, inputs: Types, outputs: Types) -> int:
        """prod(w.shape[1:]) per output element."""
        return outputs[0].size * prod(inputs[1].dims[1:])

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 macs, 2 * 2**axes - 1 per tap of each channel, 1 for the mask, and 1 per output element for the bias."""
        x, w, _, *more = inputs
        mask, bias = self.split(more)
        n, channels, *windows = x.dims[0], x.dims[1], *outputs[0].dims[2:]
        columns = n * channels * prod(w.dims[2:]) * prod(windows)
        reading = (2 << len(windows)) - 1 + len(mask)
        return 2 * self.macs(inputs, outputs) + reading * columns + len(bias) * outputs[0].size

    def work(self, inputs: Types, outputs: Types) -> int:
        """The kernel goes from sample to sample, from one set of offsets to the next, and from number to number."""
        turns = inputs[0].dims[0] * self.offset_groups * (1 + (1 << (inputs[0].ndim - 2)))
        return super().work(inputs, outputs) + CALL * turns

    def kernel(self, x: Array, w: Array, offset: Array, *more: Array) -> Array:
        mask, bias = self.split(more)
        wide = np.result_type(x.dtype, np.float32)
        n, c, *sizes = x.shape
        k, _, *kernel = w.shape
        windows = offset.shape[2:]
        sets, count, places = n * self.offset_groups, prod(kernel), prod(windows)
        moved = np.moveaxis(offset.astype(wide).reshape(sets, count, len(sizes), places), 2, 3)
        at = (self._grid(kernel, windows, wide) + moved).reshape(sets, count * places, len(sizes))
        rows = x.astype(wide).reshape(sets, c // self.offset_groups, prod(sizes))
        columns = sampling.tap_sum(rows, *sampling.taps(at, sizes, "linear", "zeros", False))
        if mask:
            columns = columns * mask[0].astype(wide).reshape(sets, 1, count * places)
        matrix = columns.reshape(n, self.groups, c // self.groups * count, places)
        y = w.astype(wide).reshape(self.groups, k // self.groups, -1) @ matrix
        return add_bias(y.reshape(n, k, *windows), bias).astype(x.dtype, copy=False)

    def _grid(self, kernel: Sequence[int], windows: Sequence[int], dtype: Any) -> Array:
        """Where the taps of the windows lie before they are moved: [taps, windows, axes]."""
        axes = []
        for axis, (size, count) in enumerate(zip(kernel, windows, strict=True)):
            taps, starts = np.arange(size) * self.dilation[axis], np.arange(count) * self.stride[axis]
            along = taps[:, None] + starts - self.padding[axis][0]
            beside = [i for i in range(2 * len(kernel)) if i not in (axis, len(kernel) + axis)]
            axes.append(np.broadcast_to(np.expand_dims(along, beside), (*kernel, *windows)))
        return np.stack(axes, -1).reshape(prod(kernel), prod(windows), len(axes)).astype(dtype)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        from tinygraph.transforms import vjp  # which knows every op

        _, pull = vjp(self._formula, *inputs)
        return pull(cotangents[0])

    def _formula(self, x: Tensor, w: Tensor, offset: Tensor, *more: Tensor) -> Tensor:
        """The same in ops that have gradients of their own."""
        mask, bias = self.split(more)
        n, c, *sizes = type_of(x).dims
        k, _, *kernel = type_of(w).dims
        windows = type_of(offset).dims[2:]
        sets, count, places = n * self.offset_groups, prod(kernel), prod(windows)
        moved = transpose(reshape(offset, (sets, count, len(sizes), places)), (0, 1, 3, 2))
        grid = self._grid(kernel, windows, type_of(x).dtype)
        at = reshape(moved + grid, (sets, count * places, len(sizes)))
        rows = reshape(x, (sets, c // self.offset_groups, prod(sizes)))
        columns = apply(TapSum(), rows, apply(TapIndex(tuple(sizes)), at), apply(TapWeight(tuple(sizes)), at))
        if mask:
            columns = columns * reshape(mask[0], (sets, 1, count * places))
        matrix = reshape(columns, (n, self.groups, c // self.groups * count, places))
        y = matmul(reshape(w, (self.groups, k // self.groups, -1)), matrix)
        return add_bias(reshape(y, (n, k, *windows)), bias)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        x, w, offset, *more = inputs
        mask, bias = self.split(more)
        behind = [*bias, *mask] if bias or not mask else ["", *mask]
        return export.node(
            "DeformConv",
            [x, w, offset, *behind],
            kernel_shape=list(types[1].dims[2:]),
            offset_group=self.offset_groups,
            **self.onnx_attributes,
        )


def deform_conv(
    x: Tensor,
    w: Tensor,
    offset: Tensor,
    mask: Tensor = None,
    bias: Tensor = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    offset_groups: int = 1,
) -> Tensor:
    """Convolution whose taps are moved by offsets, each window's by its own.

    Args:
        x: [N, C, *spatial], floating.
        w: [K, C / groups, *kernel].
        offset: [N, offset_groups * taps * axes, *windows]: how far each tap is moved along each spatial axis.
        mask: [N, offset_groups * taps, *windows]: what the number at each tap is multiplied by; or None.
        bias: [K], or None.
        stride: one number, or one per spatial axis.
        padding: one number, or one number or (front, behind) pair per axis; see conv.
        dilation: as stride.
        groups: the channels of both sides fall into that many independent parts.
        offset_groups: the channels of x fall into that many parts that have offsets of their own.

    Returns:
        [N, K, *windows] of x's dtype.

    Raises:
        ShapeError: the shapes do not fit together.

    Source: Dai et al. 2017; Zhu et al. 2019; ONNX DeformConv.
    """
    type, kernel = type_of(x), type_of(w).dims[2:]
    axes = len(kernel)
    if not axes or type.ndim != axes + 2:
        raise ShapeError(f"deform_conv: wants x [N, C, *spatial] and w of as many axes, got {type} and {type_of(w)}")
    steps, gaps = per_axis(stride, axes, "stride"), per_axis(dilation, axes, "dilation")
    sides = pads(padding, type.shape[2:], kernel, steps, gaps)
    op = DeformConv(steps, sides, gaps, int(groups), int(offset_groups), mask is not None)
    return apply(op, x, w, offset, *(t for t in (mask, bias) if t is not None))


@from_onnx("DeformConv")
def _deform_conv(node: Any, x: Tensor, w: Tensor, offset: Tensor, bias: Tensor = None, mask: Tensor = None) -> Tensor:
    return deform_conv(
        x,
        w,
        offset,
        mask,
        bias,
        node.get("strides", 1),
        onnx_padding(node, type_of(w).ndim - 2),
        node.get("dilations", 1),
        node.get("group", 1),
        node.get("offset_group", 1),
    )
