"""Rows of ops/gather.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.ops.harness import Array, Case, N, booleans, fixed, integers, labels, real
from tinygraph.ops.gather import Gather, GatherElements, GatherElementsGrad, GatherGrad, GatherNd, GatherNdGrad

Pairs = Iterator[tuple[tuple[int, ...], tuple[int, ...]]]


def at_axis(op: Any, shape: tuple[int, ...], indices: Array) -> Pairs:
    """Pairs of a place in what is taken and the place that it is taken from."""
    axis = op.axis % len(shape)
    for before in np.ndindex(shape[:axis]):
        for k in np.ndindex(indices.shape):
            for behind in np.ndindex(shape[axis + 1 :]):
                yield (*before, *k, *behind), (*before, indices[k] % shape[axis], *behind)


def along_axis(op: Any, shape: tuple[int, ...], indices: Array) -> Pairs:
    axis = op.axis % len(shape)
    for i in np.ndindex(indices.shape):
        yield i, (*i[:axis], indices[i] % shape[axis], *i[axis + 1 :])


def at_tuples(op: Any, shape: tuple[int, ...], indices: Array) -> Pairs:
    batch = getattr(op, "batch_dims", 0)
    for i in np.ndindex(indices.shape[:-1]):
        first = (*i[:batch], *(int(n) % d for n, d in zip(indices[i], shape[batch:], strict=False)))
        for behind in np.ndindex(shape[len(first) :]):
            yield (*i, *behind), (*first, *behind)


def taking(pairs: Callable[..., Pairs]) -> Callable[..., Array]:
    def naive(op: Any, x: Array, indices: Array) -> Array:
        found = dict(pairs(op, x.shape, indices))
        y = np.empty([1 + max(i) for i in zip(*found, strict=True)] if found else 0, x.dtype)
        for target, source in found.items():
            y[target] = x[source]
        return y

    return naive


def adding(pairs: Callable[..., Pairs]) -> Callable[..., Array]:
    def naive(op: Any, g: Array, indices: Array) -> Array:
        x = np.zeros(op.shape, g.dtype)
        for source, target in pairs(op, op.shape, indices):
            x[target] = x[target] + g[source]
        return x

    return naive


TWICE = fixed([[0, 2], [-1, 2]], numbers=False)
APART = fixed([[[0, 0], [1, 2]], [[2, 3], [0, 1]]], numbers=False)
PAIRS = fixed([[[0, 1], [2, -1]], [[2, 3], [-3, 0]]], numbers=False)

CASES = [
    Case(Gather(1), [real(N, 3, 4), TWICE], taking(at_axis)),
    Case(Gather(0), [real(5, 2), labels(N, classes=5)], taking(at_axis), "rows"),
    Case(Gather(-1), [real(N, 3), labels(4, 2, classes=3)], taking(at_axis), "last axis"),
    Case(Gather(1), [real(N, 3, 2), fixed(-2, numbers=False)], taking(at_axis), "one index"),
    Case(Gather(0), [booleans(4), fixed(np.array([3, 0], np.int32), numbers=False)], taking(at_axis), "booleans"),
    Case(Gather(0), [integers(4), fixed(np.zeros(0, np.int64), numbers=False)], taking(at_axis), "no index"),
    Case(GatherGrad(1, (N, 3, 4)), [real(N, 2, 2, 4), TWICE], adding(at_axis)),
    Case(GatherGrad(0, (5, 2)), [real(N, 2), labels(N, classes=5)], adding(at_axis), "rows"),
    Case(GatherGrad(1, (N, 3, 2)), [real(N, 2), fixed(-2, numbers=False)], adding(at_axis), "one index"),
    Case(GatherElements(1), [real(N, 4), labels(N, 6, classes=4)], taking(along_axis)),
    Case(GatherElements(-2), [real(3, 4), TWICE], taking(along_axis), "fewer columns", reference=False),
    Case(GatherElements(1), [integers(2, 3), TWICE], taking(along_axis), "integers"),
    Case(GatherElementsGrad(1, (N, 4)), [real(N, 6), labels(N, 6, classes=4)], adding(along_axis)),
    Case(GatherElementsGrad(0, (3, 4)), [real(2, 2), TWICE], adding(along_axis), "fewer columns"),
    Case(GatherNd(), [real(3, 4), PAIRS], taking(at_tuples)),
    Case(GatherNd(), [real(3, 4, 2), PAIRS], taking(at_tuples), "rows"),
    Case(GatherNd(), [real(3, 4), fixed([2, 1], numbers=False)], taking(at_tuples), "one tuple"),
    Case(GatherNd(1), [real(N, 3, 2), labels(N, 4, 1, classes=3)], taking(at_tuples), "batch"),
    Case(GatherNd(1), [real(2, 3, 4), fixed([[2, 1], [0, -1]], numbers=False)], taking(at_tuples), "one of each"),
    Case(GatherNdGrad((3, 4)), [real(2, 2), PAIRS], adding(at_tuples)),
    Case(GatherNdGrad((3, 4)), [real(2, 2), APART], adding(at_tuples), "places apart"),
    Case(GatherNdGrad((N, 3, 2), 1), [real(N, 4, 2), labels(N, 4, 1, classes=3)], adding(at_tuples), "batch"),
]
