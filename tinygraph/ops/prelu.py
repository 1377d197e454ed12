"""The rectifier with a slope that is trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.arithmetic import compare, mul, where
from tinygraph.ops.base import (
    Exporter,
    Op,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    no_macs,
    per_output,
    register,
    type_of,
)
from tinygraph.ops.reduce import sum
from tinygraph.ops.shape import broadcast, reshape

__all__ = ["prelu"]


@register
class PRelu(Op):
    """x where x >= 0, else weight * x, with one weight for each channel (axis 1) or one for all."""

    name = "prelu"
    onnx = ("PRelu", "Reshape")
    arity = (2, 2)
    macs = no_macs
    flops = per_output(3)

    def infer(self, x: TensorType, weight: TensorType) -> TensorType:
        floating(x, weight)
        if not x.ndim:
            raise ShapeError("wants x of at least one dimension")
        channels = x.shape[1] if x.ndim > 1 else 1
        count = weight.shape[:1]
        if count not in ((1,), (channels,)) or weight.shape not in (count, count + _behind_channels(x.ndim)):
            raise ShapeError(f"wants a weight of shape [1] or [{channels}]")
        return x

    def kernel(self, x: Array, weight: Array) -> Array:
        return np.where(x >= 0, x, x * weight.reshape(-1, *_behind_channels(x.ndim)))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (x, weight), c = inputs, cotangents[0]
        positive = compare(x, 0, ">")
        by_weight = where(positive, 0, c * x)
        per_channel = weight.shape[0] != 1
        axes = [axis for axis in range(x.ndim) if axis != 1 or not per_channel]
        slope = reshape(weight, (weight.shape[0], *_behind_channels(x.ndim)))
        return [where(positive, c, c * slope), reshape(sum(by_weight, axes), weight.shape)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        x, weight = types
        shape = (*weight.shape[:1], *_behind_channels(x.ndim))
        if weight.shape in ((1,), shape):
            return export.node("PRelu", inputs)
        wide = export.node("Reshape", [inputs[1], export.const(np.array(shape, np.int64))])
        return export.node("PRelu", [inputs[0], wide])


def _behind_channels(ndim: int) -> tuple[int, ...]:
    """The axes of size 1 behind its first with which a weight meets axis 1."""
    return (1,) * (ndim - 2)


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """Keeps positive x, multiplies the rest by a trained weight.

    Args:
        x: [N, C, *], floating.
        weight: [C], or [1] for all channels; of x's dtype. As in ONNX it may have an axis of
            size 1 for each of x's axes behind the channels.

    Source: ONNX PRelu; He et al. 2015.
    """
    return apply(PRelu(), x, weight)


@from_onnx("PRelu")
def _prelu(node: Any, x: Tensor, slope: Tensor) -> Tensor:
    numbers, shape = type_of(x), type_of(slope).shape
    if broadcast(numbers.shape, shape) != numbers.shape:
        raise ShapeError(f"the slope [{','.join(map(str, shape))}] does not broadcast to x, {numbers}")
    by_channel = 0 < len(shape) == numbers.ndim - 1 and shape[1:] == _behind_channels(numbers.ndim)
    if numbers.dtype.kind == "f" and numbers.ndim and (shape == (1,) or by_channel):
        return prelu(x, slope)
    return where(compare(x, 0, ">="), x, mul(x, slope))
