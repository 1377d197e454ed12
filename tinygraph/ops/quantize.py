"""Real numbers as small whole numbers, and back: quantize, dequantize, and quantization to the range of the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.arithmetic import compare, maximum, sub, where
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    family,
    floating,
    from_onnx,
    no_macs,
    normal_axis,
    not_differentiable,
    per_output,
    register,
    type_of,
)
from tinygraph.ops.elementwise import cast, neg
from tinygraph.ops.index import slice
from tinygraph.ops.reduce import max
from tinygraph.ops.shape import broadcast_to, expand_dims, reshape

__all__ = ["dequantize", "quantize"]

_WRITTEN = (np.dtype(np.int8), np.dtype(np.uint8))  # the results and scales of QuantizeLinear of opset 20
_SCALES = (np.dtype(np.float16), np.dtype(np.float32))


def rounded(x: Array, zero: Array) -> Array:
    """Rounds x half to even, adds the zero point, and saturates to its dtype."""
    limits = np.iinfo(zero.dtype)
    # In float64 the sum is exact for all numbers that do not saturate anyway.
    y: Array = np.clip(np.rint(x).astype(np.float64) + zero, limits.min, limits.max).astype(zero.dtype)
    return y


@family
class Linear(Op):
    """What both ways share: a scale and a zero point for the tensor, for each index of an axis, or for each element.

    Attributes:
        axis: that of a scale that is a vector.
    """

    arity = (3, 3)
    macs = no_macs
    axis: int = 1

    def check(self, x: TensorType, scale: TensorType, zero: TensorType) -> None:
        """ShapeError unless scale and zero point are of one shape, and fit x."""
        floating(scale)
        if zero.dtype.kind not in "iu":
            raise ShapeError(f"the zero point must be of integers, got {zero.dtype.name}")
        if scale.shape != zero.shape:
            raise ShapeError(f"the scale {scale} and the zero point {zero} must have one shape")
        along = x.shape[self.axis : self.axis + 1] if self.axis >= 0 else ()
        if scale.shape not in ((), along, x.shape):
            raise ShapeError(f"the scale {scale} is neither one number nor one for each of axis {self.axis} of {x}")

    def spread(self, v: Array, x: Array) -> Array:
        """A scale or zero point so that it broadcasts over x."""
        if v.ndim != 1 or x.ndim == 1:
            return v
        return v.reshape(-1, *[1] * (x.ndim - 1 - self.axis))

    def spread_onnx(self, export: Exporter, v: str, types: Types) -> str:
        """The same in ONNX."""
        x, scale = types[:2]
        behind = x.ndim - 1 - self.axis
        if scale.ndim != 1 or not behind:
            return v
        name: str = export.node("Reshape", [v, export.const(np.array([-1] + [1] * behind, np.int64))])
        return name


@register
class Quantize(Linear):
    """y = saturate(round(x / scale) + zero), rounded half to even, in the dtype of the zero point.

    Inputs: x, floating or int32; scale; zero. The quotient is taken in the dtype of the scale.
    """

    name = "quantize"
    onnx = ("QuantizeLinear", "Reshape", "Div", "Round", "Add", "Clip", "Cast")

    def infer(self, x: TensorType, scale: TensorType, zero: TensorType) -> TensorType:
        if x.dtype.kind not in "if":
            raise ShapeError(f"wants floating-point numbers or signed integers, got {x.dtype.name}")
        self.check(x, scale, zero)
        return x.with_dtype(zero.dtype)

    flops = per_output(5)
    vjp = not_differentiable("rounding has the derivative 0")

    def kernel(self, x: Array, scale: Array, zero: Array) -> Array:
        return rounded(x.astype(scale.dtype) / self.spread(scale, x), self.spread(zero, x))

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        """What opset 20 has no operator for, 16 bits and a scale for each element, is written step by step."""
        x, scale, zero = types
        if zero.dtype in _WRITTEN and scale.ndim <= 1 and x.dtype == scale.dtype in _SCALES:
            return export.node("QuantizeLinear", inputs, axis=self.axis)
        limits = np.iinfo(zero.dtype)
        bounds = [export.const(np.array(limit, np.float64)) for limit in (limits.min, limits.max)]
        x_, scale_, zero_ = inputs[0], *(self.spread_onnx(export, v, types) for v in inputs[1:])
        x_ = x_ if x.dtype == scale.dtype else export.node("Cast", [x_], to=scale.dtype)
        whole = export.node("Round", [export.node("Div", [x_, scale_])])
        wide, wide_zero = (export.node("Cast", [v], to=np.dtype(np.float64)) for v in (whole, zero_))
        clipped = export.node("Clip", [export.node("Add", [wide, wide_zero]), *bounds])
        return export.node("Cast", [clipped], to=zero.dtype)


@register
class Dequantize(Linear):
    """y = (x - zero) scale, in the dtype of the scale.

    Inputs: x, integers; scale; zero, of x's dtype.
    """

    name = "dequantize"
    onnx = ("DequantizeLinear", "Reshape", "Cast", "Sub", "Mul")

    def infer(self, x: TensorType, scale: TensorType, zero: TensorType) -> TensorType:
        if x.dtype != zero.dtype:
            raise ShapeError(f"x is {x.dtype.name} and the zero point {zero.dtype.name}; they must be alike")
        self.check(x, scale, zero)
        return x.with_dtype(scale.dtype)

    flops = per_output(2)
    vjp = not_differentiable("whole numbers have no gradient")

    def kernel(self, x: Array, scale: Array, zero: Array) -> Array:
        distance = x.astype(np.int64) - self.spread(zero, x)
        y: Array = distance.astype(scale.dtype) * self.spread(scale, x)
        return y

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        """What opset 20 has no operator for, 16 bits and a scale for each element, is written step by step."""
        x, scale, _ = types
        if scale.ndim <= 1 and scale.dtype in _SCALES and x.dtype in (*_WRITTEN, np.int32):
            return export.node("DequantizeLinear", inputs, axis=self.axis)
        x_, scale_, zero_ = inputs[0], *(self.spread_onnx(export, v, types) for v in inputs[1:])
        distance = export.node("Sub", [export.node("Cast", [v], to=np.dtype(np.int64)) for v in (x_, zero_)])
        return export.node("Mul", [export.node("Cast", [distance], to=scale.dtype), scale_])


def quantize(x: Tensor, scale: Tensor, zero: Tensor, axis: int = 1) -> Tensor:
    """Rounds numbers to multiples of a scale: saturate(round(x / scale) + zero).

    Args:
        x: floating, or int32.
        scale: floating: one number; a vector with one for each index of the axis; or x's shape.
        zero: what 0 becomes; integers of scale's shape, and of the dtype of the result.
        axis: that of a vector.

    Returns:
        x's shape, zero's dtype. What its range does not hold becomes its smallest or largest number.

    Raises:
        ShapeError: shapes or dtypes do not fit together.

    Source: ONNX QuantizeLinear; Jacob et al. 2018.
    """
    return apply(Quantize(_axis(x, scale, axis)), x, scale, zero)


def dequantize(x: Tensor, scale: Tensor, zero: Tensor, axis: int = 1) -> Tensor:
    """The real numbers that quantized ones stand for: (x - zero) scale.

    Args:
        x: integers.
        scale: floating: one number; a vector with one for each index of the axis; or x's shape.
        zero: what stands for 0; of scale's shape and x's dtype.
        axis: that of a vector.

    Returns:
        x's shape, scale's dtype.

    Raises:
        ShapeError: shapes or dtypes do not fit together.

    Source: ONNX DequantizeLinear.
    """
    return apply(Dequantize(_axis(x, scale, axis)), x, scale, zero)


def _axis(x: Tensor, scale: Tensor, axis: int) -> int:
    return normal_axis(int(axis), type_of(x).ndim) if type_of(scale).ndim == 1 else 1


def _spread_blocks(v: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """A scale for each block of so many numbers along an axis, as one for each number."""
    shape, wanted = type_of(v).shape, type_of(x).shape
    size, blocks = wanted[axis], shape[axis] if len(shape) == len(wanted) else None
    if not isinstance(size, int) or blocks != -(-size // block):
        raise ModelFormatError(f"blocks of {block} along axis {axis} of {type_of(x)} do not fit a scale {type_of(v)}")
    wide = (*shape[: axis + 1], block, *shape[axis + 1 :])
    flat = (*shape[:axis], blocks * block, *shape[axis + 1 :])
    each = reshape(broadcast_to(expand_dims(v, axis + 1), wide), flat)
    stops = [size if i == axis else None for i in range(len(flat))]
    return slice(each, [None] * len(flat), stops, [None] * len(flat)) if blocks * block > size else each


def _parameters(node: Any, x: Tensor, scale: Tensor, zero: Tensor) -> tuple[Tensor, Tensor, int]:
    """Scale, zero point and axis of an ONNX node, as `quantize` takes them."""
    ndim, block = type_of(x).ndim, node.get("block_size", 0)
    if block < 0:
        raise ModelFormatError(f"block_size is {block}; it must not be negative")
    if type_of(scale).shape == (1,):  # older files write one number as a vector
        scale, zero = reshape(scale, ()), reshape(zero, ())
    axis = normal_axis(node.get("axis", 1), ndim) if type_of(scale).ndim else 1
    if block:
        scale, zero = (_spread_blocks(v, x, axis, block) for v in (scale, zero))
    return scale, zero, axis


def _no_shift(node: Any, scale: Tensor, dtype: Any) -> Array:
    """The zero points of a node that has none."""
    type = type_of(scale).with_dtype(dtype)
    node.afford(type.nbytes)
    return np.zeros(type.dims, dtype)


@from_onnx("QuantizeLinear")
def _quantize(node: Any, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    asked = node.dtype("output_dtype", np.uint8) if node.get("output_dtype", 0) else np.dtype(np.uint8)
    if zero is None:
        zero = _no_shift(node, scale, asked)
    precision = node.dtype("precision", np.float32) if node.get("precision", 0) else type_of(scale).dtype
    dtype = precision if precision.kind == "f" else np.dtype(np.float32)  # the scale of int32 may be int32
    scale, zero, axis = _parameters(node, x, cast(scale, dtype), zero)
    return quantize(x, scale, zero, axis)


@from_onnx("DequantizeLinear")
def _dequantize(node: Any, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    if zero is None:
        zero = _no_shift(node, scale, type_of(x).dtype)
    scale, zero, axis = _parameters(node, x, scale, zero)
    y = dequantize(x, scale, zero, axis)
    return cast(y, node.dtype("output_dtype")) if node.get("output_dtype", 0) else y


@from_onnx("DynamicQuantizeLinear")
def _dynamic_quantize(node: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The range of x, which 0 always belongs to, is that of uint8."""
    low, high = neg(maximum(max(neg(x)), 0)), maximum(max(x), 0)
    spread = sub(high, low)
    scale = where(compare(spread, 0, "=="), 1, spread / 255)  # zeros alone have no range
    zero = quantize(neg(low), scale, np.zeros((), np.uint8))
    return quantize(x, scale, zero), scale, zero
