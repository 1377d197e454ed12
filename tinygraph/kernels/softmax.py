"""Softmax and log-softmax along an axis, written in place."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.kernels.scratch import Array, carve, room


class Softmax:
    """y = exp(x - max) / sum(exp(x - max)) along an axis, prepared.

    Args:
        shape: of x.
        axis: the axis.
        dtype: of x.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(self, shape: Sequence[int], axis: int, dtype: np.dtype[Any]) -> None:
        self.axis, self.dtype = axis, dtype
        self.reduced = (*shape[:axis], 1, *shape[axis + 1 :])
        self.workspace = room(dtype, self.reduced)

    def run(self, x: Array, y: Array, workspace: Array) -> None:
        """Computes y."""
        (number,) = carve(workspace, self.dtype, self.reduced)
        _shift(x, self.axis, y, number)
        np.exp(y, out=y)
        np.add.reduce(y, self.axis, out=number, keepdims=True)
        np.divide(y, number, out=y)


class LogSoftmax:
    """y = x - max - log(sum(exp(x - max))) along an axis, prepared. Arguments as of Softmax."""

    def __init__(self, shape: Sequence[int], axis: int, dtype: np.dtype[Any]) -> None:
        self.axis, self.dtype = axis, dtype
        self.scratch = (*shape[:axis], 1, *shape[axis + 1 :]), tuple(shape)
        self.workspace = room(dtype, *self.scratch)

    def run(self, x: Array, y: Array, workspace: Array) -> None:
        """Computes y."""
        number, exponentials = carve(workspace, self.dtype, *self.scratch)
        _shift(x, self.axis, y, number)
        np.exp(y, out=exponentials)
        np.add.reduce(exponentials, self.axis, out=number, keepdims=True)
        np.log(number, out=number)
        np.subtract(y, number, out=y)


class CrossEntropy:
    """loss = log(sum(exp(x))) - x at a class, along axis 1 of x [N, C, *], prepared.

    Args:
        shape: of x.
        dtype: of x.

    Attributes:
        workspace: bytes of scratch memory that `run` needs.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        self.dtype, self.shape = dtype, tuple(shape)
        samples, classes, *rest = shape
        self.loss = (samples, 1, *rest)
        self.logits = LogSoftmax(shape, 1, dtype)
        self.own = room(dtype, self.shape)
        self.workspace = self.own + self.logits.workspace
        # Where the logits of class 0 stand; those of the next class are `step` further on.
        self.step = prod(rest)
        self.first = np.add.outer(np.arange(samples) * classes * self.step, np.arange(self.step)).reshape(
            samples, *rest
        )

    def run(self, x: Array, labels: Array, y: Array, workspace: Array) -> None:
        """Computes y [N, *] for labels [N, *] from 0 to C - 1."""
        (logarithms,) = carve(workspace, self.dtype, self.shape)
        self.logits.run(x, logarithms, workspace[self.own :])
        place = np.multiply(labels, self.step, dtype=np.int64)
        place += self.first
        logarithms.reshape(-1).take(place, out=y, mode="clip")  # without a mode, take makes a copy of y
        np.negative(y, out=y)


def _shift(x: Array, axis: int, y: Array, number: Array) -> None:
    """y = x - max, so that exponentials do not overflow."""
    np.maximum.reduce(x, axis, out=number, keepdims=True)
    np.subtract(x, number, out=y)
