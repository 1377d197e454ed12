"""Rows of ops/softmax.py."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.ops.harness import Array, Case, N, distinct, exp, fixed, log, maximum, real
from tinygraph.ops.softmax import Hardmax, LogSoftmax, Softmax


def lines(x: Array, axis: int) -> Iterator[list[tuple[int, ...]]]:
    """The indices along the axis, for each place on the other axes."""
    for i in np.ndindex(*x.shape[:axis], 1, *x.shape[axis + 1 :]):
        yield [(*i[:axis], k, *i[axis + 1 :]) for k in range(x.shape[axis])]


def shifted(numbers: list[float]) -> tuple[list[float], list[float], float]:
    """The numbers less their maximum, their exponentials, and the sum of these: 4 operations a number."""
    largest = -np.inf
    for number in numbers:
        largest = maximum(largest, number)
    less = [number - largest for number in numbers]
    powers = [exp(number, 1) for number in less]
    total = 0
    for power in powers:
        total = total + power
    return less, powers, total


def softmax(op: Softmax, x: Array) -> Array:
    y = np.empty(x.shape, x.dtype)
    for line in lines(x, op.axis):
        _, powers, total = shifted([x[i] for i in line])
        for i, power in zip(line, powers, strict=True):
            y[i] = power / total
    return y


def log_softmax(op: LogSoftmax, x: Array) -> Array:
    y = np.empty(x.shape, x.dtype)
    for line in lines(x, op.axis):
        less, _, total = shifted([x[i] for i in line])
        for i, number in zip(line, less, strict=True):
            y[i] = number - log(total, 0)
    return y


def hardmax(op: Hardmax, x: Array) -> Array:
    y = np.zeros(x.shape, x.dtype)
    for line in lines(x, op.axis):
        best = line[0]
        for i in line[1:]:
            best = i if x[i] > x[best] else best
        y[best] = 1.0
    return y


HUGE = fixed([[1e30, -1e30, 0.0], [-1e30, -1e30, -1e30], [500.0, 501.0, -500.0], [np.inf, 0.0, 1.0]])

CASES = [
    Case(Softmax(1), [real(N, 5)], softmax, "vectors"),
    Case(Softmax(1), [real(N, 3, 2, 2)], softmax, "channels"),
    Case(Softmax(0), [real(4)], softmax, "one line"),
    Case(Softmax(1), [HUGE], softmax, "huge", smooth=False),
    Case(LogSoftmax(1), [real(N, 5)], log_softmax, "vectors"),
    Case(LogSoftmax(0), [real(3, 2, 2)], log_softmax, "first axis"),
    # onnx.reference takes the logarithm of softmax, which has underflowed
    Case(LogSoftmax(1), [HUGE], log_softmax, "huge", smooth=False, reference=False),
    Case(Hardmax(1), [distinct(N, 5)], hardmax, "vectors"),
    Case(Hardmax(1), [real(N, 3, 2, 2)], hardmax, "channels"),
    Case(Hardmax(0), [fixed([1.0, 3.0, 3.0, 2.0])], hardmax, "ties", smooth=False),
]
