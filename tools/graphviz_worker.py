"""Lays out and draws DOT with the Graphviz libraries inside pygraphviz' wheel.

A program of its own, run as `python -P graphviz_worker.py FORMAT [ARGUMENTS] < DOT > PICTURE`: the
libraries talk to standard error, cannot be interrupted, and read their font settings once per
process.
"""

from __future__ import annotations

import html
import os
import sys
import tempfile
from pathlib import Path

_CONFIG = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}</dir>{others}
  <cachedir>{folder}/cache</cachedir>
  <alias binding="same"><family>Helvetica</family><prefer><family>Aileron</family></prefer></alias>
</fontconfig>
"""
_SYSTEM = ("/usr/share/fonts", "/usr/local/share/fonts", "/System/Library/Fonts", "/Library/Fonts", "C:/Windows/Fonts")


def use_own_font(folder: Path, source: bytes) -> None:
    """Gives Graphviz the font that Pillow carries, so that text shows on a machine without fonts.

    The machine's fonts are searched only for letters that Pillow's lacks, so that a picture
    looks the same everywhere.
    """
    from PIL import ImageFont

    font = getattr(ImageFont.load_default(10), "font_bytes", None)
    if font is None:
        return
    (folder / "font.ttf").write_bytes(font)
    others = "" if source.isascii() else "".join(f"<dir>{path}</dir>" for path in _SYSTEM)
    config = folder / "fonts.conf"
    config.write_text(_CONFIG.format(folder=html.escape(str(folder)), others=others), encoding="utf-8")
    os.putenv("FONTCONFIG_FILE", str(config))


def main() -> None:
    """Reads DOT from standard input, writes the picture to standard output."""
    source = sys.stdin.buffer.read()
    with tempfile.TemporaryDirectory() as folder:
        use_own_font(Path(folder), source)
        import pygraphviz  # type: ignore[import-untyped]  # has no stubs

        graph = pygraphviz.AGraph(string=source.decode())
        sys.stdout.buffer.write(graph.draw(format=sys.argv[1], prog="dot", args=" ".join(sys.argv[2:])))


if __name__ == "__main__":
    main()
