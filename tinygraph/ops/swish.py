"""Activations that let x through a smooth gate: swish (SiLU), mish."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinygraph.ir import Array
from tinygraph.kernels import activation
from tinygraph.ops.base import (
    Exporter,
    Prepared,
    Tensor,
    Types,
    apply,
    from_onnx,
    one_onnx_node,
    per_output,
    register,
)
from tinygraph.ops.elementwise import Unary, by_passes, sigmoid, softplus, tanh

__all__ = ["mish", "silu", "swish"]


@register
class Swish(Unary):
    """x / (1 + e ** -(alpha * x))."""

    name = "swish"
    onnx = ("Sigmoid", "Mul")
    alpha: float = 1.0

    def flops(self, inputs: Types, outputs: Types) -> int:
        """5 per output element, 6 if alpha is not 1."""
        return (5 if self.alpha == 1 else 6) * outputs[0].size

    def kernel(self, x: Array) -> Array:
        scaled = x * x.dtype.type(self.alpha)
        tail = np.exp(-np.abs(scaled))  # never overflows
        y: Array = x * (np.where(scaled < 0, tail, 1) / (1 + tail))
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return by_passes(partial(activation.swish, alpha=self.alpha), 1, types, workers, self.name)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        gate = sigmoid(inputs[0] * self.alpha)
        return [cotangents[0] * (gate + outputs[0] * (1 - gate) * self.alpha)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        alpha = np.array(self.alpha, types[0].dtype)
        scaled = inputs if self.alpha == 1 else [export.node("Mul", [*inputs, export.const(alpha)])]
        return export.node("Mul", [*inputs, export.node("Sigmoid", scaled)])


def swish(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x * sigmoid(alpha * x), of x's shape and dtype (floating).

    Source: ONNX Swish; Ramachandran, Zoph and Le 2017.
    """
    return apply(Swish(float(alpha)), x)


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x), the swish with alpha 1 under PyTorch's name. Source: Elfwing, Uchibe and Doya 2018."""
    return swish(x)


@from_onnx("Swish")
def _swish(node: Any, x: Tensor) -> Tensor:
    return swish(x, node.get("alpha", 1.0))


@register
class Mish(Unary):
    """x * tanh(log(1 + e ** x))."""

    name = "mish"
    onnx = ("Mish",)
    to_onnx = one_onnx_node
    flops = per_output(15)

    def kernel(self, x: Array) -> Array:
        y: Array = x * np.tanh(np.logaddexp(x, x.dtype.type(0)))
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return by_passes(activation.mish, 2, types, workers, self.name)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x = inputs[0]
        gate = tanh(softplus(x))
        return [cotangents[0] * (gate + x * (1 - gate * gate) * sigmoid(x))]


def mish(x: Tensor) -> Tensor:
    """x * tanh(softplus(x)), of x's shape and dtype (floating). Source: ONNX Mish; Misra 2019."""
    return apply(Mish(), x)


@from_onnx("Mish")
def _mish(node: Any, x: Tensor) -> Tensor:
    return mish(x)
