"""Powers, reciprocals and remainders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.arithmetic import Binary, by_ufunc, compare, where
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    alike,
    apply,
    from_onnx,
    no_macs,
    one_onnx_node,
    per_output,
    register,
)
from tinygraph.ops.elementwise import Function, by_passes, cast, log
from tinygraph.ops.shape import broadcast

__all__ = ["mod", "pow", "reciprocal"]


@register
class Pow(Op):
    """a ** b, of a's dtype. Of whole numbers the part before the point; 0 for 0 ** b with negative b."""

    name = "pow"
    onnx = ("Pow",)
    to_onnx = one_onnx_node
    arity = (2, 2)
    traits = frozenset({"elementwise"})
    macs = no_macs
    flops = per_output(4)

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        for numbers in (a, b):
            if numbers.dtype.kind not in "iuf":
                raise ShapeError(f"wants numbers, got {numbers.dtype.name}")
        return TensorType(broadcast(a.shape, b.shape), a.dtype)

    def kernel(self, a: Array, b: Array) -> Array:
        if a.dtype.kind not in "iu":
            y: Array = np.power(a, b).astype(a.dtype, copy=False)
        elif b.dtype.kind == "f":
            y = np.power(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)
        else:
            y = _whole_power(a, b)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        a, b = types
        exponent = constants[1]
        if a.dtype.kind != "f":
            return None
        if exponent is not None and exponent.size == 1 and b.ndim <= a.ndim and exponent.item() in _PRODUCTS:
            passes, scratch, name = _PRODUCTS[exponent.item()]
            return by_passes(passes, scratch, types[:1], workers, name)
        return by_ufunc(np.power, types, workers) if a.dtype == b.dtype else None

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (a, b), c = inputs, cotangents[0]
        by_exponent = None
        if b.dtype.kind == "f":
            # The logarithm of 0 meets 0 ** b = 0.
            by_exponent = cast(c * outputs[0] * log(where(compare(a, 0, "=="), 1, a)), b.dtype)
        # A constant has no slope, not even at 0, where its formula says 0 * 0 ** -1.
        below = where(compare(b, 0, "=="), 0, b - 1)
        return [c * cast(b, a.dtype) * pow(a, below), by_exponent]


def _whole_power(a: Array, b: Array) -> Array:
    """a ** b for integers, modulo their range; what negative b leave of 1 / a ** -b before the point."""
    negative = b < 0
    bits = np.power(a.astype(np.int64).astype(np.uint64), np.where(negative, 0, b).astype(np.uint64))
    inverse = np.where(np.abs(a) == 1, np.where(b % 2 == 0, a * a, a), 0)
    return np.where(negative, inverse, bits.astype(a.dtype))


def _square(x: Array, y: Array) -> None:
    np.multiply(x, x, out=y)


def _cube(x: Array, y: Array, square: Array) -> None:
    np.multiply(x, x, out=square)
    np.multiply(square, x, out=y)


_PRODUCTS: dict[float, tuple[Callable[..., None], int, str]] = {2: (_square, 0, "square"), 3: (_cube, 1, "cube")}


def pow(a: Tensor, b: Tensor) -> Tensor:
    """a raised to the power b.

    Args:
        a: numbers.
        b: numbers, also of another dtype.

    Returns:
        Of the broadcast shape and a's dtype; NaN for a negative float to a power that is not whole.

    Raises:
        ShapeError: the inputs are no numbers, or do not broadcast.

    Source: ONNX Pow.
    """
    return apply(Pow(), *alike(a, b))


@from_onnx("Pow")
def _pow(node: Any, a: Tensor, b: Tensor) -> Tensor:
    return pow(a, b)


@register
class Mod(Binary):
    """a - floor(a / b) * b, which has b's sign; or a - trunc(a / b) * b, which has a's."""

    name = "mod"
    onnx = ("Mod", "Sign", "Mul", "Less", "Add", "Where")
    traits = frozenset({"elementwise"})
    flops = per_output(1)
    fmod: bool = False

    def kernel(self, a: Array, b: Array) -> Array:
        y: Array = np.fmod(a, b) if self.fmod else np.mod(a, b)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return by_ufunc(np.fmod if self.fmod else np.mod, types, workers)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (a, b), c = inputs, cotangents[0]
        return [c, -(c * ((a - outputs[0]) / b))]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        dtype = types[0].dtype
        y = export.node("Mod", inputs, fmod=int(self.fmod or dtype.kind == "f"))
        if dtype.kind != "f" or self.fmod:
            return y
        # Mod of opset 20 gives remainders of floats the sign of a; those of the other sign are moved up to b's.
        signs = export.node("Mul", [export.node("Sign", [y]), export.node("Sign", [inputs[1]])])
        differ = export.node("Less", [signs, export.const(np.zeros((), dtype))])
        return export.node("Where", [differ, export.node("Add", [y, inputs[1]]), y])


def mod(a: Tensor, b: Tensor, fmod: bool = False) -> Tensor:
    """The remainder of a / b.

    Args:
        a: numbers.
        b: numbers of the same dtype.
        fmod: whether the result has the sign of a, as C's fmod and % have it, rather than b's, as
            Python's % has it.

    Returns:
        Of the broadcast shape and the same dtype. By 0 it is NaN, of integers 0.

    Source: ONNX Mod.
    """
    return apply(Mod(bool(fmod)), *alike(a, b))


@from_onnx("Mod")
def _mod(node: Any, a: Tensor, b: Tensor) -> Tensor:
    return mod(a, b, node.get("fmod", 0))


@register
class Reciprocal(Function):
    """1 / x."""

    name = "reciprocal"
    onnx = ("Reciprocal",)
    ufunc = np.reciprocal
    flops = per_output(1)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        y = outputs[0]
        return [-(cotangents[0] * y * y)]


def reciprocal(x: Tensor) -> Tensor:
    """1 / x, of x's shape and dtype (floating). Source: ONNX Reciprocal."""
    return apply(Reciprocal(), x)


@from_onnx("Reciprocal")
def _reciprocal(node: Any, x: Tensor) -> Tensor:
    return reciprocal(x)
