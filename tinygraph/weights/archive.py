"""Zip files as containers of arrays: checked before anything is read, and never extracted.

Limits of the format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from tinygraph.errors import ModelFormatError, TinygraphError, UsageError
from tinygraph.files import regular

_MOST_SHRUNK = 1032  # to one: what deflate can do at its best
_ENCRYPTED = 0x1
_METHODS = {False: (zipfile.ZIP_STORED,), True: (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)}
# What zipfile raises for files that are wrong.
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OverflowError,
)


class Archive:
    """The members of a zip file.

    Attributes:
        sizes: bytes of each member by name, as they will be read; none is read yet.
    """

    def __init__(self, file: zipfile.ZipFile, compressed: bool) -> None:
        self._file = file
        self._methods = _METHODS[compressed]
        self.sizes: dict[str, int] = {}
        for member in file.infolist():
            name = member.filename
            if name in self.sizes:
                raise ModelFormatError(f"two members are called {brief(name)}")
            most = member.compress_size * (1 if member.compress_type == zipfile.ZIP_STORED else _MOST_SHRUNK)
            if member.file_size > most or member.header_offset < 0:
                raise ModelFormatError(f"{brief(name)} in it claims a size or a place that it cannot have")
            self.sizes[name] = member.file_size

    def read(self, name: str) -> bytes:
        """The bytes of a member: `sizes[name]` of them."""
        member = self._file.getinfo(name)
        if member.flag_bits & _ENCRYPTED or member.compress_type not in self._methods:
            raise ModelFormatError(f"{brief(name)} in it is encrypted, or compressed in a way that is not read")
        data = self._file.read(member)
        if len(data) != self.sizes[name]:
            raise ModelFormatError(f"{brief(name)} in it is truncated")
        return data


@contextmanager
def opened(path: str | os.PathLike[str], kind: str, compressed: bool = False) -> Iterator[Archive]:
    """Opens a zip file; whatever is wrong with it in the block names the file.

    Args:
        path: of the file.
        kind: what it ought to be, for messages.
        compressed: whether members may be compressed (deflate).

    Raises:
        UsageError: there is no such file, or it cannot be read.
        ModelFormatError: it is no zip file, or is damaged.
    """
    path = regular(path)
    try:
        with open(path, "rb") as stream, zipfile.ZipFile(stream) as file:
            yield Archive(file, compressed)
    except ModelFormatError as error:
        raise ModelFormatError(f"{path}: {error}") from error
    except TinygraphError:
        raise
    except _DAMAGES as error:
        raise ModelFormatError(f"{path} is no {kind}, or is damaged: {brief(str(error), 200)}") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error


def brief(text: str, most: int = 80) -> str:
    """A text out of a file, as a message may show it: quoted, in ASCII, and not long."""
    return ascii(text if len(text) <= most else text[:most] + "...")
