"""Normalization of each sample by itself: layer, group and instance normalization. The batch plays no part."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError, UnsupportedOp
from tinygraph.ir import Array, Shape, Symbol, TensorType
from tinygraph.kernels.group_norm import GroupNormByRows
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
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
from tinygraph.ops.elementwise import cast, sqrt
from tinygraph.ops.norm import all_but_channels, check_channels, narrowed, widened
from tinygraph.ops.reduce import mean, sum
from tinygraph.ops.shape import broadcast_to, expand_dims, reshape

__all__ = ["group_norm", "instance_norm", "layer_norm"]


class SampleNorm(Op):
    """y = (x - mean) / sqrt(var + eps) * gamma + beta, where numbers of one sample share a mean and a variance."""

    arity = (3, 3)
    macs = no_macs
    eps: float

    def sets(self, shape: Shape) -> tuple[Shape, int]:
        """Another shape for x, and its first axis of those along which numbers share a mean."""
        raise NotImplementedError

    def repeated(self, ndim: int) -> tuple[int, ...]:
        """The axes of x along which gamma and beta are repeated."""
        raise NotImplementedError

    def spread(self, vector: Tensor, shape: Shape) -> Tensor:
        """Gamma or beta so that it broadcasts over x."""
        repeated = self.repeated(len(shape))
        return vector.reshape(tuple(1 if axis in repeated else d for axis, d in enumerate(shape)))

    def flops(self, inputs: Types, outputs: Types) -> int:
        """7 per element (two means, centre, square, normalize, scale, shift) and 3 per mean (1 / sqrt(var + eps))."""
        shape, first = self.sets(inputs[0].dims)
        return 7 * inputs[0].size + 3 * inputs[0].with_shape(shape[:first]).size

    def kernel(self, *inputs: Array) -> Array:
        x, gamma, beta = map(widened, inputs)
        shape, first = self.sets(x.shape)
        axes = tuple(range(first, len(shape)))
        sets = x.reshape(shape)  # type: ignore[arg-type]  # the dimensions of an array are numbers
        centred = sets - sets.mean(axes, keepdims=True)
        var = (centred * centred).mean(axes, keepdims=True)
        normal = (centred * (1 / np.sqrt(var + self.eps))).reshape(x.shape)
        (y,) = narrowed(inputs[0].dtype, normal * self.spread(gamma, x.shape) + self.spread(beta, x.shape))
        return y

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        x = types[0]
        if not x.size or x.dtype == np.float16:
            return None
        kernel = GroupNormByRows(*self.rows(x.dims), x.dtype, self.eps, workers)
        return Prepared(kernel.run, 0, "rows")

    def rows(self, dims: tuple[int, ...]) -> tuple[int, int, int, int]:
        """The dimensions of x as [samples, groups, channels of a group, size of a channel]."""
        raise NotImplementedError

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (x, gamma, _), (g,) = inputs, cotangents
        shape, first = self.sets(x.shape)
        axes = range(first, len(shape))
        sets, through = reshape(x, shape), reshape(g * self.spread(gamma, x.shape), shape)
        centred = sets - mean(sets, axes, keepdims=True)
        inverse = 1 / sqrt(mean(centred * centred, axes, keepdims=True) + self.eps)
        normal = centred * inverse
        level, slope = mean(through, axes, keepdims=True), mean(through * normal, axes, keepdims=True)
        dx = (through - level - normal * slope) * inverse
        repeated = self.repeated(x.ndim)
        return [reshape(dx, x.shape), sum(g * reshape(normal, x.shape), repeated), sum(g, repeated)]


@register
class LayerNorm(SampleNorm):
    """y = (x - mean) / sqrt(var + eps) * gamma + beta, with mean and variance over the axes from `axis` on.

    Inputs: x, and gamma and beta of the shape of these axes.
    """

    name = "layer_norm"
    onnx = ("LayerNormalization",)
    axis: int
    eps: float = 1e-5

    def infer(self, x: TensorType, gamma: TensorType, beta: TensorType) -> TensorType:
        floating(x, gamma, beta)
        if not 0 <= self.axis < x.ndim:
            raise ShapeError(f"the axes from {self.axis} on are none of {x.ndim} dimensions")
        last = x.shape[self.axis :]
        if 0 in last:
            raise ShapeError(f"there is nothing to average in {x}")
        for vector in (gamma, beta):
            if vector.shape != last:
                wanted = ",".join(map(str, last))
                raise ShapeError(f"{vector} does not fit the last dimensions of {x}; want [{wanted}]")
        return x

    def sets(self, shape: Shape) -> tuple[Shape, int]:
        return shape, self.axis

    def repeated(self, ndim: int) -> tuple[int, ...]:
        return tuple(range(self.axis))

    def rows(self, dims: tuple[int, ...]) -> tuple[int, int, int, int]:
        return prod(dims[: self.axis]), 1, prod(dims[self.axis :]), 1

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("LayerNormalization", inputs, axis=self.axis, epsilon=self.eps)


@register
class GroupNorm(SampleNorm):
    """y = (x - mean) / sqrt(var + eps) * gamma + beta, with mean and variance of each group of channels.

    Inputs: x [N, C, *], gamma and beta [C]. As many groups as channels are instance normalization.
    """

    name = "group_norm"
    onnx = ("InstanceNormalization", "Reshape", "Mul", "Add")
    groups: int
    eps: float = 1e-5

    def infer(self, x: TensorType, gamma: TensorType, beta: TensorType) -> TensorType:
        check_channels(x, gamma, beta)
        channels = x.shape[1]
        if isinstance(channels, Symbol):
            raise ShapeError(f"the number of channels of {x} must be known: bind {channels} first")
        if self.groups < 1 or channels % self.groups:
            raise ShapeError(f"{channels} channels do not fall into {self.groups} groups")
        if 0 in x.shape[1:]:
            raise ShapeError(f"there is nothing to average in {x}")
        return x

    def sets(self, shape: Shape) -> tuple[Shape, int]:
        batch, channels, *sizes = shape
        return (batch, self.groups, int(channels) // self.groups, *sizes), 2

    def repeated(self, ndim: int) -> tuple[int, ...]:
        return all_but_channels(ndim)

    def rows(self, dims: tuple[int, ...]) -> tuple[int, int, int, int]:
        return dims[0], self.groups, dims[1] // self.groups, prod(dims[2:])

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        """Opset 20 has group normalization only with a scale for each group; that of instances goes by channels."""
        x, gamma, beta = inputs
        shape = types[0].shape
        if self.groups == shape[1] and len(shape) > 2:
            return export.node("InstanceNormalization", inputs, epsilon=self.eps)
        opened = next((d for d in shape[1:] if isinstance(d, Symbol)), None)
        if opened:
            raise UnsupportedOp(f"ONNX cannot normalize groups of the open dimension {opened}: bind it first")
        ones = np.ones(self.groups, types[0].dtype)
        sets = export.node("Reshape", [x, export.const(np.array([0, self.groups, -1], np.int64))])
        normal = export.node(
            "InstanceNormalization", [sets, export.const(ones), export.const(0 * ones)], epsilon=self.eps
        )
        back = export.node("Reshape", [normal, export.const(np.array([0, *shape[1:]], np.int64))])
        vector = export.const(np.array([-1, *(1 for _ in shape[2:])], np.int64))
        scaled = export.node("Mul", [back, export.node("Reshape", [gamma, vector])])
        return export.node("Add", [scaled, export.node("Reshape", [beta, vector])])


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Normalizes each sample over its last axes: (x - mean) / sqrt(var + eps) * gamma + beta.

    Args:
        x: floating.
        gamma: scale, of x's dtype; its shape says over which axes: that of x from some axis on.
        beta: shift, the same.
        eps: added to the variance.

    Returns:
        Of x's shape and dtype.

    Raises:
        ShapeError: gamma and beta do not have the last dimensions of x, or dtypes differ.

    Source: Ba, Kiros and Hinton 2016; ONNX LayerNormalization.
    """
    return apply(LayerNorm(type_of(x).ndim - type_of(gamma).ndim, float(eps)), x, gamma, beta)


def group_norm(x: Tensor, groups: int, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Normalizes each group of channels of each sample: (x - mean) / sqrt(var + eps) * gamma + beta.

    Args:
        x: [N, C, *], floating.
        groups: into how many of equal size the channels fall, in their order.
        gamma: scale, [C], of x's dtype.
        beta: shift, the same.
        eps: added to the variance.

    Returns:
        Of x's shape and dtype.

    Raises:
        ShapeError: a vector does not fit the channels, groups do not divide them, or dtypes differ.

    Source: Wu and He 2018; ONNX GroupNormalization.
    """
    return apply(GroupNorm(int(groups), float(eps)), x, gamma, beta)


def instance_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Normalizes each channel of each sample: group_norm with as many groups as channels.

    Raises:
        ShapeError: a channel of a sample has a single value, or see group_norm.

    Source: Ulyanov, Vedaldi and Lempitsky 2016; ONNX InstanceNormalization.
    """
    type, groups = type_of(x), type_of(gamma).size
    if all(d == 1 for d in type.shape[2:]):
        raise ShapeError(f"instance_norm wants more than one value per channel of a sample, got {type}")
    return group_norm(x, groups, gamma, beta, eps)


@from_onnx("LayerNormalization")
def _layer_norm(node: Any, x: Tensor, scale: Tensor, shift: Tensor | None = None) -> tuple[Tensor | None, ...]:
    type, eps = type_of(x), node.get("epsilon", 1e-5)
    first = normal_axis(node.get("axis", -1), type.ndim)
    last = type.shape[first:]
    shift = np.zeros((), type.dtype) if shift is None else shift
    if max(type_of(scale).ndim, type_of(shift).ndim) <= len(last):
        gamma, beta = (v if type_of(v).shape == last else broadcast_to(v, last) for v in (scale, shift))
        y = layer_norm(x, gamma, beta, eps)
    else:  # a scale of its own for each sample
        sizes = TensorType(last).dims
        node.afford(2 * TensorType(last, type.dtype).nbytes)
        y = layer_norm(x, np.ones(sizes, type.dtype), np.zeros(sizes, type.dtype), eps) * scale + shift
    if not (node.used(1) or node.used(2)):
        return y, None, None
    wide = cast(x, np.result_type(type.dtype, np.float32))
    axes = range(first, type.ndim)
    centre = mean(wide, axes, keepdims=True)
    centred = wide - centre
    inverse = 1 / sqrt(mean(centred * centred, axes, keepdims=True) + eps)
    return y, cast(centre, np.float32), cast(inverse, np.float32)  # ONNX has no wider ones


@from_onnx("MeanVarianceNormalization")
def _mean_variance_norm(node: Any, x: Tensor) -> Tensor:
    axes = sorted(normal_axis(axis, type_of(x).ndim) for axis in node.get("axes", (0, 2, 3)))
    centred = x - mean(x, axes, keepdims=True)
    return centred / (sqrt(mean(centred * centred, axes, keepdims=True)) + 1e-9)  # the standard's own number


@from_onnx("InstanceNormalization")
def _instance_norm(node: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return group_norm(x, type_of(scale).size, scale, shift, node.get("epsilon", 1e-5))


@from_onnx("GroupNormalization")
def _group_norm(node: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    groups, (_, channels, *_) = node.get("num_groups"), type_of(x).shape
    if node.opset < 21:  # one number for a group, not for a channel
        spread = groups, channels // groups
        scale, shift = (reshape(broadcast_to(expand_dims(v, 1), spread), channels) for v in (scale, shift))
    return group_norm(x, groups, scale, shift, node.get("epsilon", 1e-5))
