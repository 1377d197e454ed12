"""The barrier: what stands behind it is not merged with what stands before it."""

from __future__ import annotations

from typing import Any

from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import Op, Tensor, apply, no_flops, no_macs, one_onnx_node, register

__all__ = ["barrier"]


@register
class Barrier(Op):
    """y = x, but no pass takes the one for the other."""

    name = "barrier"
    onnx = ("Identity",)
    to_onnx = one_onnx_node
    arity = (1, 1)
    traits = frozenset({"elementwise", "linear", "view"})
    macs = no_macs
    flops = no_flops

    def infer(self, x: TensorType) -> TensorType:
        return x

    def kernel(self, x: Array) -> Array:
        return x.view()

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0]]


def barrier(x: Tensor) -> Tensor:
    """x itself. What is computed from the result is computed again, even if it is known from x.

    Source: Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost, for what it is good for.
    """
    return apply(Barrier(), x)
