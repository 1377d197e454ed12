"""Pictures of graphs: the function tinygraph.render and the command `tinygraph render`."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import click

import tinygraph
from tinygraph.errors import UsageError
from tinygraph.files import replacing
from tinygraph.ir import Graph
from tinygraph.tools.model_arg import find
from tinygraph.tools.options import model_options, report_options
from tinygraph.tools.output import note, note_lines

_FORMATS = ("dot", "svg", "png", "pdf", "html")
_MOST_BOXES = 20_000  # Graphviz needs minutes and gigabytes for more


def render(graph: Graph, path: str | os.PathLike[str], depth: int | None = None) -> None:
    """Draws a graph: a box for each node with its shape, a frame for each module.

    Args:
        graph: what is drawn; no weights are needed or made.
        path: where to; the suffix .dot, .svg, .png, .pdf or .html says what is written.
        depth: modules this deep in the tree are drawn as one box; None draws every node.

    Raises:
        UsageError: another suffix, more than Graphviz can lay out, or a file that cannot be written.
    """
    from tinygraph.tools import dot, layout

    path = Path(path)
    format = path.suffix.lower().lstrip(".")
    if format not in _FORMATS:
        raise UsageError(
            f"{path}: no picture has the suffix {path.suffix or '(none)'!r}; use {', '.join('.' + f for f in _FORMATS)}"
        )
    if depth is not None and depth < 1:
        raise UsageError(f"depth is {depth}; it counts from 1")
    source = dot.dot(graph, depth)
    if format == "dot":
        with replacing(path) as part:
            part.write_text(source, encoding="utf-8", newline="\n")
        return
    boxes = source.count(" [label=")
    if boxes > _MOST_BOXES:
        raise UsageError(f"{boxes:,} boxes are too many to lay out; use a depth (--depth 1), or write a .dot file")
    picture = layout.draw(source, format)
    with replacing(path) as part:
        part.write_bytes(picture)


@click.command("render")
@model_options
@click.option("-o", "--output", metavar="FILE", required=True, help="net.svg, .png, .pdf, .html or .dot.")
@click.option("--optimized", is_flag=True, help="Draw what inference runs, after the passes.")
@click.option("--depth", type=click.IntRange(min=1), help="Draw modules this deep in the tree as one box.")
@report_options
def command(
    model: str,
    input_sizes: tuple[str, ...],
    batch_size: int | None,
    output: str,
    optimized: bool,
    depth: int | None,
) -> None:
    """Draw MODEL; the suffix of the file says as what."""
    graph, unread, problem = find(model).trace_partly(input_sizes, batch_size)
    if problem:
        note_lines(problem)
    if unread:
        note(f"{len(unread)} nodes are not drawn: the shapes of what they make are not known")
    if optimized:
        graph = tinygraph.optimize(graph)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        render(graph, output, depth)
    for warning in caught:
        note(str(warning.message))
    note(f"wrote {output}")
