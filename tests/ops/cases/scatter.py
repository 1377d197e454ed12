"""Rows of ops/scatter.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.ops.cases.gather import along_axis, at_tuples
from tests.ops.harness import (
    Array,
    Case,
    Input,
    N,
    booleans,
    distinct,
    fixed,
    integers,
    labels,
    maximum,
    minimum,
    real,
)
from tinygraph.ir import Dim
from tinygraph.ops.scatter import ScatterElements, ScatterNd

COMBINED: dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "max": maximum,
    "min": minimum,
}


def scattering(pairs: Callable[..., Any]) -> Callable[..., Array]:
    def naive(op: Any, x: Array, indices: Array, updates: Array) -> Array:
        y = np.array(x)
        for source, target in pairs(op, x.shape, indices):
            y[target] = COMBINED[op.reduction](y[target], updates[source])
        return y

    return naive


def apart(*shape: Dim) -> Input:
    """As distinct(), but no number is near to one of distinct()'s."""
    return Input(shape, lambda rng, dims: distinct(*dims).draw(rng, dims) * 1.01 + 0.07)


along, tuples = scattering(along_axis), scattering(at_tuples)

ONCE = fixed([[2, 0], [-1, 1]], numbers=False)
TWICE = fixed([[0, 2], [0, -1], [1, 2]], numbers=False)
TUPLES = fixed([[0, 1], [2, -1], [1, 1]], numbers=False)
SAME = fixed([[0, 1], [2, -1], [0, 1]], numbers=False)
BATCH_OF_ONE_EACH = labels(N, 1, classes=3)

CASES = [
    Case(ScatterElements(1), [real(N, 3), BATCH_OF_ONE_EACH, real(N, 1)], along),
    Case(ScatterElements(-1), [real(2, 3), ONCE, real(2, 2)], along, "two of three"),
    Case(ScatterElements(1), [integers(2, 3), ONCE, integers(2, 2)], along, "integers"),
    Case(ScatterElements(1), [booleans(2, 3), ONCE, booleans(2, 2)], along, "booleans"),
    Case(ScatterElements(0, "add"), [real(3, 2), TWICE, real(3, 2)], along, "sums"),
    Case(ScatterElements(0, "mul"), [real(3, 2), TWICE, real(3, 2)], along, "products", smooth=False),
    Case(ScatterElements(0, "max"), [distinct(3, 2), TWICE, apart(3, 2)], along, "maxima"),
    Case(ScatterElements(0, "min"), [distinct(3, 2), TWICE, apart(3, 2)], along, "minima"),
    Case(
        ScatterElements(0, "max"),
        [fixed([1.0, 1.0]), fixed([0, 0], numbers=False), fixed([1.0, 0.0])],
        along,
        "ties",
        smooth=False,
    ),
    Case(ScatterNd(), [real(3, 3), TUPLES, real(3)], tuples),
    Case(ScatterNd(), [real(3, 3, 2), TUPLES, real(3, 2)], tuples, "rows"),
    Case(ScatterNd(), [real(3, N), fixed([[2], [0]], numbers=False), real(2, N)], tuples, "open rows"),
    Case(ScatterNd("add"), [real(3, 3), SAME, real(3)], tuples, "sums"),
    Case(ScatterNd("mul"), [real(3, 3), SAME, real(3)], tuples, "products", smooth=False),
    Case(ScatterNd("max"), [distinct(3, 3), SAME, apart(3)], tuples, "maxima"),
    Case(ScatterNd("min"), [integers(3, 3), SAME, integers(3)], tuples, "minima"),
]
