"""Settings from the environment. The only reader of os.environ in tinygraph.

TINYGRAPH_DEBUG     0 quiet (default); 1 a line per pass; 2 also the diff of the dump per pass
TINYGRAPH_DUMP      a folder: every pass writes a numbered dump of its result there
TINYGRAPH_OPENBLAS  0: OpenBLAS is used through NumPy alone; by default its kernels are also called directly
XDG_CACHE_HOME      the folder for what may be found again, such as which kernels are fast; by default ~/.cache
NO_COLOR            any non-empty value: no colour (https://no-color.org)
COLUMNS             width of tables when the terminal does not say
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tinygraph.errors import UsageError


@dataclass(frozen=True)
class Config:
    """A reading of the environment.

    Attributes:
        debug: how much the pass runner reports on stderr (0, 1 or 2).
        dump: folder for numbered dumps, or None.
        openblas: OpenBLAS's kernels may be called directly.
        cache: folder for what may be found again, or None if there is no home either.
        no_color: colour is unwanted.
        columns: forced table width in characters, or None.
    """

    debug: int = 0
    dump: Path | None = None
    openblas: bool = True
    cache: Path | None = None
    no_color: bool = False
    columns: int | None = None


def read() -> Config:
    """Reads the environment now, so that a test or a notebook may change it.

    Raises:
        UsageError: a setting is not of the form that it takes.
    """
    dump = os.environ.get("TINYGRAPH_DUMP")
    return Config(
        debug=_number("TINYGRAPH_DEBUG") or 0,
        dump=Path(dump) if dump else None,
        openblas=_number("TINYGRAPH_OPENBLAS") != 0,
        cache=_cache(os.environ.get("XDG_CACHE_HOME")),
        no_color=bool(os.environ.get("NO_COLOR")),
        columns=_number("COLUMNS"),
    )


def _cache(folder: str | None) -> Path | None:
    if folder and os.path.isabs(folder):  # others are to be ignored: XDG Base Directory Specification
        return Path(folder)
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return None


def _number(name: str) -> int | None:
    text = os.environ.get(name)
    if not text:
        return None
    if not text.isdecimal():
        raise UsageError(f"{name}={text!r} is not a whole number")
    return int(text)
