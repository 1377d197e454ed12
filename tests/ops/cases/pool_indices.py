"""Rows of ops/pool_indices.py: where the largest element of each window is."""

from __future__ import annotations

from math import prod

import numpy as np

from tests.ops.cases.pool import counts, shapes, special, windows, winner
from tests.ops.cases.quantize import whole
from tests.ops.harness import Array, Case
from tinygraph.ops.pool_indices import MaxPoolIndices


def places_of_largest(op: MaxPoolIndices, x: Array) -> tuple[Array, Array]:
    sizes = x.shape[2:]
    y = np.empty((*x.shape[:2], *counts(op, x)), x.dtype)
    numbers = np.empty(y.shape, np.int64)
    for n, c in np.ndindex(*x.shape[:2]):
        for index, places in windows(op, sizes):
            place = winner(x[n, c], places, False)
            number = np.ravel_multi_index(place, sizes, order="F" if op.column_major else "C")
            y[n, c][index] = x[n, c][place]
            numbers[n, c][index] = (n * x.shape[1] + c) * prod(sizes) + number
    return y, numbers


BYTES = {"kernel_size": (3, 2), "stride": (2, 1), "padding": ((1, 1), (0, 1))}

# onnx.reference mistakes the places of overlapping windows, and loses NaN.
CASES = [
    *(
        Case(
            MaxPoolIndices(**g, column_major=columns),
            [x],
            places_of_largest,
            f"{label} {columns}",
            reference=label != "overlapping",
        )
        for label, g, x in shapes()
        for columns in (False, True)
    ),
    *(
        Case(MaxPoolIndices(**g), [x], places_of_largest, label, smooth=False, reference=label == "all lowest")
        for label, g, x in special()
    ),
    Case(MaxPoolIndices(**BYTES), [whole(np.int8, 2, 2, 4, 3, low=-128, high=-120)], places_of_largest, "signed bytes"),
    Case(MaxPoolIndices(**BYTES), [whole(np.uint8, 2, 2, 4, 3, low=0, high=5)], places_of_largest, "bytes"),
]
