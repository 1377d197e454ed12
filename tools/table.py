"""Tables as text, JSON, CSV and Markdown. A cell is a string, a number or None."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

import click

from tinygraph.errors import printable
from tinygraph.ir import Shape
from tinygraph.tools.output import Output, note

Cell = str | int | float | None
Row = Sequence[Cell]
Format = Literal["table", "json", "csv", "md"]

_GAP = "  "


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: the heading.
        key: its name in CSV and JSON.
        text: how a number is shown to people; CSV has it raw.
        right: whether it holds numbers, which stand at the right edge and are never folded.
        rank: on a narrow terminal, columns of the highest rank are left out first; those of
            rank 0 stay.
        least: a column of text is folded to this width before others are left out.
    """

    title: str
    key: str
    text: Callable[[int | float], str] = "{:,}".format
    right: bool = False
    rank: int = 0
    least: int = 12


def count(title: str, key: str, rank: int) -> Column:
    """A column of counts, with thousands separators."""
    return Column(title, key, right=True, rank=rank)


def human_bytes(number: float) -> str:
    """Bytes with a binary unit: 3.1 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} TiB"


def human_count(number: float) -> str:
    """A count with a metric letter: 4.09 G."""
    for unit in ("", " K", " M", " G", " T"):
        if number < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:,.0f} P"


def at_least(cell: Cell, column: Column) -> Cell:
    """A number that the true one is not smaller than: >= 4,096."""
    return f">= {column.text(cell)}" if isinstance(cell, (int, float)) else cell


def show_shape(shape: Shape) -> str:
    """A shape as people write it: 1x3x224x224."""
    return "x".join(map(str, shape)) or "scalar"


def as_text(columns: Sequence[Column], rows: Sequence[Row], style: Format, out: Output) -> str:
    """The table in the style that was asked for, as it is to be written to that output."""
    if style == "json":
        records = [dict(zip((c.key for c in columns), row, strict=True)) for row in rows]
        return json.dumps({"schema": 1, "rows": records}, indent=2) + "\n"
    if style == "csv":
        return csv_table(columns, rows)
    return markdown_table(columns, rows) if style == "md" else text_table(columns, rows, out)


def csv_table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """The table as CSV (RFC 4180, but lines end in a line feed) with raw numbers."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([c.key for c in columns])
    writer.writerows([printable(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return stream.getvalue()


def markdown_table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """The table as GitHub's Markdown."""
    lines = [[c.title for c in columns], ["---:" if c.right else "---" for c in columns]]
    lines += [[_markdown(_shown(cell, c)) for cell, c in zip(row, columns, strict=True)] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _markdown(text: str) -> str:
    for special in "\\`*_<>|[]":
        text = text.replace(special, "\\" + special)
    return text


def text_table(columns: Sequence[Column], rows: Sequence[Row], out: Output, total: Row | None = None) -> str:
    """The table as lines of text, in the width, characters and colour of the output.

    On a narrow terminal text is folded, then columns are left out, which a note tells.

    Args:
        columns: headings and how to show numbers.
        rows: one cell a column.
        out: where it will go.
        total: a last row, set off by a rule.
    """
    all_rows = [*rows, total] if total else rows
    cells = [[_shown(cell, c) for cell, c in zip(row, columns, strict=True)] for row in all_rows]
    widths = [max(map(_width, texts)) for texts in zip([c.title for c in columns], *cells, strict=True)]
    if out.width is not None:
        kept = _fit(columns, widths, out.width)
        if len(kept) < len(columns):
            note(f"{out.width} columns are few: left out {', '.join(c.title for c in columns if c not in kept)}")
        cells = [[text for text, c in zip(texts, columns, strict=True) if c in kept] for texts in cells]
        columns, widths = list(kept), list(kept.values())
    rule = ("─" if out.boxes else "-") * (sum(widths) + len(_GAP) * (len(widths) - 1))
    blocks = ["\n".join(_lines(texts, columns, widths)) for texts in ([c.title for c in columns], *cells)]
    bold = (0, -1) if total else (0,)
    if out.color:
        for i in bold:
            blocks[i] = click.style(blocks[i], bold=True)
    blocks.insert(1, rule)
    if total:
        blocks.insert(-1, rule)
    return "\n".join(blocks) + "\n"


def _shown(cell: Cell, column: Column) -> str:
    if cell is None:
        return ""
    return printable(cell) if isinstance(cell, str) else column.text(cell)


def _width(text: str) -> int:
    """Columns that a terminal uses for the text."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _fit(columns: Sequence[Column], widths: Sequence[int], room: int) -> dict[Column, int]:
    """The columns that have room, with their widths."""
    wanted = dict(zip(columns, widths, strict=True))
    least = {c: width if c.right else min(width, max(c.least, len(c.title))) for c, width in wanted.items()}

    def excess(sizes: dict[Column, int]) -> int:
        return sum(sizes.values()) + len(_GAP) * (len(sizes) - 1) - room

    while excess(least) > 0:
        last = max(reversed(least), key=lambda c: c.rank)
        if last.rank == 0:
            break
        del least[last]
    kept = {c: wanted[c] for c in least}
    while excess(kept) > 0:
        widest = max(kept, key=lambda c: kept[c] - least[c])
        if kept[widest] == least[widest]:
            break
        kept[widest] -= 1
    return kept


def _lines(texts: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    """The lines of one row; more than one if text is folded."""
    folded = [_folded(text, width) for text, width in zip(texts, widths, strict=True)]
    return [
        _GAP.join(_padded(text, width, c.right) for text, width, c in zip(line, widths, columns, strict=True)).rstrip()
        for line in zip_longest(*folded, fillvalue="")
    ]


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def _folded(text: str, width: int) -> list[str]:
    """The text in pieces that are no wider, cut behind a space or a dot where there is one."""
    pieces = []
    while _width(text) > width:
        end = len(text)
        while end > 1 and _width(text[:end]) > width:
            end -= 1
        cut = max(text.rfind(" ", 0, end), text.rfind(".", 0, end)) + 1 or end
        pieces.append(text[:cut].rstrip())
        text = text[cut:]
    return [*pieces, text]
