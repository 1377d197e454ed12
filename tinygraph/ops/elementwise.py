"""Elementwise functions of one tensor: activations, exp, log, sqrt, neg, cast."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    no_flops,
    no_macs,
    per_output,
    register,
)

__all__ = ["cast", "exp", "relu"]


class Unary(Op):
    """y[i] = f(x[i]) for floating x."""

    arity = (1, 1)
    traits = frozenset({"elementwise"})
    macs = no_macs

    def infer(self, x: TensorType) -> TensorType:
        floating(x)
        return x


@register
class Relu(Unary):
    """max(x, 0). Its derivative at 0 is 0."""

    name = "relu"
    flops = per_output(1)

    def kernel(self, x: Array) -> Array:
        return np.maximum(x, x.dtype.type(0))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        from tinygraph.ops import compare, where

        return [where(compare(inputs[0], 0, ">"), cotangents[0], 0)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Relu", inputs)


def relu(x: Tensor) -> Tensor:
    """max(x, 0), of x's shape and dtype (floating).

    Source: ONNX Relu; Nair and Hinton 2010.
    """
    return apply(Relu(), x)


@from_onnx("Relu")
def _relu(node: Any, x: Tensor) -> Tensor:
    return relu(x)


@register
class Exp(Unary):
    """e ** x."""

    name = "exp"
    flops = per_output(4)

    def kernel(self, x: Array) -> Array:
        return np.exp(x)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0] * outputs[0]]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Exp", inputs)


def exp(x: Tensor) -> Tensor:
    """e to the power of x, of x's shape and dtype (floating). Source: ONNX Exp."""
    return apply(Exp(), x)


@from_onnx("Exp")
def _exp(node: Any, x: Tensor) -> Tensor:
    return exp(x)


@register
class Cast(Op):
    """x in another dtype, as NumPy's astype does it."""

    name = "cast"
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    dtype: str

    def infer(self, x: TensorType) -> TensorType:
        return x.with_dtype(self.dtype)

    def kernel(self, x: Array) -> Array:
        return x.astype(self.dtype)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x = inputs[0].dtype
        return [cast(cotangents[0], x) if x.kind == "f" and np.dtype(self.dtype).kind == "f" else None]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Cast", inputs, to=np.dtype(self.dtype))


def cast(x: Tensor, dtype: Any) -> Tensor:
    """x as another dtype; x itself if it has that dtype already.

    Raises:
        ShapeError: no such dtype.
    """
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        raise ShapeError(f"{dtype!r} is not a dtype") from None
    return x if x.dtype == dtype else apply(Cast(dtype.name), x)


@from_onnx("Cast")
def _cast(node: Any, x: Tensor) -> Tensor:
    return cast(x, node.dtype("to"))
