"""Files that are replaced once their successor is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinygraph.errors import UsageError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a path to write to; at the end of the block that file takes the place of the one at `path`.

    If the block fails, the old file stays and the new one goes: nobody finds half of a file. A
    link stays a link. A device or a pipe is no file to be replaced: it is written to directly.

    Raises:
        UsageError: the file cannot be written.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            yield path
            return
        target = path.resolve()
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            yield part
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot write {path}: {reason or error}") from None


def regular(path: str | os.PathLike[str]) -> Path:
    """The path, if a file is there.

    Raises:
        UsageError: nothing is, or a folder, a device or a pipe, which could be read for ever.
    """
    path = Path(path)
    try:
        if path.is_file():
            return path
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
    raise UsageError(f"{path}: no such file")
