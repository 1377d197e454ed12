"""Rows of ops/cross_entropy.py."""

from __future__ import annotations

import numpy as np

from tests.ops.cases.softmax import log_softmax
from tests.ops.harness import Array, Case, N, fixed, labels, real
from tinygraph.ops.cross_entropy import CrossEntropy, Nll
from tinygraph.ops.softmax import LogSoftmax


def cross_entropy(op: CrossEntropy, x: Array, target: Array) -> Array:
    losses = np.empty(target.shape, x.dtype)
    logs = log_softmax(LogSoftmax(1), x)
    for n, *rest in np.ndindex(target.shape):
        label = target[(n, *rest)]
        if label == op.ignore_index:
            losses[(n, *rest)] = logs[(n, 0, *rest)] * 0
        else:
            losses[(n, *rest)] = -logs[(n, label, *rest)]
    return losses


def nll(op: Nll, x: Array, target: Array) -> Array:
    losses = np.empty(target.shape, x.dtype)
    for n, *rest in np.ndindex(target.shape):
        label = target[(n, *rest)]
        losses[(n, *rest)] = x[(n, 0, *rest)] * 0 if label == op.ignore_index else -x[(n, label, *rest)]
    return losses


SOME = fixed([0, 1, 2, 1, 0], numbers=False)

CASES = [
    Case(CrossEntropy(), [real(N, 5), labels(N, classes=5)], cross_entropy, "vectors"),
    Case(CrossEntropy(), [real(2, 3, 2, 2), labels(2, 2, 2, classes=3)], cross_entropy, "pixels"),
    Case(
        CrossEntropy(ignore_index=1),
        [real(5, 3), fixed([0, 1, 2, 1, 0], numbers=False)],
        cross_entropy,
        "some ignored",
    ),
    Case(
        CrossEntropy(),
        [fixed([[1e30, -1e30], [-700.0, 700.0], [3.0, 3.0]]), fixed([1, 0, -100], numbers=False)],
        cross_entropy,
        "huge",
        smooth=False,
        reference=False,
    ),
    Case(Nll(), [real(N, 5), labels(N, classes=5)], nll, "vectors"),
    Case(Nll(), [real(2, 3, 2, 2), labels(2, 2, 2, classes=3)], nll, "pixels"),
    Case(Nll(ignore_index=1), [real(5, 3), SOME], nll, "some ignored"),
]
