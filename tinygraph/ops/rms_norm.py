"""Normalization by the root of the mean square, without a mean that is taken off."""

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
    no_macs,
    normal_axis,
    register,
    type_of,
)
from tinygraph.ops.elementwise import sqrt
from tinygraph.ops.norm import narrowed, widened
from tinygraph.ops.reduce import mean, sum
from tinygraph.ops.shape import broadcast_to

__all__ = ["rms_norm"]


@register
class RmsNorm(Op):
    """y = x / sqrt(mean(x^2) + eps) * gamma, with the mean over the axes from `axis` on.

    Inputs: x, and gamma of the shape of these axes.
    """

    name = "rms_norm"
    onnx = ("Cast", "Mul", "ReduceMean", "Add", "Sqrt", "Div")
    arity = (2, 2)
    macs = no_macs
    axis: int
    eps: float = 1e-5

    def infer(self, x: TensorType, gamma: TensorType) -> TensorType:
        floating(x, gamma)
        if not 0 <= self.axis < x.ndim:
            raise ShapeError(f"the axes from {self.axis} on are none of {x.ndim} dimensions")
        last = x.shape[self.axis :]
        if 0 in last:
            raise ShapeError(f"there is nothing to average in {x}")
        if gamma.shape != last:
            raise ShapeError(f"{gamma} does not fit the last dimensions of {x}; want [{','.join(map(str, last))}]")
        return x

    def axes(self, ndim: int) -> tuple[int, ...]:
        """The axes that share a mean."""
        return tuple(range(self.axis, ndim))

    def flops(self, inputs: Types, outputs: Types) -> int:
        """4 per element (square, mean, normalize, scale) and 3 per mean (1 / sqrt(mean + eps))."""
        x = inputs[0]
        return 4 * x.size + 3 * x.with_shape(x.shape[: self.axis]).size

    def kernel(self, *inputs: Array) -> Array:
        x, gamma = map(widened, inputs)
        inverse = 1 / np.sqrt((x * x).mean(self.axes(x.ndim), keepdims=True) + self.eps)
        (y,) = narrowed(inputs[0].dtype, x * inverse * gamma)
        return y

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (x, gamma), (g,) = inputs, cotangents
        axes = self.axes(x.ndim)
        inverse = 1 / sqrt(mean(x * x, axes, keepdims=True) + self.eps)
        normal, through = x * inverse, g * gamma
        dx = (through - normal * mean(through * normal, axes, keepdims=True)) * inverse
        return [dx, sum(g * normal, range(self.axis))]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        """Opset 20 has no such operator. Half precision computes in single, as the kernel does."""
        x, gamma = inputs
        dtype, wide = types[0].dtype, np.result_type(types[0].dtype, np.float32)
        if dtype != wide:
            x, gamma = (export.node("Cast", [v], to=wide) for v in inputs)
        axes = export.const(np.array(self.axes(types[0].ndim), np.int64))
        square = export.node("ReduceMean", [export.node("Mul", [x, x]), axes])
        root = export.node("Sqrt", [export.node("Add", [square, export.const(np.array(self.eps, wide))])])
        y = export.node("Mul", [export.node("Div", [x, root]), gamma])
        return y if dtype == wide else export.node("Cast", [y], to=dtype)


def rms_norm(x: Tensor, gamma: Tensor, eps: float = 1e-5) -> Tensor:
    """Divides each sample by the root of its mean square over the last axes: x / sqrt(mean(x^2) + eps) * gamma.

    Args:
        x: floating.
        gamma: scale, of x's dtype; its shape says over which axes: that of x from some axis on.
        eps: added to the mean square.

    Returns:
        Of x's shape and dtype.

    Raises:
        ShapeError: gamma does not have the last dimensions of x, or dtypes differ.

    Source: Zhang and Sennrich 2019; ONNX RMSNormalization.
    """
    return apply(RmsNorm(type_of(x).ndim - type_of(gamma).ndim, float(eps)), x, gamma)


@from_onnx("RMSNormalization")
def _rms_norm(node: Any, x: Tensor, scale: Tensor) -> Tensor:
    shape, eps = type_of(x).shape, node.get("epsilon", 1e-5)
    last = shape[normal_axis(node.get("axis", -1), len(shape)) :]
    if type_of(scale).ndim <= len(last):
        return rms_norm(x, scale if type_of(scale).shape == last else broadcast_to(scale, last), eps)
    node.afford(TensorType(last, type_of(x).dtype).nbytes)
    ones = np.ones(TensorType(last).dims, type_of(x).dtype)  # a scale of its own for each sample
    return rms_norm(x, ones, eps) * scale
