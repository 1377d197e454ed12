"""The cross-entropy of logits and labels, and the negative log-likelihood it is made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, ShapeError, UsageError
from tinygraph.ir import Array, TensorType
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
    per_output,
    register,
    type_of,
)
from tinygraph.ops.elementwise import cast
from tinygraph.ops.one_hot import one_hot
from tinygraph.ops.reduce import mean, sum
from tinygraph.ops.shape import broadcast_to, expand_dims, reshape
from tinygraph.ops.softmax import LogSoftmax, log_softmax, softmax

__all__ = ["cross_entropy", "nll"]


@family
class Labelled(Op):
    """A loss [N, *] of numbers x [N, C, *] and labels [N, *]; 0 where the label is ignored.

    Attributes:
        ignore_index: the label of samples that do not count.
    """

    arity = (2, 2)
    macs = no_macs
    ignore_index: int = -100

    def infer(self, x: TensorType, labels: TensorType) -> TensorType:
        floating(x)
        if labels.dtype.kind not in "iu":
            raise ShapeError(f"labels must be whole numbers, got {labels.dtype.name}; cast them to int64")
        if x.ndim < 2 or labels.shape != (x.shape[0], *x.shape[2:]):
            raise ShapeError(f"logits [N, C, ...] want labels [N, ...], got {x} and {labels}")
        if x.shape[1] == 0:
            raise ShapeError(f"{x} has no classes")
        return x.with_shape(labels.shape)

    def places(self, labels: Array, classes: int) -> tuple[Array, Array]:
        """Which samples count, and the class of each, 0 for the others; UsageError if a label is out of range."""
        kept = labels != self.ignore_index
        wrong = kept & ((labels < 0) | (labels >= classes))
        if wrong.any():
            raise UsageError(
                f"{self.name} got the label {labels[wrong][0]}; want 0 to {classes - 1}, "
                f"or {self.ignore_index} for samples that do not count"
            )
        return kept, np.where(kept, labels, 0).astype(np.int64)

    def marked(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Which samples count, [N, *], and a 1 at the label of each, [N, C, *]."""
        labels = cast(labels, np.int64)  # an unsigned dtype has no -100
        kept = compare(labels, self.ignore_index, "!=")
        return kept, one_hot(where(kept, labels, 0), x.shape[1], x.dtype, axis=1)


@register
class CrossEntropy(Labelled):
    """loss = log(sum over c of exp(x[n, c])) - x[n, label]; 0 where the label is ignored.

    Inputs: logits [N, C, *] and labels [N, *] of a whole-number dtype. Result: [N, *].

    Attributes:
        ignore_index: the label of samples that do not count.
    """

    name = "cross_entropy"
    onnx = ("SoftmaxCrossEntropyLoss",)

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

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        kept, hot = self.marked(*inputs)
        slope = softmax(inputs[0], 1) - hot
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


@register
class Nll(Labelled):
    """loss = -x[n, label]; 0 where the label is ignored.

    Inputs: x [N, C, *], such as log-probabilities, and labels [N, *] of a whole-number dtype. Result: [N, *].

    Attributes:
        ignore_index: the label of samples that do not count.
    """

    name = "nll"
    onnx = ("NegativeLogLikelihoodLoss",)
    flops = per_output(1)

    def kernel(self, x: Array, labels: Array) -> Array:
        kept, places = self.places(labels, x.shape[1])
        picked = np.take_along_axis(x, np.expand_dims(places, 1), 1).squeeze(1)
        return np.where(kept, -picked, picked.dtype.type(0))

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x, labels = inputs
        kept, hot = self.marked(x, labels)
        return [where(expand_dims(kept, 1), -(hot * expand_dims(cotangents[0], 1)), 0), None]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("NegativeLogLikelihoodLoss", inputs, reduction="none", ignore_index=self.ignore_index)


def nll(x: Tensor, labels: Tensor, ignore_index: int = -100) -> Tensor:
    """The negative log-likelihood of each sample: -x at its label.

    Args:
        x: [N, C, *], floating: log-probabilities.
        labels: [N, *], whole numbers from 0 to C - 1, or ignore_index.
        ignore_index: samples with this label have no loss and no gradient.

    Returns:
        [N, *] of x's dtype, not averaged.

    Raises:
        ShapeError: shapes or dtypes do not fit.
        UsageError: when it runs, a label is out of range.

    Source: ONNX NegativeLogLikelihoodLoss with reduction "none".
    """
    return apply(Nll(int(ignore_index)), x, labels)


def _reduced(node: Any, losses: Tensor, x: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The losses weighted by class and reduced; a mean divides by the weights of the samples that count."""
    reduction, ignore = node.get("reduction", "mean"), node.get("ignore_index")
    if reduction not in ("none", "sum", "mean"):
        raise ModelFormatError(f"there is no reduction {reduction!r}; want none, sum or mean")
    shares = None
    if weights is not None:
        of_classes = reshape(weights, (1, -1, *(1,) * (type_of(x).ndim - 2)))
        shares = _loss(Nll, node, broadcast_to(-of_classes, type_of(x).shape), labels)
        losses = losses * shares
    elif ignore is not None:
        shares = cast(compare(labels, ignore, "!="), type_of(x).dtype)
    if reduction == "none":
        return losses
    if reduction == "mean" and shares is None:
        return mean(losses)
    total = sum(losses)
    return total / sum(shares) if reduction == "mean" else total


def _loss(op: type[Labelled], node: Any, x: Tensor, labels: Tensor) -> Tensor:
    ignore = node.get("ignore_index")
    return apply(op() if ignore is None else op(ignore), x, labels)


@from_onnx("NegativeLogLikelihoodLoss")
def _nll(node: Any, x: Tensor, labels: Tensor, weights: Tensor = None) -> Tensor:
    return _reduced(node, _loss(Nll, node, x, labels), x, labels, weights)


@from_onnx("SoftmaxCrossEntropyLoss")
def _cross_entropy(node: Any, logits: Tensor, labels: Tensor, weights: Tensor = None) -> Any:
    if not node.used(1):
        return _reduced(node, _loss(CrossEntropy, node, logits, labels), logits, labels, weights)
    logs = log_softmax(logits, 1)
    return _reduced(node, _loss(Nll, node, logs, labels), logits, labels, weights), logs
