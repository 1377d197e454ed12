"""Weights in files: names, shapes and numbers, and nothing that could run.

    .safetensors                  read and written
    .npz                          read and written, as NumPy's savez does, without pickles
    .pt .pth .bin .ckpt .tar      read: what torch.save makes of a state dict

A file of any other name is taken for safetensors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinygraph.errors import UsageError
from tinygraph.ir import Array
from tinygraph.weights.arrays import LIMIT

PYTORCH = (".pt", ".pth", ".bin", ".ckpt", ".tar")
WRITTEN = (".safetensors", ".npz")
READ = (*WRITTEN, *PYTORCH)


def load(path: str | os.PathLike[str], limit: int = LIMIT) -> dict[str, Array]:
    """The arrays of a weight file by name, read-only; the suffix says how it is read.

    bfloat16, which NumPy has not, becomes float32: every such number is one.

    Args:
        path: of the file.
        limit: bytes that the arrays may have together; reading them may take as much again.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        ModelFormatError: the file is damaged, of another format, or holds more than arrays.
        BudgetError: the arrays take more than the limit.
    """
    from tinygraph.weights import npz, pytorch, safetensors

    suffix = Path(path).suffix.lower()
    if suffix in PYTORCH:
        return pytorch.load(path, limit)
    return npz.load(path, limit) if suffix == ".npz" else safetensors.load(path, limit)


def save(state: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes arrays by name; the suffix says how. An older file is replaced once the new one is whole.

    Raises:
        UsageError: the file cannot be written, or an array has a dtype that the format has not.
    """
    from tinygraph.weights import npz, safetensors

    suffix = Path(path).suffix.lower()
    if suffix in PYTORCH:
        raise UsageError(f"{path}: files of PyTorch are read only; write .safetensors, which PyTorch reads too")
    if suffix == ".npz":
        npz.save(state, path)
    else:
        safetensors.save(state, path)
