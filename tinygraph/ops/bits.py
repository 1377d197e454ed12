"""Functions of the bits of whole numbers; numbers read as others of the same bits."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from tinygraph.errors import ShapeError, UnsupportedOp
from tinygraph.ir import Array, TensorType
from tinygraph.ops.arithmetic import Binary, by_ufunc
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    alike,
    apply,
    from_onnx,
    no_flops,
    no_macs,
    not_differentiable,
    not_in_onnx,
    per_output,
    register,
    same_dtype,
)
from tinygraph.ops.elementwise import Function
from tinygraph.ops.shape import broadcast

__all__ = ["bit_cast", "bit_shift", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor"]

_no_gradient = not_differentiable("its results are whole numbers")


def _integers(*inputs: TensorType) -> TensorType:
    """The type of results for integers of one dtype: of the broadcast shape."""
    dtype = same_dtype(*inputs)
    if dtype.kind not in "iu":
        raise ShapeError(f"wants integers, got {dtype.name}")
    return TensorType(broadcast(*(t.shape for t in inputs)), dtype)


class _Bitwise(Binary):
    vjp = _no_gradient
    traits = frozenset({"elementwise", "commutative"})

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        return _integers(a, b)


@register
class BitwiseAnd(_Bitwise):
    """The bits that are set in both a and b."""

    name = "bitwise_and"
    onnx = ("BitwiseAnd",)
    ufunc = np.bitwise_and


def bitwise_and(a: Tensor, b: Tensor) -> Tensor:
    """The bits that are set in both a and b, integers of one dtype. Source: ONNX BitwiseAnd."""
    return apply(BitwiseAnd(), *alike(a, b))


@register
class BitwiseOr(_Bitwise):
    """The bits that are set in a or b or both."""

    name = "bitwise_or"
    onnx = ("BitwiseOr",)
    ufunc = np.bitwise_or


def bitwise_or(a: Tensor, b: Tensor) -> Tensor:
    """The bits that are set in a or b or both, integers of one dtype. Source: ONNX BitwiseOr."""
    return apply(BitwiseOr(), *alike(a, b))


@register
class BitwiseXor(_Bitwise):
    """The bits that are set in one of a and b only."""

    name = "bitwise_xor"
    onnx = ("BitwiseXor",)
    ufunc = np.bitwise_xor


def bitwise_xor(a: Tensor, b: Tensor) -> Tensor:
    """The bits that are set in one of a and b only, integers of one dtype. Source: ONNX BitwiseXor."""
    return apply(BitwiseXor(), *alike(a, b))


@register
class BitwiseNot(Function):
    """The bits that are not set in x."""

    name = "bitwise_not"
    onnx = ("BitwiseNot",)
    flops = per_output(1)
    vjp = _no_gradient
    ufunc = np.invert

    def infer(self, x: TensorType) -> TensorType:
        return _integers(x)


def bitwise_not(x: Tensor) -> Tensor:
    """The bits that are not set in x, of its shape and dtype (integers). Source: ONNX BitwiseNot."""
    return apply(BitwiseNot(), x)


_OPS: dict[str, Op] = {
    "BitwiseAnd": BitwiseAnd(),
    "BitwiseOr": BitwiseOr(),
    "BitwiseXor": BitwiseXor(),
    "BitwiseNot": BitwiseNot(),
}


@from_onnx(*_OPS)
def _bitwise(node: Any, *tensors: Tensor) -> Tensor:
    return apply(_OPS[node.op_type], *tensors)


Direction = Literal["left", "right"]
_SHIFTS: dict[str, np.ufunc] = {"left": np.left_shift, "right": np.right_shift}


@register
class BitShift(Binary):
    """The bits of a moved by b places; those moved out are lost, zeros (copies of the sign in a >> b) come in."""

    name = "bit_shift"
    onnx = ("BitShift",)
    traits = frozenset({"elementwise"})
    vjp = _no_gradient
    direction: Direction

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        if self.direction not in get_args(Direction):
            raise ShapeError(f"the direction must be 'left' or 'right', got {self.direction!r}")
        return _integers(a, b)

    def kernel(self, a: Array, b: Array) -> Array:
        y: Array = _SHIFTS[self.direction](a, b)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return by_ufunc(_SHIFTS[self.direction], types, workers)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        if types[0].dtype.kind != "u":
            raise UnsupportedOp("BitShift of opset 20 takes unsigned integers; cast them")
        return export.node("BitShift", inputs, direction=self.direction.upper())


def bit_shift(a: Tensor, b: Tensor, direction: Direction) -> Tensor:
    """Moves the bits of a by b places.

    Args:
        a: integers.
        b: integers of the same dtype. Where it is negative, or as large as the number of bits of a,
            the result is 0, or -1 for a negative a that moves right.
        direction: "left" or "right".

    Returns:
        Of the broadcast shape and the same dtype.

    Source: ONNX BitShift.
    """
    return apply(BitShift(direction), *alike(a, b))


@from_onnx("BitShift")
def _bit_shift(node: Any, a: Tensor, b: Tensor) -> Tensor:
    return bit_shift(a, b, node.get("direction", "").lower())


@register
class BitCast(Op):
    """The numbers that have the bits of x in another dtype."""

    name = "bit_cast"
    arity = (1, 1)
    traits = frozenset({"elementwise"})
    macs = no_macs
    flops = no_flops
    vjp = _no_gradient
    to_onnx = not_in_onnx("its BitCast is newer than the operators of opset 20 that are written")
    dtype: str

    def infer(self, x: TensorType) -> TensorType:
        y = x.with_dtype(self.dtype)
        if x.dtype.itemsize != y.dtype.itemsize:
            raise ShapeError(f"{x.dtype.name} and {self.dtype} have different numbers of bits")
        return y

    def kernel(self, x: Array) -> Array:
        y: Array = x.view(np.uint8) != 0 if self.dtype == "bool" else x.view(self.dtype)
        return y


def bit_cast(x: Tensor, dtype: Any) -> Tensor:
    """Reads the bits of x as numbers of another dtype with as many bits; as bool, every byte but 0 is true.

    Raises:
        ShapeError: no such dtype, or one with other bits.

    Source: ONNX BitCast.
    """
    try:
        name = np.dtype(dtype).name
    except TypeError:
        raise ShapeError(f"{dtype!r} is not a dtype") from None
    return apply(BitCast(name), x)


@from_onnx("BitCast")
def _bit_cast(node: Any, x: Tensor) -> Tensor:
    return bit_cast(x, node.dtype("to"))
