"""Lays out DOT with the Graphviz libraries inside pygraphviz' wheel.

A program of its own, run as `python -P graphviz_worker.py FORMAT < DOT > RESULT`: the libraries
talk to standard error and cannot be interrupted.

Importing pygraphviz itself loads Pango, and with it GLib and X11, which a bare machine lacks.
Layout and SVG need neither: the libraries that do them are loaded alone. Where they are not
found under the names that Linux wheels give them, pygraphviz is imported after all.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path

_PLUGINS = ("dot_layout", "core")


class _Symbol(ctypes.Structure):
    """lt_symlist_t: how Graphviz is told of plugins that are loaded already."""

    _fields_ = (("name", ctypes.c_char_p), ("address", ctypes.c_void_p))


def draw_with_libraries(source: bytes, format: str, folder: Path) -> bytes:
    """The layout, by the C interface of Graphviz; OSError if a library is missing."""
    cgraph = _load(folder, "cgraph")
    gvc = _load(folder, "gvc")
    symbols = (_Symbol * (len(_PLUGINS) + 1))()
    for symbol, plugin in zip(symbols, _PLUGINS, strict=False):
        name = f"gvplugin_{plugin}_LTX_library"
        symbol.name = name.encode()
        symbol.address = ctypes.addressof(ctypes.c_char.in_dll(_load(folder, f"gvplugin_{plugin}"), name))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    gvc.gvContextPlugins.restype = cgraph.agmemread.restype = pointer
    gvc.gvContextPlugins.argtypes = [pointer, ctypes.c_int]
    gvc.gvLayout.argtypes = [pointer, pointer, text]
    gvc.gvRenderData.argtypes = [pointer, pointer, text, ctypes.POINTER(text), ctypes.POINTER(ctypes.c_size_t)]
    cgraph.agmemread.argtypes = [text]
    context = gvc.gvContextPlugins(symbols, 0)
    graph = cgraph.agmemread(source)
    if not graph or gvc.gvLayout(context, graph, b"dot"):
        sys.exit(1)  # Graphviz has said why on standard error
    result, length = text(), ctypes.c_size_t()
    if gvc.gvRenderData(context, graph, format.encode(), ctypes.byref(result), ctypes.byref(length)):
        sys.exit(1)
    return ctypes.string_at(result, length.value)


def _load(folder: Path, stem: str) -> ctypes.CDLL:
    for path in sorted(folder.glob(f"lib{stem}-*.so*")):
        return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    raise OSError(f"there is no lib{stem} in {folder}")


def draw_with_pygraphviz(source: bytes, format: str) -> bytes:
    """The layout, by pygraphviz."""
    import pygraphviz  # type: ignore[import-untyped]  # has no stubs

    drawn: bytes = pygraphviz.AGraph(string=source.decode()).draw(format=format, prog="dot")
    return drawn


def main() -> None:
    """Reads DOT from standard input, writes the layout to standard output."""
    source, format = sys.stdin.buffer.read(), sys.argv[1]
    spec = importlib.util.find_spec("pygraphviz")
    if spec is None or spec.origin is None:
        sys.exit("pygraphviz is not installed: pip install pygraphviz")
    try:
        drawn = draw_with_libraries(source, format, Path(spec.origin).parents[1] / "pygraphviz.libs")
    except OSError:
        drawn = draw_with_pygraphviz(source, format)
    sys.stdout.buffer.write(drawn)


if __name__ == "__main__":
    main()
