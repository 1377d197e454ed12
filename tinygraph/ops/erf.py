"""The error function."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

from tinygraph.ir import Array
from tinygraph.kernels import erf as kernel
from tinygraph.ops.base import Prepared, Tensor, Types, apply, from_onnx, one_onnx_node, per_output, register
from tinygraph.ops.elementwise import Unary, by_passes, exp

__all__ = ["erf"]


@register
class Erf(Unary):
    """2 / sqrt(pi) * integral of e ** -t² over t from 0 to x."""

    name = "erf"
    onnx = ("Erf",)
    to_onnx = one_onnx_node
    flops = per_output(4)

    def kernel(self, x: Array) -> Array:
        return kernel.erf(x)

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return by_passes(kernel.erf_into, kernel.SCRATCH, types, workers, self.name)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x = inputs[0]
        return [cotangents[0] * exp(-(x * x)) * (2 / sqrt(pi))]


def erf(x: Tensor) -> Tensor:
    """The error function, of x's shape and dtype (floating). Source: ONNX Erf; kernels/erf.py."""
    return apply(Erf(), x)


@from_onnx("Erf")
def _erf(node: Any, x: Tensor) -> Tensor:
    return erf(x)
