"""Convolution of small whole numbers: exact, or scaled back to small whole numbers."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.kernels import taps
from tinygraph.ops.base import (
    CALL,
    Exporter,
    Tensor,
    Types,
    apply,
    family,
    floating,
    from_onnx,
    not_differentiable,
    register,
    type_of,
)
from tinygraph.ops.conv import Convolution, add_bias, attributes, attributes_from_onnx, check_bias
from tinygraph.ops.quantize import rounded
from tinygraph.ops.quantized_matmul import distance, single, single_onnx, small, wrapped
from tinygraph.ops.shape import broadcast_to, reshape

__all__ = ["conv_integer", "qlinear_conv"]


@family
class IntegerConvolution(Convolution):
    """What the exact convolution and the scaled one share. Padding stands for 0: it is of the zero point."""

    vjp = not_differentiable("whole numbers have no gradient")

    def sums(self, x: TensorType, x_zero: TensorType, w: TensorType, w_zero: TensorType) -> TensorType:
        """The type of the exact sums; ShapeError if anything does not fit."""
        small("x", x, x_zero)
        small("the weight", w, w_zero)
        y = self.convolved(x, w).with_dtype(np.int32)
        if x_zero.shape:
            raise ShapeError(f"the zero point of x is {x_zero}; want one number")
        if w_zero.shape not in ((), w.shape[:1]):
            raise ShapeError(f"the zero point of the weight is {w_zero}; want one number, or [{w.shape[0]}]")
        return y

    def work(self, inputs: Types, outputs: Types) -> int:
        """The kernels go from tap to tap."""
        weight = next(t for t in inputs[1:] if t.ndim > 2)
        return super().work(inputs, outputs) + CALL * prod(weight.dims[2:])

    def exact(self, x: Array, x_zero: Array, w: Array, w_zero: Array) -> Array:
        """The sums, whole numbers in float64."""
        filters = distance(w, w_zero.reshape(-1, *[1] * (w.ndim - 1)))
        return taps.convolve(distance(x, x_zero), filters, **self.attributes)


@register
class ConvInteger(IntegerConvolution):
    """The convolution of x - x_zero with w - w_zero, exactly, in int32.

    Inputs: x [N, C, *spatial], w [K, C / groups, *kernel], int8 or uint8; x_zero, one number; w_zero, one or [K].
    """

    name = "conv_integer"
    onnx = ("ConvInteger",)
    arity = (4, 4)

    def infer(self, x: TensorType, w: TensorType, x_zero: TensorType, w_zero: TensorType) -> TensorType:
        return self.sums(x, x_zero, w, w_zero)

    def macs(self, inputs: Types, outputs: Types) -> int:
        """(C / groups) prod(kernel) per output element."""
        return outputs[0].size * prod(inputs[1].dims[1:])

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 macs, and 1 per element of x and w for the zero points."""
        return 2 * self.macs(inputs, outputs) + inputs[0].size + inputs[1].size

    def kernel(self, x: Array, w: Array, x_zero: Array, w_zero: Array) -> Array:
        return wrapped(self.exact(x, x_zero, w, w_zero))

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("ConvInteger", inputs, **self.onnx_attributes)


@register
class QLinearConv(IntegerConvolution):
    """y = saturate(round((conv(x - x_zero, w - w_zero) + b) (x_scale w_scale / y_scale)) + y_zero), half to even.

    Inputs: x [N, C, *spatial], x_scale, x_zero, w [K, C / groups, *kernel], w_scale, w_zero, y_scale, y_zero,
    and perhaps b [K], int32, in steps of x_scale w_scale. What belongs to w is one number or [K], what belongs
    to x or y one number. The sums are exact, the scales meet in float32.
    """

    name = "qlinear_conv"
    onnx = ("QLinearConv", "Cast")
    arity = (8, 9)

    def infer(self, *types: TensorType) -> TensorType:
        x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = types
        y = self.sums(x, x_zero, w, w_zero)
        floating(x_scale, w_scale, y_scale)
        if x_scale.shape or y_scale.shape or y_zero.shape:
            raise ShapeError(
                f"wants one scale of x and of y, and one zero point, got {x_scale}, {y_scale} and {y_zero}"
            )
        if w_scale.shape != w_zero.shape:
            raise ShapeError(f"the scale of the weight is {w_scale} and its zero point {w_zero}; want one shape")
        small("y", y.with_dtype(y_zero.dtype), y_zero)
        check_bias(bias, w.dims[0])
        if bias and bias[0].dtype != np.int32:
            raise ShapeError(f"the bias must be int32, got {bias[0].dtype.name}")
        return y.with_dtype(y_zero.dtype)

    def macs(self, inputs: Types, outputs: Types) -> int:
        """(C / groups) prod(kernel) per output element."""
        return outputs[0].size * prod(inputs[3].dims[1:])

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 macs, 1 per element of x and w (zero points), 5 per output element (as qlinear_matmul), 1 for a bias."""
        zeros, each = inputs[0].size + inputs[3].size, 5 + (len(inputs) > 8)
        return 2 * self.macs(inputs, outputs) + zeros + each * outputs[0].size

    def kernel(self, *inputs: Array) -> Array:
        x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = inputs
        sums = wrapped(add_bias(self.exact(x, x_zero, w, w_zero), bias))
        sx, sw, sy = single(x_scale, w_scale, y_scale)
        factor = (sx * sw / sy).reshape(-1, *[1] * (x.ndim - 2))
        return rounded(sums.astype(np.float32) * factor, y_zero)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("QLinearConv", single_onnx(export, inputs, types), **self.onnx_attributes)


def conv_integer(
    x: Tensor,
    weight: Tensor,
    x_zero: Tensor,
    w_zero: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The exact convolution of quantized numbers, before it is scaled.

    Args:
        x: [N, C, *spatial], int8 or uint8.
        weight: [K, C / groups, *kernel], int8 or uint8.
        x_zero: what stands for 0 in x, and in the padding: one number of x's dtype.
        w_zero: likewise for the weight: one number, or [K].
        stride: as in `conv`.
        padding: as in `conv`.
        dilation: as in `conv`.
        groups: as in `conv`.

    Returns:
        [N, K, *out], int32.

    Raises:
        ShapeError: shapes or dtypes do not fit together.

    Source: ONNX ConvInteger.
    """
    return apply(ConvInteger(**attributes(x, weight, stride, padding, dilation, groups)), x, weight, x_zero, w_zero)


def qlinear_conv(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    weight: Tensor,
    w_scale: Tensor,
    w_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The convolution of quantized numbers, quantized again.

    y = saturate(round((conv(x - x_zero, w - w_zero) + bias) (x_scale w_scale / y_scale)) + y_zero).

    Args:
        x: [N, C, *spatial], int8 or uint8.
        x_scale: what one step of x stands for: one floating number.
        x_zero: what stands for 0 in x, and in the padding: one number of x's dtype.
        weight: [K, C / groups, *kernel], int8 or uint8.
        w_scale: that of the weight: one number, or [K].
        w_zero: that of the weight, of w_scale's shape.
        y_scale: that of the result.
        y_zero: that of the result, whose dtype it says: int8 or uint8.
        bias: [K], int32, in steps of x_scale w_scale; or None.
        stride: as in `conv`.
        padding: as in `conv`.
        dilation: as in `conv`.
        groups: as in `conv`.

    Returns:
        [N, K, *out], of y_zero's dtype.

    Raises:
        ShapeError: shapes or dtypes do not fit together.

    Source: ONNX QLinearConv; Jacob et al. 2018.
    """
    op = QLinearConv(**attributes(x, weight, stride, padding, dilation, groups))
    bias = () if bias is None else (bias,)
    return apply(op, x, x_scale, x_zero, weight, w_scale, w_zero, y_scale, y_zero, *bias)


def _number(v: Tensor) -> Tensor:
    """A scale or zero point; older files write one number as a vector."""
    return reshape(v, ()) if type_of(v).shape == (1,) else v


@from_onnx("ConvInteger")
def _conv_integer(
    node: Any, x: Tensor, w: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    x_zero = np.zeros((), type_of(x).dtype) if x_zero is None else _number(x_zero)
    w_zero = np.zeros((), type_of(w).dtype) if w_zero is None else _number(w_zero)
    return apply(ConvInteger(**attributes_from_onnx(node, x, w)), x, w, x_zero, w_zero)


@from_onnx("QLinearConv")
def _qlinear_conv(node: Any, *tensors: Tensor) -> Tensor:
    x, x_scale, x_zero, w, *others = tensors
    w_scale, w_zero, y_scale, y_zero, *bias = others
    # A scale for each of many filters may come with one zero point for all.
    w_scale, w_zero = _number(w_scale), _number(w_zero)
    if type_of(w_zero).shape != type_of(w_scale).shape:
        w_scale, w_zero = (broadcast_to(v, type_of(w).shape[:1]) for v in (w_scale, w_zero))
    op = QLinearConv(**attributes_from_onnx(node, x, w))
    given = x, _number(x_scale), _number(x_zero), w, w_scale, w_zero, _number(y_scale), _number(y_zero)
    return apply(op, *given, *(b for b in bias if b is not None))
