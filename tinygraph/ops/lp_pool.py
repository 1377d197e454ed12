"""The p-norm of each window."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Symbol, TensorType
from tinygraph.ops.arithmetic import compare, where
from tinygraph.ops.base import Exporter, Tensor, Types, apply, floating, from_onnx, register, type_of
from tinygraph.ops.pool import Pool, attributes, attributes_from_onnx, onnx_attributes, summing
from tinygraph.ops.pool_average import AvgPoolGrad
from tinygraph.ops.power import pow
from tinygraph.ops.sign import abs, sign

__all__ = ["global_lp_pool", "lp_pool"]


@register
class LpPool(Pool):
    """y[n, c, o] = (sum over taps t of |x[n, c, o stride + t dilation - front]|^p)^(1/p); padding counts as 0.

    Attributes:
        p: a whole number, 1 or more. The derivative where all taps of a window are 0 is 0.
    """

    name = "lp_pool"
    onnx = ("LpPool", "GlobalLpPool")
    arity = (1, 1)
    p: int = 2

    def infer(self, x: TensorType) -> TensorType:
        floating(x)
        if self.p < 1:
            raise ShapeError(f"p must be 1 or more, got {self.p}")
        return self.pooled(x)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """Per window: |x|^p of each tap (p = 1 or 2: 1, else 5), additions, and a root (p = 1: 0, 2: 1, else 4)."""
        tap, root = {1: (1, 0), 2: (1, 1)}.get(self.p, (5, 4))
        return (self.taps * (tap + 1) - 1 + root) * outputs[0].size

    def kernel(self, x: Array) -> Array:
        counts = self.pooled(TensorType.of(x)).dims[2:]
        frame = self.frame(np.abs(x.astype(summing(x.dtype), copy=False)) ** self.p, counts, 0.0)
        y = np.zeros((*x.shape[:2], *counts), frame.dtype)
        for region in self.regions(counts):
            y += frame[region]
        root: Array = (y if self.p == 1 else np.sqrt(y) if self.p == 2 else y ** (1 / self.p)).astype(x.dtype)
        return root

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (x,), (y,), (g,) = inputs, outputs, cotangents
        if self.p == 1:
            return [self._scattered(g, x) * sign(x)]
        zero = compare(y, 0, "==")
        share = where(zero, 0, g / pow(where(zero, 1, y), self.p - 1))
        slope = x if self.p == 2 else pow(abs(x), self.p - 1) * sign(x)
        return [self._scattered(share, x) * slope]

    def _scattered(self, g: Tensor, x: Tensor) -> Tensor:
        """Each window's g, added to all of its taps: the transpose of summing windows."""
        sizes = x.shape[2:]
        if any(isinstance(size, Symbol) for size in sizes):
            raise ShapeError(f"the gradient of lp_pool wants spatial sizes that have numbers, got {x.type}; bind them")
        mean = AvgPoolGrad(**self.attributes, size=sizes)
        return apply(mean, g * mean.divisors(sizes, g.shape[2:], x.dtype))

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        if self.extents == types[0].shape[2:] == self.kernel_size and not any(map(any, self.padding)):
            return export.node("GlobalLpPool", inputs, p=self.p)
        return export.node("LpPool", inputs, **onnx_attributes(self, types[0]), p=self.p)


def lp_pool(
    x: Tensor,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    p: int = 2,
) -> Tensor:
    """The p-norm of each window: the p-th root of the sum of |x|^p; padding counts as 0.

    Args:
        x: [N, C, *spatial], floating.
        kernel: size of the window: one number, or one per spatial axis.
        stride: the same; by default the windows lie side by side.
        padding: zeros around x, in any form that max_pool takes.
        dilation: distance of the taps of a window.
        ceil_mode: let the last window hang over the end, unless it would start in the padding.
        p: a whole number, 1 or more.

    Returns:
        [N, C, *windows] of x's dtype.

    Raises:
        ShapeError: the windows do not fit, or p is below 1.

    Source: ONNX LpPool; Sermanet, Chintala and LeCun 2012.
    """
    return apply(LpPool(**attributes(type_of(x), kernel, stride, padding, dilation, ceil_mode), p=int(p)), x)


def global_lp_pool(x: Tensor, p: int = 2) -> Tensor:
    """The p-norm of each channel: [N, C, *spatial] -> [N, C, 1, ...]. Source: ONNX GlobalLpPool."""
    sizes = type_of(x).shape[2:]
    if any(isinstance(size, Symbol) for size in sizes):
        raise ShapeError(f"global_lp_pool wants spatial sizes that have numbers, got {type_of(x)}; bind them first")
    return lp_pool(x, sizes, p=p)


@from_onnx("LpPool")
def _lp_pool(node: Any, x: Tensor) -> Tensor:
    return apply(LpPool(**attributes_from_onnx(node, type_of(x)), p=node.get("p", 2)), x)


@from_onnx("GlobalLpPool")
def _global_lp_pool(node: Any, x: Tensor) -> Tensor:
    return global_lp_pool(x, node.get("p", 2))
