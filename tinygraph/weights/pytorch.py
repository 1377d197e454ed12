"""Weights in the files of torch.save, read without PyTorch and without unpickling.

Such a file is an uncompressed zip file: data.pkl describes objects (`pickled` reads it), each
storage is a member data/KEY of raw numbers, and byteorder says in which order their bytes stand.
Format: https://pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygraph.errors import ModelFormatError, UsageError
from tinygraph.files import regular
from tinygraph.ir import Array
from tinygraph.weights.archive import Archive, brief, opened
from tinygraph.weights.arrays import LIMIT, Allowance, widened
from tinygraph.weights.pickled import Pairs, Storage, Tensor, read

_LONGEST = 4 * 2**20  # bytes of data.pkl: those of 20,000 tensors
_ORDERS = {b"little": "<", b"big": ">"}
_NESTED = ("state_dict", "model_state_dict", "model", "net", "weights")  # where checkpoints keep a state_dict
_STORED = {"bf16": "u2", "bool": "u1"}  # how the numbers are read, where NumPy has no dtype or would believe a file
_READ = {"bf16": "f4"}  # what they become
_ZIP = b"PK\x03\x04"
_OLD_PICKLE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a number that PyTorch before 1.6 begins files with
_TAR = b"ustar"  # still older ones are tar files


def load(path: str | os.PathLike[str], limit: int = LIMIT) -> dict[str, Array]:
    """The tensors of a state_dict by name, read-only; see `tinygraph.weights.load`.

    The state_dict may stand alone, or in a dict under `state_dict`, `model_state_dict`, `model`, `net`
    or `weights`; what else such a dict holds is left out. Tied tensors become one array.
    """
    _check_beginning(path)
    with opened(path, "PyTorch file") as archive:
        root = _root(archive)
        tensors = _state_dict(read(_short(archive, f"{root}/data.pkl", _LONGEST)))
        reader = _Reader(archive, root, Allowance(path, limit), Allowance(path, limit))
        return {name: reader.array(tensor) for name, tensor in tensors.items()}


def _check_beginning(path: str | os.PathLike[str]) -> None:
    try:
        with open(regular(path), "rb") as file:
            start = file.read(512)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    if start.startswith(_OLD_PICKLE) or start[257:].startswith(_TAR):
        raise ModelFormatError(
            f"{path} is of the format before PyTorch 1.6, which is not read: "
            "torch.save(torch.load(path), path) in a newer one renews it"
        )
    if not start.startswith(_ZIP):
        raise ModelFormatError(f"{path} is no PyTorch file, or is damaged: it does not begin as torch.save's do")


def _root(archive: Archive) -> str:
    """The folder that everything stands in."""
    roots = [name.removesuffix("/data.pkl") for name in archive.sizes if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ModelFormatError(f"there is {'no' if not roots else 'more than one'} data.pkl in it")
    return roots[0]


def _short(archive: Archive, name: str, most: int) -> bytes:
    if archive.sizes[name] > most:
        raise ModelFormatError(f"{brief(name)} in it has {archive.sizes[name]:,} bytes, at most {most:,} are read")
    return archive.read(name)


def _state_dict(tree: Any) -> dict[str, Tensor]:
    """The tensors by name: the tree itself, or the first place of _NESTED that holds them."""
    found = _tensors(tree)
    for key in _NESTED:
        if found is None and type(tree) is Pairs:
            found = next((_tensors(value) for name, value in tree if type(name) is str and name == key), None)
    if found is not None:
        return found
    if type(tree) is not Pairs:
        raise ModelFormatError(f"it holds a {type(tree).__name__}, no dict of tensors by name")
    others = [f"{brief(str(k), 40)}" for k, v in tree if type(k) is str and type(v) is not Tensor]
    raise ModelFormatError(
        f"it holds no dict of nothing but tensors by name: {', '.join(others[:5]) or 'a key'} is something else; "
        f"a state_dict may stand under {', '.join(_NESTED)}"
    )


def _tensors(tree: Any) -> dict[str, Tensor] | None:
    if type(tree) is Pairs and all(type(k) is str and type(v) is Tensor for k, v in tree):
        return dict(tree)
    return None


class _Reader:
    """Makes arrays of tensors; one storage is read once, and tied tensors are one array.

    A few numbers may be shown through many views, so what is read and what is given are both limited.
    """

    def __init__(self, archive: Archive, root: str, stored: Allowance, given: Allowance) -> None:
        self._archive = archive
        self._root = root
        self._stored = stored
        self._given = given
        self._order = "<"
        if f"{root}/byteorder" in archive.sizes:
            order = _short(archive, f"{root}/byteorder", 16)
            if order not in _ORDERS:
                raise ModelFormatError(f"{order!r} is no order of bytes")
            self._order = _ORDERS[order]
        self._storages: dict[str, bytes] = {}
        self._arrays: dict[Tensor, Array] = {}

    def array(self, tensor: Tensor) -> Array:
        """The numbers of the tensor in a contiguous array."""
        dtype = np.dtype(_READ.get(tensor.storage.dtype, tensor.storage.dtype))
        self._given.take(math.prod(tensor.shape) * dtype.itemsize)
        if tensor not in self._arrays:
            self._arrays[tensor] = self._made(tensor, dtype)
        return self._arrays[tensor]

    def _made(self, tensor: Tensor, dtype: np.dtype[Any]) -> Array:
        stored = np.dtype(self._order + _STORED.get(tensor.storage.dtype, tensor.storage.dtype))
        flat = np.frombuffer(self._bytes(tensor.storage, stored.itemsize), stored)
        count = math.prod(tensor.shape)
        if count and _last(tensor) >= flat.size:
            raise ModelFormatError(f"a tensor reaches beyond the storage {brief(tensor.storage.key)}")
        if _is_contiguous(tensor) or not count:
            array = flat[tensor.offset :][:count].reshape(tensor.shape)
        else:
            strides = [stride * stored.itemsize for stride in tensor.strides]
            array = as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
        if tensor.storage.dtype == "bf16":
            array = widened(array)
        array = np.asarray(array, dtype, order="C")  # of a byte to bool: whether it is not 0
        array.flags.writeable = False
        return array

    def _bytes(self, storage: Storage, itemsize: int) -> bytes:
        name = f"{self._root}/data/{storage.key}"
        size = self._archive.sizes.get(name)
        if size is None:
            raise ModelFormatError(f"the storage {brief(storage.key)} is missing")
        if size != storage.size * itemsize:
            raise ModelFormatError(f"the storage {brief(storage.key)} has {size:,} bytes, other than its tensors say")
        if name not in self._storages:
            self._stored.take(size)
            self._storages[name] = self._archive.read(name)
        return self._storages[name]


def _last(tensor: Tensor) -> int:
    """The place of the last number in the storage."""
    return tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))


def _is_contiguous(tensor: Tensor) -> bool:
    """Whether the numbers stand in a row; the stride of a dimension of 1 is never used."""
    step = 1
    for n, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if n > 1 and stride != step:
            return False
        step *= n
    return True
