"""Weights in .npz files: a zip file with a .npy file for each array.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Arrays of Python
objects, which are pickles, are refused.
"""

from __future__ import annotations

import io
import math
import os
import tokenize
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format

from tinygraph.errors import ModelFormatError, UsageError
from tinygraph.files import replacing
from tinygraph.ir import Array
from tinygraph.weights.archive import brief, opened
from tinygraph.weights.arrays import LIMIT, Allowance, check_dtype

_HEADERS = {(1, 0): format.read_array_header_1_0, (2, 0): format.read_array_header_2_0}


def load(path: str | os.PathLike[str], limit: int = LIMIT) -> dict[str, Array]:
    """The arrays of a .npz file by name, read-only; see `tinygraph.weights.load`."""
    allowance = Allowance(path, limit)
    with opened(path, ".npz file", compressed=True) as archive:
        allowance.take(sum(archive.sizes.values()))
        state = {}
        for member in archive.sizes:
            name = member.removesuffix(".npy")
            if name == member:
                raise ModelFormatError(f"{brief(member)} in it is no .npy file")
            state[name] = _array(archive.read(member), name)
        return state


def _array(content: bytes, name: str) -> Array:
    """The array that the content of a .npy file holds."""
    stream = io.BytesIO(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            shape, fortran, dtype = _HEADERS[format.read_magic(stream)](stream)
        start = stream.tell()
        check_dtype(dtype, brief(name))
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content) - start:
            raise ModelFormatError(f"{brief(name)} has another number of bytes than its shape asks for")
        flat = np.frombuffer(content, dtype, offset=start)
        array = flat.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="), copy=False)
    except ModelFormatError:
        raise
    except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise ModelFormatError(f"{brief(name)} is no array: {brief(str(error))}") from error
    array.flags.writeable = False
    return array


def save(state: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes arrays to a .npz file, uncompressed; the same arrays make the same bytes.

    Raises:
        UsageError: the file cannot be written, or holds an array or a name that the format has not.
    """
    arrays = {name: np.asarray(array) for name, array in state.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiubc":
            raise UsageError(f"{path}: cannot be written: {name!r} is {array.dtype}, no numbers")
        if "\0" in name:
            raise UsageError(f"{path}: cannot be written: no member of a zip file can be called {name!r}")
    with replacing(path) as part, open(part, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            # Not np.savez, which takes `file` for an argument and writes the time of day.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                format.write_array(member, array, version=(1, 0), allow_pickle=False)
