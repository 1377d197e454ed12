"""Rows of ops/lrn.py: local response normalization, and the sum over neighbouring channels in its gradient."""

from __future__ import annotations

import numpy as np

from tests.ops.cases.pool import like
from tests.ops.harness import Array, Case, N, real
from tinygraph.ops.lrn import ChannelSum, Lrn


def window_sum(terms: list[float]) -> float:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def channel_sum(op: ChannelSum, x: Array) -> Array:
    y = np.empty(x.shape, x.dtype)
    for n, c, *rest in np.ndindex(x.shape):
        channels = range(c - op.below, c + op.above + 1)
        y[(n, c, *rest)] = window_sum([x[(n, d, *rest)] if 0 <= d < x.shape[1] else like(x, 0.0) for d in channels])
    return y


def lrn(op: Lrn, x: Array) -> Array:
    y = np.empty(x.shape, x.dtype)
    squares = np.empty(x.shape, x.dtype)
    for i in np.ndindex(x.shape):
        squares[i] = x[i] * x[i]
    factor = {"size": op.alpha / op.size, "one": op.alpha}[op.alpha_over]
    for n, c, *rest in np.ndindex(x.shape):
        channels = range(c - (op.size - 1) // 2, c + -(-(op.size - 1) // 2) + 1)
        terms = [squares[(n, d, *rest)] if 0 <= d < x.shape[1] else like(x, 0.0) for d in channels]
        y[(n, c, *rest)] = x[(n, c, *rest)] / (op.k + factor * window_sum(terms)) ** op.beta
    return y


# onnx.reference goes over as many channels as the batch has images: here these are equal, or it is not asked.
CASES = [
    Case(Lrn(5, alpha=0.3), [real(7, 7, 2, 1)], lrn, "Caffe's"),
    Case(Lrn(5, alpha=0.1, beta=0.75, k=2.0, alpha_over="one"), [real(6, 6, 1, 2)], lrn, "the paper's"),
    Case(Lrn(4, alpha=0.5, beta=0.6), [real(5, 5, 1, 2)], lrn, "even window"),
    Case(Lrn(3, alpha=0.5), [real(N, 4, 2, 2)], lrn, "open batch", reference=False),
    Case(Lrn(9, alpha=0.5), [real(2, 3)], lrn, "more than all channels", reference=False),
    Case(Lrn(1, alpha=2.0, beta=1.0), [real(2, 3, 2)], lrn, "one channel", reference=False),
    Case(ChannelSum(2, 2), [real(N, 4, 2)], channel_sum, "odd"),
    Case(ChannelSum(1, 2), [real(2, 5)], channel_sum, "even"),
    Case(ChannelSum(4, 3), [real(2, 3, 1)], channel_sum, "more than all channels"),
]
