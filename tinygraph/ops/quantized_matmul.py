"""Matrix products of small whole numbers: exact, or scaled back to small whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError, UnsupportedOp
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    not_differentiable,
    one_onnx_node,
    register,
    type_of,
)
from tinygraph.ops.matmul import MatMul
from tinygraph.ops.quantize import rounded
from tinygraph.ops.shape import reshape

__all__ = ["matmul_integer", "qlinear_matmul"]

SMALL = (np.dtype(np.int8), np.dtype(np.uint8))


def small(what: str, x: TensorType, zero: TensorType) -> None:
    """ShapeError unless x is of int8 or uint8, and its zero point too."""
    if x.dtype not in SMALL:
        raise ShapeError(f"{what} must be int8 or uint8, got {x.dtype.name}")
    if zero.dtype != x.dtype:
        raise ShapeError(f"{what} is {x.dtype.name} and its zero point {zero.dtype.name}; they must be alike")


def distance(x: Array, zero: Array) -> Array:
    """x - zero in float64: products of such numbers, and sums of 10^11 of them, are exact."""
    return x.astype(np.float64) - zero


def wrapped(y: Array) -> Array:
    """Exact whole numbers as int32, which wraps around as the additions would."""
    return y.astype(np.int64).astype(np.int32)


def single(*scales: Array) -> list[Array]:
    """Scales in the precision that ONNX's quantized operators compute in."""
    return [s.astype(np.float32) for s in scales]


def single_onnx(export: Exporter, inputs: Sequence[str], types: Types) -> list[str]:
    """The inputs, the scales cast to float32: the kernel computes in it, and opset 20 has no others."""
    single = np.dtype(np.float32)
    return [
        v if type.dtype.kind != "f" or type.dtype == single else export.node("Cast", [v], to=single)
        for v, type in zip(inputs, types, strict=True)
    ]


class IntegerProduct(Op):
    """What the exact product and the scaled one share."""

    vjp = not_differentiable("whole numbers have no gradient")

    def product(self, a: TensorType, a_zero: TensorType, b: TensorType, b_zero: TensorType) -> TensorType:
        """The type of the exact product; ShapeError if anything does not fit."""
        small("a", a, a_zero)
        small("b", b, b_zero)
        y = MatMul().infer(a.with_dtype(np.float32), b.with_dtype(np.float32)).with_dtype(np.int32)
        check_spread("the zero point of a", a_zero, a, -2)
        check_spread("the zero point of b", b_zero, b, -1)
        return y

    def macs(self, inputs: Types, outputs: Types) -> int:
        """a.shape[-1] per output element."""
        return outputs[0].size * inputs[0].dims[-1]


def check_spread(what: str, v: TensorType, x: TensorType, axis: int) -> None:
    """ShapeError unless v is one number, or one for each row (axis -2) or column (axis -1) of the matrices x."""
    each = tuple(d if i in (x.ndim + axis, *range(x.ndim - 2)) else 1 for i, d in enumerate(x.shape))
    vector = x.shape[axis:][:1] if x.ndim == 2 or axis == -1 else ()
    if v.shape not in ((), vector, each):
        raise ShapeError(f"{what} is {v}; want one number, or [{','.join(map(str, vector or each))}]")


def rows(v: Array) -> Array:
    """What belongs to rows so that it broadcasts over the matrices; what belongs to columns does so by itself."""
    return v[:, None] if v.ndim == 1 else v


@register
class MatMulInteger(IntegerProduct):
    """y = (a - a_zero) (b - b_zero), exactly, in int32.

    Inputs: a [..., m, k], b [..., k, n], int8 or uint8; a_zero, one number, [m] of one matrix, or [..., m, 1];
    b_zero, one, [n], or [..., 1, n].
    """

    name = "matmul_integer"
    onnx = ("MatMulInteger",)
    to_onnx = one_onnx_node
    arity = (4, 4)

    def infer(self, a: TensorType, b: TensorType, a_zero: TensorType, b_zero: TensorType) -> TensorType:
        return self.product(a, a_zero, b, b_zero)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 macs, and 1 per element of a and b for the zero points."""
        return 2 * self.macs(inputs, outputs) + inputs[0].size + inputs[1].size

    def kernel(self, a: Array, b: Array, a_zero: Array, b_zero: Array) -> Array:
        return wrapped(distance(a, rows(a_zero)) @ distance(b, b_zero))


@register
class QLinearMatMul(IntegerProduct):
    """y = saturate(round((a - a_zero) (b - b_zero) (a_scale b_scale / y_scale)) + y_zero), half to even.

    Inputs: a [..., m, k], a_scale, a_zero, b [..., k, n], b_scale, b_zero, y_scale, y_zero; what belongs to a
    or y is one number, [m] of one matrix, or [..., m, 1]; what belongs to b is one, [n], or [..., 1, n]. The
    product is exact, the scales meet in float32.
    """

    name = "qlinear_matmul"
    onnx = ("QLinearMatMul", "Cast")
    arity = (8, 8)

    def infer(self, *types: TensorType) -> TensorType:
        a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = types
        y = self.product(a, a_zero, b, b_zero)
        floating(a_scale, b_scale, y_scale)
        for scale, zero, what in ((a_scale, a_zero, "a"), (b_scale, b_zero, "b"), (y_scale, y_zero, "y")):
            if scale.shape != zero.shape:
                raise ShapeError(f"the scale of {what} is {scale} and its zero point {zero}; want one shape")
        check_spread("the scale of y", y_scale, y, -2)
        small("y", y.with_dtype(y_zero.dtype), y_zero)
        return y.with_dtype(y_zero.dtype)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 macs, 1 per element of a and b (zero points), 5 per output element (scale, round, zero point, 2 bounds)."""
        return 2 * self.macs(inputs, outputs) + inputs[0].size + inputs[3].size + 5 * outputs[0].size

    def kernel(self, *inputs: Array) -> Array:
        a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = inputs
        product = wrapped(distance(a, rows(a_zero)) @ distance(b, b_zero))
        sa, sb, sy = single(rows(a_scale), b_scale, rows(y_scale))
        return rounded(product.astype(np.float32) * (sa * sb / sy), rows(y_zero))

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("QLinearMatMul", single_onnx(export, inputs, types))


def matmul_integer(a: Tensor, b: Tensor, a_zero: Tensor, b_zero: Tensor) -> Tensor:
    """The exact product of quantized matrices, before it is scaled: (a - a_zero) (b - b_zero).

    Args:
        a: [..., m, k], int8 or uint8.
        b: [..., k, n], int8 or uint8.
        a_zero: what stands for 0 in a, of a's dtype: one number, [m] of one matrix, or [..., m, 1].
        b_zero: likewise: one number, [n], or [..., 1, n].

    Returns:
        [..., m, n], int32.

    Raises:
        ShapeError: shapes or dtypes do not fit together.

    Source: ONNX MatMulInteger.
    """
    return apply(MatMulInteger(), a, b, a_zero, b_zero)


def qlinear_matmul(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
) -> Tensor:
    """The product of quantized matrices, quantized again.

    y = saturate(round((a - a_zero) (b - b_zero) (a_scale b_scale / y_scale)) + y_zero).

    Args:
        a: [..., m, k], int8 or uint8.
        a_scale: what one step of a stands for: one number, [m] of one matrix, or [..., m, 1]; floating.
        a_zero: what stands for 0 in a, of a's dtype and a_scale's shape.
        b: [..., k, n], int8 or uint8.
        b_scale: that of b: one number, [n], or [..., 1, n].
        b_zero: that of b.
        y_scale: that of the result, in the forms of a_scale.
        y_zero: that of the result, whose dtype it says: int8 or uint8.

    Returns:
        [..., m, n], of y_zero's dtype.

    Raises:
        ShapeError: shapes or dtypes do not fit together.

    Source: ONNX QLinearMatMul; Jacob et al. 2018.
    """
    return apply(QLinearMatMul(), a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)


def _number(v: Tensor) -> Tensor:
    """A scale or zero point; older files write one number as a vector."""
    return reshape(v, ()) if type_of(v).shape == (1,) else v


def _matrices(a: Tensor, b: Tensor) -> None:
    for x in (a, b):
        if type_of(x).ndim < 2:
            raise UnsupportedOp(f"a vector, {type_of(x)}, instead of a matrix; make it one with Unsqueeze")


@from_onnx("MatMulInteger")
def _matmul_integer(
    node: Any, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    _matrices(a, b)
    a_zero = np.zeros((), type_of(a).dtype) if a_zero is None else _number(a_zero)
    b_zero = np.zeros((), type_of(b).dtype) if b_zero is None else _number(b_zero)
    return matmul_integer(a, b, a_zero, b_zero)


@from_onnx("QLinearMatMul")
def _qlinear_matmul(node: Any, *tensors: Tensor) -> Tensor:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = tensors
    _matrices(a, b)
    a_scale, a_zero, b_scale, b_zero = map(_number, (a_scale, a_zero, b_scale, b_zero))
    return qlinear_matmul(a, a_scale, a_zero, b, b_scale, b_zero, _number(y_scale), _number(y_zero))
