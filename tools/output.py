"""Where a command's answer goes: standard output or a file, and what may be written there."""

from __future__ import annotations

import locale
import os
import sys
from contextlib import suppress
from typing import IO

import click

from tinygraph import config
from tinygraph.errors import UsageError, printable
from tinygraph.files import replacing

_QUIET = "tinygraph.quiet"


class Output:
    """The stream or file that a command writes its answer to.

    Attributes:
        color: escape sequences for colour are welcome.
        width: columns that a line may take; None if lines may be of any length.
        encoding: what the characters are encoded in.
        boxes: box-drawing characters can be shown.
    """

    def __init__(self, path: str | None = None, color: str = "auto") -> None:
        if path == "":
            raise UsageError("-o: the name of the file is empty")
        self.path = path = None if path == "-" else path
        settings = config.read()
        stream = None if path else sys.stdout
        terminal = stream is not None and stream.isatty()
        self.color = color == "always" or (color == "auto" and terminal and not settings.no_color)
        self.width = (_columns(stream) or settings.columns) if stream is not None and terminal else None
        self.encoding = (stream.encoding if stream else None) or "utf-8"
        self.boxes = _can_show("─", self.encoding) and (stream is None or _can_show("─", _locale_encoding()))

    def write(self, text: str) -> None:
        """Writes the text; characters that the stream cannot show come out as escapes.

        Raises:
            UsageError: the file cannot be written; an old one is as it was.
            OSError: the stream cannot be written.
        """
        if self.path:
            with replacing(self.path) as path:
                path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
            return
        encoding = self.encoding if self.boxes else "ascii"
        click.echo(text.encode(encoding, "backslashreplace").decode(encoding), nl=False, color=self.color)


def _columns(stream: IO[str]) -> int | None:
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def _locale_encoding() -> str:
    # Python writes UTF-8 under LC_ALL=C, but whoever sets that asks for plain characters.
    return locale.getencoding() if sys.flags.utf8_mode else "utf-8"


def _can_show(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def be_quiet() -> None:
    """Keeps notes back from now on."""
    click.get_current_context().meta[_QUIET] = True


def is_quiet() -> bool:
    """Whether notes are kept back."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_QUIET))


def note(message: str) -> None:
    """Tells the reader something that is not part of the answer, on standard error."""
    if not is_quiet():
        tell(f"note: {printable(message)}")


def note_lines(message: str) -> None:
    """As note, but its lines stay lines."""
    if not is_quiet():
        tell("note: " + "\n".join(map(printable, message.splitlines())))


def tell(message: str) -> None:
    """Writes a message to standard error; one that nobody can read is no failure."""
    with suppress(OSError):
        click.echo(f"tinygraph: {message}", err=True)
