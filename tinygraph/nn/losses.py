"""Losses: what training makes small; and accuracy, what it is watched by.

Names, arguments, defaults and results are PyTorch's. All of them work on arrays and on tensors,
and an open batch is averaged over as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tinygraph import ops
from tinygraph.errors import ShapeError, UsageError
from tinygraph.ir import Symbol
from tinygraph.nn.module import Module
from tinygraph.ops.base import Tensor, alike, type_of
from tinygraph.trace import current

__all__ = [
    "accuracy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "l2_penalty",
    "mse_loss",
    "smooth_l1_loss",
]

Reduction = Literal["mean", "sum", "none"]


# ---- of classes --------------------------------------------------------------------------------


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-sum over c of weight[c] p[c] log_softmax(logits)[c], where p is what the target says of the classes.

    With label smoothing s of C classes, p becomes (1 - s) p + s / C.

    Args:
        logits: [N, C, *], floating; may be huge.
        target: labels [N, *], whole numbers below C, whose p is 1 at the label; or p itself,
            [N, C, *], of the logits' dtype.
        weight: [C]; 1 if None.
        ignore_index: a label whose samples count for nothing.
        reduction: "mean", "sum", or "none" for the losses one by one, [N, *]. The mean over
            labels is weighted by weight[label], ignored ones left out (NaN if none is left);
            the mean over distributions p is a plain one.
        label_smoothing: s, from 0 to 1.

    Raises:
        UsageError: no such reduction or smoothing; an ignore_index that could not be a label of p.
            When it runs: a label is out of range.
        ShapeError: shapes or dtypes do not fit.

    Source: Szegedy et al. 2016 for label smoothing.
    """
    classes = _classes(logits)
    if not 0 <= label_smoothing <= 1:
        raise UsageError(f"label_smoothing={label_smoothing} must be from 0 to 1")
    if weight is not None:
        _, weight = alike(logits, weight)
        if type_of(weight).shape != (classes,):
            raise ShapeError(f"weight wants a number for each of {classes} classes, got {type_of(weight)}")
    if type_of(target).dtype.kind == "f":
        if ignore_index >= 0:
            raise UsageError(f"ignore_index={ignore_index} is a label; a target of probabilities has none to ignore")
        if type_of(target).shape != type_of(logits).shape:
            given = f"{type_of(target)} for logits {type_of(logits)}"
            raise ShapeError(f"a floating target holds a probability for each logit, got {given}; cast labels to int64")
        if label_smoothing:
            target = ops.add(ops.mul(target, 1 - label_smoothing), label_smoothing / classes)
        return _reduced(_expected(logits, target, weight), reduction)

    losses = ops.cross_entropy(logits, target, ignore_index)
    labels = ops.cast(target, np.int64)  # an unsigned dtype has no -100
    kept = ops.compare(labels, ignore_index, "!=")
    if weight is None:
        shares = ops.cast(kept, type_of(losses).dtype)
    else:
        hot = ops.one_hot(ops.where(kept, labels, 0), classes, type_of(losses).dtype)
        shares = ops.where(kept, ops.sum(ops.mul(hot, weight), -1), 0)
        losses = ops.mul(losses, shares)
    if label_smoothing:
        clean = ops.where(ops.expand_dims(kept, 1), logits, 0)  # what is ignored may be NaN
        spread = ops.where(kept, _expected(clean, 1 / classes, weight), 0)
        losses = ops.add(ops.mul(losses, 1 - label_smoothing), ops.mul(spread, label_smoothing))
    return _reduced(losses, reduction, shares)


def _classes(logits: Tensor) -> int:
    type = type_of(logits)
    count = type.shape[1] if type.ndim > 1 else 0
    if isinstance(count, Symbol) or count == 0:
        raise ShapeError(f"logits are [N, C, ...] with a number of classes C, got {type}")
    return count


def _expected(logits: Tensor, p: Tensor | float, weight: Tensor | None) -> Tensor:
    """-sum over c of weight[c] p[c] log_softmax(logits)[c], [N, *]."""
    terms = ops.mul(ops.log_softmax(logits, 1), p)
    if weight is not None:
        terms = ops.mul(terms, ops.reshape(weight, (-1, *(1,) * (type_of(logits).ndim - 2))))
    return ops.neg(ops.sum(terms, 1))


def binary_cross_entropy_with_logits(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: Reduction = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-(pos_weight t log(sigmoid(x)) + (1 - t) log(1 - sigmoid(x))) of logits x and targets t.

    Value and slope are exact for logits of any size, because log(sigmoid(x)) is -softplus(-x).

    Args:
        logits: any shape, floating.
        target: of the same shape and dtype, from 0 to 1.
        weight: factors of the losses; broadcasts to them.
        reduction: "mean" over all elements, "sum", or "none" for the losses element by element.
        pos_weight: factors of the first term, as one for each class; broadcasts likewise.

    Raises:
        UsageError: no such reduction.
        ShapeError: shapes or dtypes do not fit.
    """
    _check_alike("binary_cross_entropy_with_logits", logits, target)
    positive = ops.mul(target, ops.softplus(ops.neg(logits)))
    negative = ops.mul(ops.sub(1, target), ops.softplus(logits))
    if pos_weight is not None:
        positive = ops.mul(positive, pos_weight)
    losses = ops.add(positive, negative)
    return _reduced(losses if weight is None else ops.mul(losses, weight), reduction)


# ---- of numbers --------------------------------------------------------------------------------


def mse_loss(x: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """(x - target)^2, as its mean, its sum, or ("none") element by element.

    Raises:
        UsageError: no such reduction.
        ShapeError: the shapes differ.
    """
    _check_alike("mse_loss", x, target)
    error = ops.sub(x, target)
    return _reduced(ops.mul(error, error), reduction)


def l1_loss(x: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """|x - target|, reduced as in mse_loss; its slope is 0 where they are equal."""
    _check_alike("l1_loss", x, target)
    return _reduced(ops.abs(ops.sub(x, target)), reduction)


def huber_loss(x: Tensor, target: Tensor, *, reduction: Reduction = "mean", delta: float = 1.0) -> Tensor:
    """With e = x - target: e^2 / 2 where |e| < delta, else delta (|e| - delta / 2); reduced as in mse_loss.

    Raises:
        UsageError: delta is not positive, or no such reduction.
        ShapeError: the shapes differ.

    Source: Huber 1964.
    """
    if not delta > 0:
        raise UsageError(f"delta={delta} must be positive")
    _check_alike("huber_loss", x, target)
    error = ops.sub(x, target)
    # Of one formula for both parts also the second derivative at 0 is right, and an infinite error harmless.
    near = ops.minimum(ops.maximum(error, -delta), delta)
    return _reduced(ops.mul(near, ops.sub(error, ops.mul(near, 0.5))), reduction)


def smooth_l1_loss(x: Tensor, target: Tensor, *, reduction: Reduction = "mean", beta: float = 1.0) -> Tensor:
    """With e = x - target: e^2 / (2 beta) where |e| < beta, else |e| - beta / 2; reduced as in mse_loss.

    Raises:
        UsageError: beta is negative, or no such reduction.
        ShapeError: the shapes differ.

    Source: Girshick 2015, Fast R-CNN.
    """
    if not beta >= 0:
        raise UsageError(f"beta={beta} must not be negative")
    if beta == 0:
        return l1_loss(x, target, reduction=reduction)
    return ops.div(huber_loss(x, target, reduction=reduction, delta=beta), beta)


# ---- of weights --------------------------------------------------------------------------------


def l2_penalty(weights: Module | Tensor | Sequence[Tensor]) -> Tensor:
    """The sum of the squares of all weights, which a loss adds, times a strength, to keep them small.

    It pulls each weight w by 2 strength w; SGD's weight_decay of 2 strength does the same.

    Args:
        weights: a module, for all its trainable parameters, a tied one once; or a tensor, or several.

    Returns:
        A scalar of the weights' dtype.

    Raises:
        ShapeError: there are no weights, or their dtypes differ.
    """
    if isinstance(weights, Module):
        trace, variables = current(), [v for _, v in weights.named_parameters() if v.trainable]
        tensors: list[Tensor] = [trace.variable(v) if trace else v.array() for v in variables]
    else:
        tensors = [*weights] if isinstance(weights, (list, tuple)) else [weights]
    total = ops.squared_norm(*tensors)
    return ops.cast(total, type_of(tensors[0]).dtype)


# ---- what is watched ---------------------------------------------------------------------------


def accuracy(logits: Tensor, labels: Tensor, *, ignore_index: int = -100) -> Tensor:
    """The fraction of samples whose largest logit is at the label; of equal logits the first one counts.

    Args:
        logits: [N, C, *].
        labels: [N, *], whole numbers.
        ignore_index: a label whose samples are left out.

    Returns:
        A scalar of the logits' dtype; NaN if no sample is left.

    Raises:
        ShapeError: shapes or dtypes do not fit.
    """
    scores, given = type_of(logits), type_of(labels)
    if scores.ndim < 2 or given.shape != (scores.shape[0], *scores.shape[2:]) or given.dtype.kind not in "iu":
        raise ShapeError(f"logits [N, C, ...] want whole numbers [N, ...] as labels, got {scores} and {given}")
    labels = ops.cast(labels, np.int64)
    kept = ops.compare(labels, ignore_index, "!=")
    right = ops.where(kept, ops.compare(ops.argmax(logits, 1), labels, "=="), False)
    return ops.cast(ops.div(_count(right), _count(kept)), scores.dtype)


def _count(conditions: Tensor) -> Tensor:
    """How many hold, in float64: half and single precision cannot count far."""
    return ops.sum(ops.cast(conditions, np.float64))


# ---- what they share ---------------------------------------------------------------------------


def _check_alike(who: str, x: Tensor, target: Tensor) -> None:
    if type_of(x).shape != type_of(target).shape:
        raise ShapeError(f"{who} wants two tensors of one shape, got {type_of(x)} and {type_of(target)}")


def _reduced(losses: Tensor, reduction: Reduction, shares: Tensor | None = None) -> Tensor:
    """The losses as they are asked for; `shares` are what each of them weighs in the mean."""
    if reduction == "mean":
        return ops.mean(losses) if shares is None else ops.div(ops.sum(losses), ops.sum(shares))
    if reduction == "sum":
        return ops.sum(losses)
    if reduction == "none":
        return losses
    raise UsageError(f"reduction={reduction!r}: choose 'mean', 'sum' or 'none'")
