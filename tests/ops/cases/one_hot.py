"""Rows of ops/one_hot.py."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, fixed, labels
from tinygraph.ops.one_hot import OneHot


def one_hot(op: OneHot, numbers: Array) -> Array:
    axis = op.axis % (numbers.ndim + 1)
    y = np.zeros((*numbers.shape[:axis], op.classes, *numbers.shape[axis:]))
    for i in np.ndindex(numbers.shape):
        if -op.classes <= numbers[i] < op.classes:
            y[(*i[:axis], numbers[i] % op.classes, *i[axis:])] = 1
    return y


CASES = [
    Case(OneHot(5), [labels(N, classes=5)], one_hot),
    Case(OneHot(4, "float64"), [labels(N, 3, classes=4)], one_hot, "map"),
    Case(OneHot(4, axis=1), [labels(N, 3, classes=4)], one_hot, "channels"),
    Case(OneHot(4, "bool", axis=0), [labels(N, 3, classes=4)], one_hot, "first axis", reference=False),
    Case(OneHot(4, axis=-3), [labels(N, 3, classes=4)], one_hot, "axis from behind"),
    Case(OneHot(3, "int64"), [labels(classes=3)], one_hot, "0-d"),
    Case(OneHot(3), [fixed([-4, -3, -1, 0, 2, 3, 100], numbers=False)], one_hot, "outside", reference=False),
]
