"""Softmax, log-softmax, maxout, and the cross-entropy of logits and labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ShapeError, UnsupportedOp, UsageError
from tinygraph.ir import Array, Symbol, TensorType
from tinygraph.kernels import softmax as kernels
from tinygraph.ops.arithmetic import compare, where
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    apply,
    family,
    floating,
    from_onnx,
    no_macs,
    normal_axis,
    per_input,
    register,
    type_of,
)
from tinygraph.ops.elementwise import cast, exp
from tinygraph.ops.one_hot import one_hot
from tinygraph.ops.reduce import max, mean, sum
from tinygraph.ops.shape import expand_dims, reshape, transpose

__all__ = ["cross_entropy", "log_softmax", "maxout", "softmax"]


@family
class AlongAxis(Op):
    """A function of all the elements along one axis.

    Attributes:
        axis: counted from the front.
    """

    arity = (1, 1)
    macs = no_macs
    flops = per_input(5)
    axis: int

    def infer(self, x: TensorType) -> TensorType:
        floating(x)
        if not 0 <= self.axis < x.ndim:
            raise ShapeError(f"there is no axis {self.axis} in {x}")
        if x.shape[self.axis] == 0:
            raise ShapeError(f"axis {self.axis} of {x} is empty")
        return x


@register
class Softmax(AlongAxis):
    """y = exp(x - max) / sum(exp(x - max)) along an axis."""

    name = "softmax"
    onnx = ("Softmax",)

    def kernel(self, x: Array) -> Array:
        e: Array = np.exp(x - x.max(self.axis, keepdims=True))
        y: Array = e / e.sum(self.axis, keepdims=True)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        (x,) = types
        if not x.is_static or x.dtype not in (np.float32, np.float64):
            return None
        routine = kernels.Softmax(x.dims, self.axis, x.dtype)
        return Prepared(lambda xs, ys, memory: routine.run(xs[0], ys[0], memory), routine.workspace, "in_place")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (y,), (g,) = outputs, cotangents
        return [y * (g - sum(g * y, self.axis, keepdims=True))]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Softmax", inputs, axis=self.axis)


@register
class LogSoftmax(AlongAxis):
    """y = x - max - log(sum(exp(x - max))) along an axis."""

    name = "log_softmax"
    onnx = ("LogSoftmax",)

    def kernel(self, x: Array) -> Array:
        shifted: Array = x - x.max(self.axis, keepdims=True)
        y: Array = shifted - np.log(np.exp(shifted).sum(self.axis, keepdims=True))
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        (x,) = types
        if not x.is_static or x.dtype not in (np.float32, np.float64):
            return None
        routine = kernels.LogSoftmax(x.dims, self.axis, x.dtype)
        return Prepared(lambda xs, ys, memory: routine.run(xs[0], ys[0], memory), routine.workspace, "in_place")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (y,), (g,) = outputs, cotangents
        return [g - exp(y) * sum(g, self.axis, keepdims=True)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("LogSoftmax", inputs, axis=self.axis)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis, computed so that large numbers do no harm.

    Args:
        x: floating.
        axis: may count from the end.

    Returns:
        Of x's shape and dtype; sums to 1 along the axis.

    Raises:
        ShapeError: there is no such axis, or it is empty.

    Source: ONNX Softmax (13).
    """
    return apply(Softmax(normal_axis(axis, type_of(x).ndim)), x)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log(softmax(x)) along an axis, exact where softmax underflows. As softmax. Source: ONNX LogSoftmax (13)."""
    return apply(LogSoftmax(normal_axis(axis, type_of(x).ndim)), x)


@from_onnx("Softmax", "LogSoftmax")
def _softmax(node: Any, x: Tensor) -> Tensor:
    function = softmax if node.op_type == "Softmax" else log_softmax
    if node.opset >= 13:
        return function(x, node.get("axis", -1))
    # Before opset 13 all axes from the given one on are one.
    shape = type_of(x).shape
    axis = normal_axis(node.get("axis", 1), len(shape))
    if axis == len(shape) - 1:
        return function(x, axis)
    return reshape(function(reshape(x, (*shape[:axis], -1)), axis), shape)


def maxout(x: Tensor, pieces: int, axis: int = 1) -> Tensor:
    """The largest of each group of `pieces` adjacent channels.

    Args:
        x: floating.
        pieces: channels of a group.
        axis: where the channels are; may count from the end.

    Returns:
        As x, with 1 / pieces of the channels.

    Raises:
        ShapeError: the channels do not divide into such groups.

    Source: Goodfellow et al. 2013.
    """
    type = type_of(x)
    axis = normal_axis(axis, type.ndim)
    channels = type.shape[axis]
    if isinstance(channels, Symbol) or pieces < 1 or channels % pieces:
        raise ShapeError(f"{channels} channels do not divide into groups of {pieces}")
    groups = reshape(x, (*type.shape[:axis], channels // pieces, pieces, *type.shape[axis + 1 :]))
    return max(groups, axis + 1)


@register
class CrossEntropy(Op):
    """loss = log(sum over c of exp(x[n, c])) - x[n, label]; 0 where the label is ignored.

    Inputs: logits [N, C, *] and labels [N, *] of a whole-number dtype. Result: [N, *].

    Attributes:
        ignore_index: the label of samples that do not count.
    """

    name = "cross_entropy"
    onnx = ("SoftmaxCrossEntropyLoss",)
    arity = (2, 2)
    macs = no_macs
    ignore_index: int = -100

    def infer(self, logits: TensorType, labels: TensorType) -> TensorType:
        floating(logits)
        if labels.dtype.kind not in "iu":
            raise ShapeError(f"labels must be whole numbers, got {labels.dtype.name}; cast them to int64")
        if logits.ndim < 2 or labels.shape != (logits.shape[0], *logits.shape[2:]):
            raise ShapeError(f"logits [N, C, ...] want labels [N, ...], got {logits} and {labels}")
        if logits.shape[1] == 0:
            raise ShapeError(f"{logits} has no classes")
        return logits.with_shape(labels.shape)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """5 per logit, as log_softmax, and 1 per loss."""
        return 5 * inputs[0].size + outputs[0].size

    def kernel(self, logits: Array, labels: Array) -> Array:
        kept, places = self.places(labels, logits.shape[1])
        picked = np.take_along_axis(LogSoftmax(1).kernel(logits), np.expand_dims(places, 1), 1).squeeze(1)
        return np.where(kept, -picked, picked.dtype.type(0))

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        logits = types[0]
        if not logits.is_static or not logits.size or logits.dtype not in (np.float32, np.float64):
            return None
        routine = kernels.CrossEntropy(logits.dims, logits.dtype)

        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            kept, places = self.places(inputs[1], logits.dims[1])
            routine.run(inputs[0], places, outputs[0], workspace)
            outputs[0][~kept] = 0

        return Prepared(run, routine.workspace, "in_place")

    def places(self, labels: Array, classes: int) -> tuple[Array, Array]:
        """Which samples count, and the class of each, 0 for the others; UsageError if a label is out of range."""
        kept = labels != self.ignore_index
        wrong = kept & ((labels < 0) | (labels >= classes))
        if wrong.any():
            raise UsageError(
                f"cross_entropy got the label {labels[wrong][0]}; want 0 to {classes - 1}, "
                f"or {self.ignore_index} for samples that do not count"
            )
        return kept, np.where(kept, labels, 0).astype(np.int64)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        logits, labels = inputs
        labels = cast(labels, np.int64)  # an unsigned dtype has no -100
        kept = compare(labels, self.ignore_index, "!=")
        hot = one_hot(where(kept, labels, 0), logits.shape[1], logits.dtype)
        hot = transpose(hot, (0, logits.ndim - 1, *range(1, logits.ndim - 1)))
        slope = softmax(logits, 1) - hot
        return [where(expand_dims(kept, 1), slope * expand_dims(cotangents[0], 1), 0), None]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("SoftmaxCrossEntropyLoss", inputs, reduction="none", ignore_index=self.ignore_index)


def cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int = -100) -> Tensor:
    """The loss of each sample: -log_softmax(logits) at its label.

    Args:
        logits: [N, C, *], floating; may be huge.
        labels: [N, *], whole numbers from 0 to C - 1, or ignore_index.
        ignore_index: samples with this label have no loss and no gradient.

    Returns:
        [N, *] of the logits' dtype, not averaged.

    Raises:
        ShapeError: shapes or dtypes do not fit.
        UsageError: when it runs, a label is out of range.

    Source: ONNX SoftmaxCrossEntropyLoss with reduction "none".
    """
    return apply(CrossEntropy(int(ignore_index)), logits, labels)


@from_onnx("SoftmaxCrossEntropyLoss")
def _cross_entropy(node: Any, logits: Tensor, labels: Tensor, weights: Tensor = None) -> Any:
    if weights is not None:
        raise UnsupportedOp("with weights")
    ignore = node.get("ignore_index")
    losses = cross_entropy(logits, labels) if ignore is None else cross_entropy(logits, labels, ignore)
    reduction = node.get("reduction", "mean")
    if reduction == "sum" or (reduction == "mean" and ignore is not None):
        total = sum(losses)
        kept = sum(cast(compare(labels, ignore, "!="), type_of(logits).dtype)) if reduction == "mean" else 1
        losses = total / kept
    elif reduction == "mean":
        losses = mean(losses)
    return (losses, log_softmax(logits, 1)) if node.used(1) else losses
