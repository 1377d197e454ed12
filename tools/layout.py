"""DOT to a picture. Graphviz says where everything goes: the program `dot`, else its libraries."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tinygraph.errors import UsageError

# Graphviz' json format loses texts with backslashes. While it works, another character stands in
# for them: one of private use, which no name can hold, for printable() escapes it.
_BACKSLASH = "\ue000"


def draw(source: str, format: str) -> bytes:
    """The picture of a DOT source.

    The program `dot` is taken if it is on the PATH, else the Graphviz libraries inside
    pygraphviz' wheel. PNG and PDF are painted here from Graphviz' layout, so that they look the
    same on a machine without fonts.

    Args:
        source: the DOT text.
        format: svg, html (a page that holds the SVG), png or pdf.

    Raises:
        UsageError: Graphviz cannot lay it out.
    """
    if format in ("svg", "html"):
        svg = _graphviz(source, "svg")
        return svg if format == "svg" else _page(svg)
    from tinygraph.tools.paint import paint

    return paint(lay_out(source), format)


def _page(svg: bytes) -> bytes:
    """A web page of its own: needs no other file, loads nothing."""
    head = (
        '<meta charset="utf-8"><title>Computational graph</title><style>svg { max-width: 100%; height: auto }</style>'
    )
    picture = svg[svg.index(b"<svg") :]
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n'.encode() + picture + b"</body></html>\n"


def lay_out(source: str) -> dict[str, Any]:
    """Graphviz' layout of a DOT source, in its json format; see draw."""
    written = _graphviz(source.replace(r"\\", _BACKSLASH), "json").decode()
    layout: dict[str, Any] = json.loads(written.replace(_BACKSLASH, r"\\"))
    return layout


def _graphviz(source: str, format: str) -> bytes:
    program = shutil.which("dot")
    worker = Path(__file__).with_name("graphviz_worker.py")
    commands = [[program, f"-T{format}"]] if program else []
    commands.append([sys.executable, "-P", str(worker), format])
    for command in commands:
        done = subprocess.run(command, input=source.encode(), capture_output=True, check=False)
        if done.returncode == 0 and done.stdout:
            return done.stdout
    reason = done.stderr.decode(errors="replace").strip().splitlines()
    why = reason[-1] if reason else f"status {done.returncode}"
    raise UsageError(f"Graphviz could not draw this ({why}); try --depth 1, or write a .dot file instead")
