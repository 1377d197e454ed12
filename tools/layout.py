"""DOT to a picture, by the program `dot` if there is one, else by pygraphviz' libraries."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

from tinygraph.errors import UsageError

_DPI = 120.0
_MAX_SIDE = 30_000  # pixels; Cairo cannot do more than 32,767
_MAX_PIXELS = 60_000_000
_MAX_PAGE = 199  # inches; PDF readers stop at 200


def draw(source: str, format: str) -> bytes:
    """The picture of a DOT source.

    Args:
        source: the DOT text.
        format: svg, png or pdf. A PNG is drawn at 120 dots an inch, or at fewer, with a
            warning, where it would become too large.

    Raises:
        UsageError: neither `dot` nor pygraphviz can draw it.
    """
    arguments = []
    if format == "png":
        arguments = [f"-Gdpi={_resolution(source):.4g}"]
    elif format == "pdf":
        arguments = [f"-Gsize={_MAX_PAGE},{_MAX_PAGE}"]
    return _run(source, format, arguments)


def _resolution(source: str) -> float:
    """Dots an inch that keep the picture within the limits."""
    _, _, width, height = _run(source, "plain", []).decode().split(maxsplit=4)[:4]
    wide, high = float(width), float(height)
    most = min(_MAX_SIDE / max(wide, high), math.sqrt(_MAX_PIXELS / (wide * high)))
    if most >= _DPI:
        return _DPI
    warnings.warn(
        f"the picture is {wide:.0f} x {high:.0f} inches: drawn at {most:.0f} instead of {_DPI:.0f} dots an inch; "
        "SVG and PDF have no such limit",
        stacklevel=4,
    )
    return most


def _run(source: str, format: str, arguments: list[str]) -> bytes:
    program = shutil.which("dot")
    worker = Path(__file__).with_name("graphviz_worker.py")
    commands = [[program, f"-T{format}", *arguments]] if program else []
    commands.append([sys.executable, "-P", str(worker), format, *arguments])
    for command in commands:
        done = subprocess.run(command, input=source.encode(), capture_output=True, check=False)
        if done.returncode == 0 and done.stdout:
            return done.stdout
    reason = done.stderr.decode(errors="replace").strip().splitlines()
    why = reason[-1] if reason else f"status {done.returncode}"
    raise UsageError(f"Graphviz could not draw this ({why}); try --depth 1, or write a .dot file instead")
