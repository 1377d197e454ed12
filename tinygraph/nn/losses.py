"""Losses: what training makes small."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tinygraph import ops
from tinygraph.errors import ShapeError, UsageError
from tinygraph.ops.base import Tensor, type_of

Reduction = Literal["mean", "sum", "none"]


def cross_entropy(logits: Tensor, labels: Tensor, *, ignore_index: int = -100, reduction: Reduction = "mean") -> Tensor:
    """-log_softmax(logits) at the labels.

    Args:
        logits: [N, C, *], floating.
        labels: [N, *], whole numbers below C.
        ignore_index: a label whose samples count for nothing.
        reduction: "mean" over the samples that are not ignored (NaN if there is none), "sum",
            or "none" for the losses one by one, [N, *].

    Raises:
        UsageError: no such reduction.
        ShapeError: shapes or dtypes do not fit.
    """
    losses = ops.cross_entropy(logits, labels, ignore_index)
    if reduction != "mean":
        return _reduced(losses, reduction)
    # in int64, because an unsigned dtype has no -100
    counted = ops.compare(ops.cast(labels, np.int64), ignore_index, "!=")
    return ops.div(ops.sum(losses), ops.sum(ops.cast(counted, type_of(losses).dtype)))


def mse_loss(x: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """(x - target)^2, as its mean, its sum, or ("none") element by element.

    Raises:
        UsageError: no such reduction.
        ShapeError: the shapes differ.
    """
    if type_of(x).shape != type_of(target).shape:
        raise ShapeError(f"mse_loss wants two tensors of one shape, got {type_of(x)} and {type_of(target)}")
    error = ops.sub(x, target)
    return _reduced(ops.mul(error, error), reduction)


def _reduced(losses: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "mean":
        return ops.mean(losses)
    if reduction == "sum":
        return ops.sum(losses)
    if reduction == "none":
        return losses
    raise UsageError(f"reduction={reduction!r}: choose 'mean', 'sum' or 'none'")
