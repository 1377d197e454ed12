"""Dropout with numbers that depend on a key and a stream only."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError, UnsupportedOp
from tinygraph.ir import Array, TensorType
from tinygraph.ops.base import Op, Tensor, apply, floating, from_onnx, no_macs, not_in_onnx, per_output, register
from tinygraph.ops.elementwise import cast
from tinygraph.ops.logic import logical_or

__all__ = ["dropout"]


@register
class Dropout(Op):
    """y[i] = x[i] / (1 - p) with probability 1 - p, else 0: the expectation is x.

    Inputs: x, and a key u64[2]. Drawing the mask is not counted.

    Attributes:
        p: probability that an element is dropped.
        stream: tells the dropouts of one graph apart.
    """

    name = "dropout"
    arity = (2, 2)
    traits = frozenset({"linear", "random"})
    macs = no_macs
    flops = per_output(1)
    to_onnx = not_in_onnx(
        "its Dropout draws masks of its own, this one's depends on a key; trace in inference mode, without dropout"
    )
    p: float
    stream: int

    def infer(self, x: TensorType, key: TensorType) -> TensorType:
        floating(x)
        if key != TensorType((2,), np.dtype(np.uint64)):
            raise ShapeError(f"the random key must be u64[2], got {key}")
        if not 0 <= self.p <= 1:
            raise ShapeError(f"the probability of dropping must be from 0 to 1, got {self.p}")
        if self.stream < 0:
            raise ShapeError(f"the stream must be a whole number >= 0, got {self.stream}")
        return x

    def kernel(self, x: Array, key: Array) -> Array:
        generator = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, self.stream]))
        keep = generator.random(x.shape, np.float32) >= self.p
        scale = x.dtype.type(1 / (1 - self.p) if self.p < 1 else 0)
        y: Array = x * (keep * scale)
        return y

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(self, cotangents[0], inputs[1]), None]


def dropout(x: Tensor, key: Tensor, p: float, stream: int) -> Tensor:
    """Zeroes elements of x at random and scales the others by 1 / (1 - p).

    The mask is drawn by the counter-based generator Philox from key and stream: the same for
    every call and every dtype of x, another one for every other key or stream.

    Args:
        x: floating.
        key: u64[2].
        p: probability that an element is dropped, 0 to 1.
        stream: a number >= 0; one for each dropout of a graph.

    Returns:
        Of x's shape and dtype.

    Raises:
        ShapeError: p is no probability, or the key is no u64[2].

    Source: Srivastava et al. 2014 (here scaled in training); Salmon et al. 2011 for Philox.
    """
    return apply(Dropout(float(p), int(stream)), x, key)


@from_onnx("Dropout")
def _dropout(node: Any, x: Tensor, ratio: Tensor = None, training: Tensor = None) -> tuple[Tensor, Tensor]:
    trained = training is not None and node.demand(2, "training_mode").any()
    if trained and (ratio is None or node.demand(1, "ratio").any()):
        raise UnsupportedOp("in training mode; export the model for inference")
    if not node.used(1):
        return x, None
    if node.opset < 10:
        raise UnsupportedOp("its mask is read, which the standard leaves open before opset 10")
    return x, logical_or(cast(x, bool), True)  # everything is kept
