"""What all readers of weights ask of arrays: bytes that were allowed, and dtypes that networks have."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from tinygraph.errors import BudgetError, ModelFormatError
from tinygraph.ir import Array

LIMIT = 4 * 2**30  # bytes: more than any network for images has, less than most machines


class Allowance:
    """Bytes that the arrays of one file may have, taken before each allocation."""

    def __init__(self, path: str | os.PathLike[str], limit: int) -> None:
        self._path = path
        self._limit = self._left = limit

    def take(self, nbytes: int) -> None:
        """Takes bytes off; BudgetError if fewer are left."""
        self._left -= nbytes
        if self._left < 0:
            raise BudgetError(
                f"{self._path}: its arrays take more than {self._limit:,} bytes; if you trust it, give a higher limit"
            )


def check_dtype(dtype: np.dtype[Any], what: str) -> None:
    """ModelFormatError unless numbers of this dtype may be weights: at most 64 bits, real or bool."""
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise ModelFormatError(f"{what} is {dtype}, which no weight can be; save it as float32")


def widened(bits: Array) -> Array:
    """bfloat16, given as uint16, as the float32 of the same value: the upper half of its bits."""
    wide: Array = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return wide
