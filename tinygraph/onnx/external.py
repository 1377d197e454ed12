"""Numbers of a model that are kept in files beside it. None outside of its folder is opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

import onnx

from tinygraph.budget import Budget
from tinygraph.errors import ModelFormatError

_LONGEST = 4096  # characters of a location


class Folder:
    """The folder that a model was loaded from.

    Args:
        path: of the folder.
        budget: of the bytes that may be read, all together.
    """

    def __init__(self, path: str | os.PathLike[str], budget: Budget) -> None:
        self.path = Path(path)
        self._budget = budget
        self._bytes = 0

    def read(self, proto: onnx.TensorProto, nbytes: int) -> bytes:
        """The bytes of a tensor.

        The file is a regular one in the folder or below, and neither it nor a folder on the way is
        a link. Its size is looked at before anything is read.

        Args:
            proto: says where its numbers are.
            nbytes: how many bytes its dims want.

        Raises:
            ModelFormatError: the place is not allowed, or does not hold that many bytes.
            BudgetError: they are too many, with those read before.
        """
        entries = _entries(proto)
        offset = _number(entries, "offset", 0)
        length = _number(entries, "length", nbytes)
        if length != nbytes:
            raise ModelFormatError(f"its dims want {nbytes} bytes, its length in the other file is {length}")
        location = entries.get("location", "")
        with self._open(location) as file:
            size = os.fstat(file.fileno()).st_size
            if offset + nbytes > size:
                raise ModelFormatError(
                    f"it wants bytes {offset} to {offset + nbytes} of {location!r}, which has {size}"
                )
            self._bytes += nbytes  # many tensors may want the same bytes
            self._budget.check_bytes(self._bytes, "the numbers in other files take")
            file.seek(offset)
            content = file.read(nbytes)
        if len(content) != nbytes:
            raise ModelFormatError(f"{location!r} became shorter while it was read")
        return content

    @contextmanager
    def _open(self, location: str) -> Iterator[BinaryIO]:
        """The file at a location, which is opened without following links."""
        *folders, name = _parts(location)
        # Not blocking, so that opening a pipe ends.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptors: list[int] = []
        try:
            descriptors.append(os.open(self.path, os.O_RDONLY | os.O_DIRECTORY))
            for folder in folders:
                descriptors.append(os.open(folder, flags | os.O_DIRECTORY, dir_fd=descriptors[-1]))
            descriptor = os.open(name, flags, dir_fd=descriptors[-1])
        except OSError as error:
            # ENOTDIR is what a link in the place of a folder gives.
            link = error.errno in (errno.ELOOP, errno.ENOTDIR)
            reason = "it is a link or lies behind one, and links are not followed" if link else error.strerror
            raise ModelFormatError(f"its numbers are in {location!r}, which cannot be read: {reason}") from None
        finally:
            for opened in descriptors:
                os.close(opened)
        try:
            _check(descriptor, location)
        except ModelFormatError:
            os.close(descriptor)
            raise
        with os.fdopen(descriptor, "rb") as file:
            yield file


def _check(descriptor: int, location: str) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ModelFormatError(f"its numbers are in {location!r}, which is no regular file")
    if status.st_nlink > 1:
        raise ModelFormatError(f"its numbers are in {location!r}, which is a hard link; only a file of its own is read")


def _entries(proto: onnx.TensorProto) -> Mapping[str, str]:
    entries: dict[str, str] = {}
    for entry in proto.external_data:
        if entry.key in entries:
            raise ModelFormatError(f"its place in another file has two entries {str(entry.key)[:40]!r}")
        entries[entry.key] = entry.value
    return entries


def _number(entries: Mapping[str, str], key: str, default: int) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelFormatError(f"its {key} in the other file is {str(text)[:40]!r}, want a whole number >= 0")
    return int(text)


def _parts(location: str) -> list[str]:
    """The names on the way to a file below the folder; ModelFormatError if it leads elsewhere."""
    if not isinstance(location, str) or not location or len(location) > _LONGEST or "\0" in location:
        raise ModelFormatError("its numbers are in another file, whose name is missing or no name")
    windows = PureWindowsPath(location)
    parts = [part for part in location.replace("\\", "/").split("/") if part not in ("", ".")]
    if windows.drive or windows.root or ".." in parts or not parts:
        raise ModelFormatError(f"its numbers are in {location!r}; only files in the folder of the model are read")
    return parts
