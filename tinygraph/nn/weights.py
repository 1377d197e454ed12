"""Weights in files: safetensors in and out.

Format: https://github.com/huggingface/safetensors. Such a file holds names, shapes and
numbers and nothing that could run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, UsageError
from tinygraph.files import replacing
from tinygraph.ir import Array


def load(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The tensors of a safetensors file by name, as read-only arrays.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        ModelFormatError: the file is damaged, of another format, or holds a dtype that NumPy
            has not.
    """
    state: dict[str, Array] = {}
    with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118  # the file is no dict
            try:
                array = file.get_tensor(name)
            except (AttributeError, TypeError) as error:
                dtype = file.get_slice(name).get_dtype()
                raise ModelFormatError(f"{path}: {name!r} is {dtype}, unknown to NumPy; save it as F32") from error
            array.flags.writeable = False
            state[name] = array
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

    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
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
