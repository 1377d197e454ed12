"""Reading an array between its numbers, for gradients: taps of points with their weights, and sums over taps.

T(x, w, g) = sum over n, c, p, k of g[n, c, p] w[n, p, k] x[n, c, index[n, p, k]] is linear in each of
its three arguments. The three sums over taps are its derivatives by g, x and w, so that the gradient of
each of them is made of the other two.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.kernels import sampling
from tinygraph.ops.base import (
    CALL,
    Op,
    Types,
    apply,
    floating,
    gradient_not_in_onnx,
    no_macs,
    not_differentiable,
    not_in_onnx,
    register,
)
from tinygraph.ops.index import concat
from tinygraph.ops.reduce import sum

__all__: list[str] = []

_NO_SUCH_OPERATOR = "ONNX has no such operator; save the graph before differentiating it"


def check_modes(mode: str, padding: str) -> None:
    """Raises ShapeError unless both are known."""
    for value, known in ((mode, tuple(sampling.FILTERS)), (padding, sampling.PADDINGS)):
        if value not in known:
            raise ShapeError(f"does not know {value!r}; give one of {', '.join(known)}")


@register
class TapIndex(Op):
    """Where the taps of points lie in an array as one row; -1 for nothing. [..., axes] -> i64[..., taps].

    Attributes:
        size: of the array's axes.
        mode: "nearest", "linear" or "cubic".
        padding: "zeros", "border" or "reflection".
        align_corners: reflection is at the first and the last number; else half a step beyond them.
    """

    name = "tap_index"
    arity = (1, 1)
    macs = no_macs
    vjp = not_differentiable("places are whole numbers")
    to_onnx = not_in_onnx(_NO_SUCH_OPERATOR)
    size: tuple[int, ...]
    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = False

    def infer(self, at: TensorType) -> TensorType:
        return _taps_of(self, at).with_dtype(np.int64)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """0: where to read."""
        return 0

    def kernel(self, at: Array) -> Array:
        return sampling.taps(at, self.size, self.mode, self.padding, self.align_corners)[0]


@register
class TapWeight(Op):
    """The weights of the taps of points: products of polynomials along each axis. [..., axes] -> [..., taps].

    Attributes:
        size, mode, padding, align_corners: see TapIndex.
        orders: how many times the weights are differentiated along each axis.
    """

    name = "tap_weight"
    arity = (1, 1)
    macs = no_macs
    to_onnx = not_in_onnx(_NO_SUCH_OPERATOR)
    size: tuple[int, ...]
    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = False
    orders: tuple[int, ...] = ()

    def infer(self, at: TensorType) -> TensorType:
        if len(self.orders) not in (0, len(self.size)):
            raise ShapeError(f"orders {self.orders} do not fit the axes {self.size}")
        return _taps_of(self, at)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """0: weights are prepared, as those of resize are."""
        return 0

    def kernel(self, at: Array) -> Array:
        return sampling.taps(at, self.size, self.mode, self.padding, self.align_corners, self.orders)[1]

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        orders = self.orders or (0,) * len(self.size)
        slopes = []
        for axis in range(len(orders)):
            raised = tuple(order + (i == axis) for i, order in enumerate(orders))
            slope = apply(TapWeight(self.size, self.mode, self.padding, self.align_corners, raised), inputs[0])
            slopes.append(sum(cotangents[0] * slope, -1, keepdims=True))
        return [concat(slopes, -1)]


def _taps_of(op: TapIndex | TapWeight, at: TensorType) -> TensorType:
    check_modes(op.mode, op.padding)
    floating(at)
    if not at.ndim or at.shape[-1] != len(op.size) or min(op.size, default=0) < 1:
        raise ShapeError(f"wants points [..., {len(op.size)}] in an array of {op.size}, got {at}")
    return at.with_shape((*at.shape[:-1], len(sampling.FILTERS[op.mode][1]) ** len(op.size)))


class OverTaps(Op):
    """A sum over the taps of T(x, w, g)."""

    arity = (3, 3)
    macs = no_macs
    to_onnx = gradient_not_in_onnx

    def work(self, inputs: Types, outputs: Types) -> int:
        """The kernels go from sample to sample, and from tap to tap."""
        index = inputs[2] if inputs[2].dtype.kind == "i" else inputs[1]
        return super().work(inputs, outputs) + CALL * index.dims[0] * (1 + index.dims[2])


@register
class TapSum(OverTaps):
    """y[n, c, p] = sum over k of w[n, p, k] x[n, c, index[n, p, k]]; where the index is -1, x is 0.

    Inputs: x [N, C, S], index i64[N, P, K], w [N, P, K].
    """

    name = "tap_sum"

    def infer(self, x: TensorType, index: TensorType, w: TensorType) -> TensorType:
        _check_taps(x, index, w)
        return x.with_shape((*x.shape[:2], index.shape[1]))

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 taps - 1 per output element."""
        return (2 * inputs[1].dims[2] - 1) * outputs[0].size

    def kernel(self, x: Array, index: Array, w: Array) -> Array:
        return sampling.tap_sum(x, index, w)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (x, index, w), (c,) = inputs, cotangents
        return [apply(TapScatter(x.shape[2]), c, index, w), None, apply(TapProducts(), x, c, index)]


@register
class TapScatter(OverTaps):
    """x[n, c, s] = sum of w[n, p, k] g[n, c, p] where index[n, p, k] = s: the gradient of tap_sum by x.

    Inputs: g [N, C, P], index i64[N, P, K], w [N, P, K].

    Attributes:
        size: of the result's last axis.
    """

    name = "tap_scatter"
    size: int

    def infer(self, g: TensorType, index: TensorType, w: TensorType) -> TensorType:
        _check_taps(g, index, w)
        if g.shape[2] != index.shape[1]:
            raise ShapeError("wants a number for each point")
        return g.with_shape((*g.shape[:2], self.size))

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 per tap of each element of g, those that are nothing counted."""
        return 2 * inputs[1].dims[2] * inputs[0].size

    def kernel(self, g: Array, index: Array, w: Array) -> Array:
        return sampling.tap_scatter(g, index, w, self.size)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (g, index, w), (c,) = inputs, cotangents
        return [apply(TapSum(), c, index, w), None, apply(TapProducts(), c, g, index)]


@register
class TapProducts(OverTaps):
    """w[n, p, k] = sum over c of g[n, c, p] x[n, c, index[n, p, k]]: the gradient of tap_sum by w.

    Inputs: x [N, C, S], g [N, C, P], index i64[N, P, K].
    """

    name = "tap_products"

    def infer(self, x: TensorType, g: TensorType, index: TensorType) -> TensorType:
        w = index.with_dtype(x.dtype)
        _check_taps(x, index, w)
        if floating(x, g) and g.shape != (*x.shape[:2], index.shape[1]):
            raise ShapeError("wants a number for each channel and point")
        return w

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 channels - 1 per output element."""
        return (2 * inputs[0].dims[1] - 1) * outputs[0].size

    def kernel(self, x: Array, g: Array, index: Array) -> Array:
        return sampling.tap_products(x, g, index)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (x, g, index), (c,) = inputs, cotangents
        return [apply(TapScatter(x.shape[2]), g, index, c), apply(TapSum(), x, index, c), None]


def _check_taps(array: TensorType, index: TensorType, w: TensorType) -> None:
    floating(array, w)
    if array.ndim != 3 or index.ndim != 3 or index.dtype != np.int64 or index.shape != w.shape:
        raise ShapeError("wants an array [N, C, *], and indices i64 and weights [N, points, taps]")
    if array.shape[0] != index.shape[0]:
        raise ShapeError(f"batches differ: {array.shape[0]} and {index.shape[0]}")
