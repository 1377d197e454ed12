"""Rows of ops/norm.py: batch normalization in inference and in training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.ops.counted import Counted
from tests.ops.harness import Array, Case, Input, N, fixed, positive, real, sqrt
from tinygraph.ops.norm import BatchNorm, BatchNormTrain, BatchNormTrainGrad


def centred(x: Any, mean: float) -> Any:
    """X - mean, uncounted: the mean goes into the shift, x scale + (beta - mean scale), but less exactly."""
    return x.function(lambda number: number - mean, 0) if isinstance(x, Counted) else x - mean


def batch_norm(op: BatchNorm, x: Array, gamma: Array, beta: Array, mean: Array, var: Array) -> Array:
    y = np.empty(x.shape, x.dtype)
    for i in np.ndindex(x.shape):
        c = i[1]
        scale = float(gamma[c]) / math.sqrt(float(var[c]) + op.eps)
        y[i] = centred(x[i], float(mean[c])) * scale + float(beta[c])
    return y


def batch_norm_train(op: BatchNormTrain, x: Array, gamma: Array, beta: Array) -> tuple[Array, Array, Array]:
    y = np.empty(x.shape, x.dtype)
    mean, var = np.empty(gamma.shape, gamma.dtype), np.empty(gamma.shape, gamma.dtype)
    for c in range(x.shape[1]):
        places = [i for i in np.ndindex(x.shape) if i[1] == c]
        mean[c] = average([x[i] for i in places])
        deviations = {i: x[i] - mean[c] for i in places}
        var[c] = average([d * d for d in deviations.values()])
        scale = gamma[c] / sqrt(var[c] + op.eps)
        for i, d in deviations.items():
            y[i] = d * scale + beta[c]
    return y, mean, var


def batch_norm_train_grad(
    op: BatchNormTrainGrad, x: Array, gamma: Array, mean: Array, var: Array, gy: Array
) -> tuple[Array, Array, Array]:
    dx = np.empty(x.shape, x.dtype)
    dgamma, dbeta = np.empty(gamma.shape, gamma.dtype), np.empty(gamma.shape, gamma.dtype)
    for c in range(x.shape[1]):
        places = [i for i in np.ndindex(x.shape) if i[1] == c]
        inverse = 1 / sqrt(var[c] + op.eps)
        deviations = {i: x[i] - mean[c] for i in places}
        moment = total([gy[i] * d for i, d in deviations.items()])
        dgamma[c], dbeta[c] = moment * inverse, total([gy[i] for i in places])
        slope, level, scale = moment * inverse * inverse / len(places), dbeta[c] / len(places), gamma[c] * inverse
        for i, d in deviations.items():
            dx[i] = (gy[i] - level - d * slope) * scale
    return dx, dgamma, dbeta


def total(numbers: list[float]) -> float:
    result = numbers[0]
    for number in numbers[1:]:
        result = result + number
    return result


def average(numbers: list[float]) -> float:
    return total(numbers) / len(numbers)


def statistics(channels: int) -> list[Input]:
    """gamma, beta, mean and var."""
    return [real(channels), real(channels), real(channels), positive(channels)]


CASES = [
    Case(BatchNorm(), [real(N, 3, 2, 2), *statistics(3)], batch_norm, "images"),
    Case(BatchNorm(eps=1e-3), [real(2, 4), *statistics(4)], batch_norm, "vectors"),
    Case(BatchNorm(), [real(1, 2, 2, 3, 2), *statistics(2)], batch_norm, "volumes"),
    Case(
        BatchNorm(eps=1e-12),
        [
            fixed(1000 + np.arange(8).reshape(2, 2, 2) / 8192),
            positive(2),
            real(2),
            fixed([1000.0, 1000.0]),
            fixed([1e-12, 1e-12]),
        ],
        batch_norm,
        "mean far above the deviation",
        smooth=False,
    ),
    Case(BatchNormTrain(), [real(N, 3, 2, 2), real(3), real(3)], batch_norm_train, "images"),
    Case(BatchNormTrain(), [real(1, 2, 3), real(2), real(2)], batch_norm_train, "a batch of one"),
    Case(BatchNormTrain(eps=1e-3), [real(4, 3), real(3), real(3)], batch_norm_train, "vectors"),
    Case(BatchNormTrain(), [real(2, 2, 16, 17), real(2), real(2)], batch_norm_train, "long rows"),
    Case(
        BatchNormTrainGrad(),
        [real(N, 3, 2, 2), real(3), real(3), positive(3), real(N, 3, 2, 2)],
        batch_norm_train_grad,
        "images",
    ),
    Case(
        BatchNormTrainGrad(eps=1e-3),
        [real(4, 3), real(3), real(3), positive(3), real(4, 3)],
        batch_norm_train_grad,
        "vectors",
    ),
    Case(
        BatchNormTrainGrad(),
        [real(2, 2, 16, 17), real(2), real(2), positive(2), real(2, 2, 16, 17)],
        batch_norm_train_grad,
        "long rows",
    ),
]
