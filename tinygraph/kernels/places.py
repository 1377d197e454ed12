"""Indices into an axis, which may count from its end."""

from __future__ import annotations

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.kernels.scratch import Array


def places_of(indices: Array, size: int) -> Array:
    """The indices counted from the front, as int64; ShapeError if one is out of range."""
    places = np.empty(indices.shape, np.int64)
    checked_places(indices, size, places)
    return places


def checked_places(indices: Array, size: int, places: Array) -> None:
    """Writes the indices, counted from the front, into an int64 array.

    Raises:
        ShapeError: one is not from -size to size - 1.
    """
    np.copyto(places, indices, casting="unsafe")
    if not places.size:
        return
    for index in (places.min(), places.max()):
        if not -size <= index < size:
            raise ShapeError(f"the index {index} is out of range: the axis has {size} entries")
    np.remainder(places, size, out=places)
