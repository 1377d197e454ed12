"""`tinygraph summary`: what each layer of a network costs."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace

import click

import tinygraph
from tinygraph.ir import Graph
from tinygraph.passes.report import Report, Row
from tinygraph.tools.input_size import refuse_open_sizes
from tinygraph.tools.model_arg import find
from tinygraph.tools.options import answer_options, model_options, report_options
from tinygraph.tools.output import Output, note, printable
from tinygraph.tools.table import (
    Cell,
    Column,
    Format,
    count,
    csv_table,
    human_bytes,
    human_count,
    markdown_table,
    show_shape,
    text_table,
)

INCOMPLETE = 3

_COLUMNS = (
    Column("layer", "name", least=13),
    Column("op", "op", rank=5),
    Column("output", "output_shape", rank=3),
    count("params", "params", rank=0),
    count("MACs", "macs", rank=1),
    count("FLOPs", "flops", rank=4),
    Column("memory", "activation_bytes", human_bytes, right=True, rank=2),
)
_SORT_KEYS: dict[str, Callable[[Row], int]] = {
    "params": lambda row: row.params,
    "macs": lambda row: row.macs,
    "flops": lambda row: row.flops,
    "memory": lambda row: row.activation_bytes,
}
_INDENT = " " * 13
_CONVENTIONS = (
    "MACs are the multiply-adds of convolutions and matrix products, without bias. FLOPs are 2 x MACs "
    "plus every other arithmetic operation. Memory is that of the arrays which a layer makes; "
    "the peak counts those alive at one time, and the inputs."
)


@click.command("summary")
@model_options
@click.option("--depth", type=click.IntRange(min=0), help="Add up the modules this deep in the tree.")
@click.option("--sort", type=click.Choice(list(_SORT_KEYS)), help="Largest first; default: order of execution.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Only the first N rows.")
@click.option("--strict", is_flag=True, help="Exit with status 3 if there is something to remark about the counts.")
@answer_options
@report_options
def command(
    model: str,
    input_sizes: tuple[str, ...],
    batch_size: int | None,
    depth: int | None,
    sort: str | None,
    top: int | None,
    strict: bool,
    style: Format,
    output: str | None,
    color: str,
) -> int:
    """Show what each layer of MODEL makes and costs."""
    out = Output(output, color)
    graph = refuse_open_sizes(find(model).trace(input_sizes, batch_size))
    report = tinygraph.analyze(graph, model=model)
    rows = report.rows if depth is None else report.by_module(depth)
    if sort:
        rows = tuple(sorted(rows, key=_SORT_KEYS[sort], reverse=True))
    shown = replace(report, rows=rows[:top])
    if style == "json":
        out.write(shown.to_json() + "\n")
    elif style == "csv":
        out.write(csv_table(_COLUMNS, [_cells(row) for row in shown.rows]))
    elif style == "md":
        out.write(markdown_table(_COLUMNS, [*map(_cells, shown.rows), _total(report)]))
    else:
        out.write(_text(shown, len(rows), _weight_bytes(graph), out))
    if style != "json":
        for remark in report.diagnostics:
            note(remark)
    return INCOMPLETE if strict and report.diagnostics else 0


def _cells(row: Row) -> Sequence[Cell]:
    shape = show_shape(row.output_shape)
    return row.name, row.op, shape, row.params, row.macs, row.flops, row.activation_bytes


def _total(report: Report) -> Sequence[Cell]:
    totals = report.totals
    return "total", "", "", totals.params, totals.macs, totals.flops, totals.activation_bytes


def _weight_bytes(graph: Graph) -> int:
    return sum(v.type.nbytes for v in graph.data if v.kind != "const")


def _text(report: Report, rows: int, weight_bytes: int, out: Output) -> str:
    table = text_table(_COLUMNS, [_cells(row) for row in report.rows], out, _total(report))
    title = click.style(printable(report.model), bold=True) if out.color else printable(report.model)
    inputs = [f"input {name}: {type.dtype.name} {show_shape(type.shape)}" for name, type in report.inputs]
    hidden = [f"({len(report.rows)} of {rows} rows)", ""] if len(report.rows) < rows else []
    footer = _footer(report, weight_bytes)
    if out.width is not None:
        footer = [line for text in footer for line in textwrap.wrap(text, out.width, subsequent_indent=_INDENT)]
    conventions = textwrap.wrap(_CONVENTIONS, min(out.width or 100, 100))
    return "\n".join([title, *map(printable, inputs), "", table, *hidden, *footer, "", *conventions, ""])


def _footer(report: Report, weight_bytes: int) -> list[str]:
    t = report.totals
    trainable = "all trainable" if t.trainable_params == t.params else f"{t.trainable_params:,} trainable"
    return [
        f"parameters   {t.params:,} ({human_count(t.params)}, {trainable})",
        f"buffers      {t.buffers:,} ({human_count(t.buffers)})",
        f"weights      {weight_bytes:,} bytes ({human_bytes(weight_bytes)}, parameters and buffers)",
        f"MACs         {t.macs:,} ({human_count(t.macs)})",
        f"FLOPs        {t.flops:,} ({human_count(t.flops)})",
        f"activations  {t.activation_bytes:,} bytes ({human_bytes(t.activation_bytes)})",
        f"at the peak  {t.peak_bytes:,} bytes ({human_bytes(t.peak_bytes)})",
    ]
