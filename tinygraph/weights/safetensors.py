"""Weights in safetensors files.

Format: https://github.com/huggingface/safetensors. The library checks sizes,
offsets and overlaps before it gives out a number.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, UsageError
from tinygraph.files import regular, replacing
from tinygraph.ir import Array
from tinygraph.weights.arrays import LIMIT, Allowance, check_dtype, widened


def load(path: str | os.PathLike[str], limit: int = LIMIT) -> dict[str, Array]:
    """The tensors of a safetensors file by name, read-only; see `tinygraph.weights.load`."""
    allowance = Allowance(path, limit)
    allowance.take(regular(path).stat().st_size)
    with _opened(path) as file:
        dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118  # it is no dict
        wide = _bfloat16(path, [name for name, dtype in dtypes.items() if dtype == "BF16"], allowance)
        state = {name: wide[name] if name in wide else _tensor(file, name, path) for name in dtypes}
    for array in state.values():
        array.flags.writeable = False
    return state


def _tensor(file: Any, name: str, path: str | os.PathLike[str]) -> Array:
    try:
        array: Array = file.get_tensor(name)
    except (AttributeError, TypeError) as error:
        dtype = file.get_slice(name).get_dtype()
        raise ModelFormatError(f"{path}: {name!r} is {dtype}, unknown to NumPy; save it as F32") from error
    check_dtype(array.dtype, f"{path}: {name!r}")
    return array


def _bfloat16(path: str | os.PathLike[str], names: Sequence[str], allowance: Allowance) -> dict[str, Array]:
    """The tensors of these names, as float32.

    The library has no array for them, but it has checked that they are where the header says.
    """
    state = {}
    with open(path, "rb") as file:
        start = 8 + struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(start - 8)) if names else {}
        for name in names:
            first, last = header[name]["data_offsets"]
            allowance.take(2 * (last - first))
            file.seek(start + first)
            state[name] = widened(np.frombuffer(file.read(last - first), "<u2")).reshape(header[name]["shape"])
    return state


def metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts by name that a safetensors file holds beside its tensors.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        ModelFormatError: the file is damaged, or of another format.
    """
    with _opened(path) as file:
        return dict(file.metadata() or {})


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    path = regular(path)
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ModelFormatError(f"{path} is no safetensors file, or is damaged: {error}") from error


def save(state: Mapping[str, Any], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Writes arrays to a safetensors file; an older file is replaced once the new one is whole.

    Args:
        state: arrays by name.
        path: of the file.
        metadata: texts by name, to stand beside the arrays.

    Raises:
        UsageError: the file cannot be written, or an array has a dtype that the format has not.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save as to_bytes
    from safetensors.numpy import save_file

    texts = dict(metadata) if metadata else None
    arrays = {name: np.asarray(array, order="C") for name, array in state.items()}
    try:
        with replacing(path) as part:
            if part.exists():  # a device or a pipe, which save_file would replace
                part.write_bytes(to_bytes(arrays, texts))
                return
            part.touch()
            mode = part.stat().st_mode
            save_file(arrays, part, texts)
            part.chmod(mode)  # save_file makes files that only their owner can read
    except (SafetensorError, KeyError) as error:
        raise UsageError(f"{path}: cannot be written: {error}") from error
