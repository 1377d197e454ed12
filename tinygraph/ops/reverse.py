"""Sequences of a batch read backwards, each up to its own length."""

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
    from_onnx,
    no_flops,
    no_macs,
    register,
)

__all__ = ["reverse_sequence"]


@register
class ReverseSequence(Op):
    """The first lengths[b] entries of sample b in the opposite order, the rest as it is."""

    name = "reverse_sequence"
    onnx = ("ReverseSequence",)
    arity = (2, 2)
    traits = frozenset({"linear"})
    macs = no_macs
    flops = no_flops
    time_axis: int = 0
    batch_axis: int = 1

    def infer(self, x: TensorType, lengths: TensorType) -> TensorType:
        if x.ndim < 2 or sorted((self.time_axis, self.batch_axis)) != [0, 1]:
            raise ShapeError(f"wants time and batch on the first two axes, got {self.time_axis} and {self.batch_axis}")
        if lengths.dtype != np.int64 or lengths.shape != (x.shape[self.batch_axis],):
            raise ShapeError(f"wants a length i64[{x.shape[self.batch_axis]}] for each sample")
        return x

    def kernel(self, x: Array, lengths: Array) -> Array:
        steps = x.shape[self.time_axis]
        wrong = lengths[(lengths < 0) | (lengths > steps)]
        if wrong.size:
            raise ShapeError(f"a length of {wrong[0]} does not fit {steps} steps")
        time = np.arange(steps)[:, None]
        source = np.where(time < lengths, lengths - 1 - time, time)
        samples = np.arange(len(lengths))
        if self.time_axis == 0:
            return x[source, samples]
        return x[samples[:, None], source.T]

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [apply(self, cotangents[0], inputs[1]), None]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("ReverseSequence", inputs, time_axis=self.time_axis, batch_axis=self.batch_axis)


def reverse_sequence(x: Tensor, lengths: Tensor, time_axis: int = 0, batch_axis: int = 1) -> Tensor:
    """Reverses the beginning of each sequence.

    Args:
        x: [time, batch, *] or [batch, time, *], any dtype.
        lengths: int64 [batch]: how much of each sequence is reversed.
        time_axis: 0 or 1.
        batch_axis: the other one.

    Raises:
        ShapeError: other axes or lengths; a length that x does not have, when it is computed.

    Source: ONNX ReverseSequence.
    """
    return apply(ReverseSequence(int(time_axis), int(batch_axis)), x, lengths)


@from_onnx("ReverseSequence")
def _reverse_sequence(node: Any, x: Tensor, lengths: Tensor) -> Tensor:
    return reverse_sequence(x, lengths, node.get("time_axis", 0), node.get("batch_axis", 1))
