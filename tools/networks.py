"""`tinygraph models`: every built-in network with its size."""

from __future__ import annotations

from collections.abc import Sequence

import click

import tinygraph
from tinygraph.tools.options import answer_options, report_options
from tinygraph.tools.output import Output
from tinygraph.tools.table import Cell, Column, Format, as_text, count, show_shape

_COLUMNS = (
    Column("model", "model"),
    Column("input", "input", rank=3),
    count("params", "params", rank=1),
    count("MACs", "macs", rank=2),
)


@click.command("models")
@answer_options
@report_options
def command(style: Format, output: str | None, color: str) -> None:
    """List the built-in networks, with parameters and multiply-adds for one image."""
    out = Output(output, color)
    out.write(as_text(_COLUMNS, [_row(name) for name in tinygraph.models.names()], style, out))


def _row(name: str) -> Sequence[Cell]:
    specs = tinygraph.models.inputs(name)
    graph = tinygraph.trace(tinygraph.models.create(name), *specs)
    shapes = ", ".join(show_shape(v.type.shape) for v in graph.inputs)
    params = sum(v.type.size for v in graph.data if v.kind in ("param", "frozen"))
    return name, shapes, params, sum(node.op.macs(node.input_types, node.output_types) for node in graph.nodes)
