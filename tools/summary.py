"""`tinygraph summary`: what each layer of a network costs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace

import click

from tinygraph.errors import UsageError, printable
from tinygraph.ir import Graph, Mode
from tinygraph.passes.analyze import analyze
from tinygraph.passes.analyze_training import analyze_training
from tinygraph.passes.report import Report, Row, TrainingTotals
from tinygraph.tools import batches
from tinygraph.tools.input_size import refuse_open_sizes
from tinygraph.tools.model_arg import find
from tinygraph.tools.options import answer_options, model_options_with_batches, report_options, weights_option
from tinygraph.tools.output import Output, note, note_lines
from tinygraph.tools.table import (
    Cell,
    Column,
    Format,
    at_least,
    count,
    csv_table,
    human_bytes,
    human_count,
    markdown_table,
    show_shape,
    text_table,
)

INCOMPLETE = 3

_LAYER = Column("layer", "name", least=13)
_OP = Column("op", "op", rank=5)
_OUTPUT = Column("output", "output_shape", rank=3)
_PARAMS = count("params", "params", rank=0)
_FLOPS = count("FLOPs", "flops", rank=4)
_MACS = count("MACs", "macs", rank=1)
_MEMORY = Column("memory", "activation_bytes", human_bytes, right=True, rank=2)
_COSTS = (_MACS, _FLOPS, _MEMORY)  # of which parts may not be known
_COLUMNS = {
    "inference": (
        _LAYER,
        _OP,
        _OUTPUT,
        _PARAMS,
        _MACS,
        _FLOPS,
        _MEMORY,
    ),
    "train": (
        _LAYER,
        _OP,
        _OUTPUT,
        _PARAMS,
        count("MACs forward", "forward_macs", rank=1),
        count("MACs for dx", "input_gradient_macs", rank=1),
        count("MACs for dw", "weight_gradient_macs", rank=1),
        _FLOPS,
        Column("kept", "kept_bytes", human_bytes, right=True, rank=2),
    ),
}
_SORT_KEYS = ("params", "macs", "flops", "memory")
_GRAPH_MODE: dict[str, Mode] = {"inference": "inference", "train": "training"}
_INDENT = " " * 13
_CONVENTIONS = {
    "inference": (
        "MACs are the multiply-adds of convolutions and matrix products, without bias. FLOPs are 2 x MACs "
        "plus every other arithmetic operation. Memory is that of the arrays which a layer makes; "
        "the peak counts those alive at one time, and the inputs."
    ),
    "train": (
        "MACs are the multiply-adds of convolutions and matrix products, without bias: those of the forward pass, "
        "and of the backward pass for dx, the gradient by what comes in, and for dw, the gradient by the layer's "
        "own parameters. FLOPs are 2 x MACs plus every other arithmetic operation, of both passes. Kept is what "
        "the layer makes and the backward pass reads again; the peak counts inputs, activations and gradients "
        "alive at one time. Loss and optimizer are not counted."
    ),
}


@click.command("summary")
@model_options_with_batches
@weights_option("they have to fit, and change no count.")
@click.option(
    "--mode",
    type=click.Choice(list(_COLUMNS)),
    default="inference",
    help="Default: inference; train counts the forward and the backward pass of a training step.",
)
@click.option(
    "--freeze",
    multiple=True,
    metavar="PATTERN",
    help="With --mode train: parameters of such names are not trained (features.*); may be repeated.",
)
@click.option("--depth", type=click.IntRange(min=0), help="Add up the modules this deep in the tree.")
@click.option("--sort", type=click.Choice(_SORT_KEYS), help="Largest first; default: order of execution.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Only the first N rows.")
@click.option("--strict", is_flag=True, help="Exit with status 3 if there is something to remark about the counts.")
@answer_options
@report_options
def command(
    model: str,
    input_sizes: tuple[str, ...],
    batch_sizes: tuple[int, ...],
    weights: str | None,
    mode: str,
    freeze: tuple[str, ...],
    depth: int | None,
    sort: str | None,
    top: int | None,
    strict: bool,
    style: Format,
    output: str | None,
    color: str,
) -> int:
    """Show what each layer of MODEL makes and costs, in inference or in a training step.

    With several batch sizes (-b 1,8,64), what all layers together cost at each of them.
    """
    out = Output(output, color)
    if freeze and mode != "train":
        raise UsageError("--freeze is about training: add --mode train")
    found = find(model)
    if weights is not None:
        found.load(weights)
    graphs, reports = [], []
    for size in batch_sizes or (None,):
        graph, unread, problem = found.trace_partly(input_sizes, size, _GRAPH_MODE[mode])
        if problem and size in (None, *batch_sizes[:1]):
            note_lines(problem)
        graphs.append(refuse_open_sizes(graph))
        reports.append(_priced(graph, model, mode, freeze, unread))
    if len(reports) > 1:
        if sort or top or depth is not None:
            raise UsageError("--depth, --sort and --top are about layers: give one batch size")
        conventions = ["", *_conventions(mode, out), ""] if style == "table" else []
        out.write(batches.answer(batch_sizes, reports, style, out) + "\n".join(conventions))
    else:
        _show_layers(reports[0], graphs[0], depth, sort, top, style, out)
    if style != "json":
        for remark in dict.fromkeys(remark for report in reports for remark in report.diagnostics):
            note(remark)
    return INCOMPLETE if strict and any(report.diagnostics for report in reports) else 0


def _show_layers(
    report: Report, graph: Graph, depth: int | None, sort: str | None, top: int | None, style: Format, out: Output
) -> None:
    mode = report.mode
    columns = _COLUMNS[mode]
    rows = report.rows if depth is None else report.by_module(depth)
    if sort:
        key = columns[-1].key if sort == "memory" else sort
        rows = tuple(sorted(rows, key=lambda row: getattr(row, key) or 0, reverse=True))
    shown = replace(report, rows=rows[:top])
    if style == "json":
        out.write(shown.to_json() + "\n")
    elif style == "csv":
        out.write(csv_table(columns, [_cells(row, columns) for row in shown.rows]))
    elif style == "md":
        out.write(markdown_table(columns, [*(_told(row, columns) for row in shown.rows), _total(report, columns)]))
    else:
        out.write(_text(shown, len(rows), _weight_bytes(graph), out))


def _priced(graph: Graph, model: str, mode: str, freeze: Sequence[str], unread: Sequence[str]) -> Report:
    if mode == "train":
        return analyze_training(graph, model=model, frozen=freeze)
    return analyze(graph, model=model, unread=unread)


def _cells(row: Row, columns: Sequence[Column]) -> Sequence[Cell]:
    cells = (getattr(row, column.key) for column in columns)
    return [show_shape(cell) if isinstance(cell, tuple) else cell for cell in cells]


def _told(row: Row, columns: Sequence[Column]) -> Sequence[Cell]:
    """The cells as people read them: what is not known is a ?, what is not known whole is >= its known part."""
    cells = list(_cells(row, columns))
    for i, column in enumerate(columns):
        if cells[i] is None:
            cells[i] = "?"
        elif column in _COSTS and not (row.complete or row.op):
            cells[i] = at_least(cells[i], column)
    return cells


def _total(report: Report, columns: Sequence[Column]) -> Sequence[Cell]:
    cells = [getattr(report.totals, column.key, "") for column in columns[1:]]
    if not report.complete:
        cells = [at_least(c, column) if column in _COSTS else c for c, column in zip(cells, columns[1:], strict=True)]
    return ["total", *cells]


def _weight_bytes(graph: Graph) -> int:
    return sum(v.type.nbytes for v in graph.data if v.kind != "const")


def _text(report: Report, rows: int, weight_bytes: int, out: Output) -> str:
    columns = _COLUMNS[report.mode]
    table = text_table(columns, [_told(row, columns) for row in report.rows], out, _total(report, columns))
    title = click.style(printable(report.model), bold=True) if out.color else printable(report.model)
    inputs = [f"input {name}: {type.dtype.name} {show_shape(type.shape)}" for name, type in report.inputs]
    hidden = [f"({len(report.rows)} of {rows} rows)", ""] if len(report.rows) < rows else []
    footer = _footer(report, weight_bytes)
    if out.width is not None:
        footer = [line for text in footer for line in textwrap.wrap(text, out.width, subsequent_indent=_INDENT)]
    conventions = _conventions(report.mode, out)
    return "\n".join([title, *map(printable, inputs), "", table, *hidden, *footer, "", *conventions, ""])


def _conventions(mode: str, out: Output) -> list[str]:
    return textwrap.wrap(_CONVENTIONS[mode], min(out.width or 100, 100))


def _footer(report: Report, weight_bytes: int) -> list[str]:
    t = report.totals
    trainable = "all trainable" if t.trainable_params == t.params else f"{t.trainable_params:,} trainable"
    least = "" if report.complete else ">= "  # parts of it are not known
    lines = [
        f"parameters   {t.params:,} ({human_count(t.params)}, {trainable})",
        f"buffers      {t.buffers:,} ({human_count(t.buffers)})",
        f"weights      {weight_bytes:,} bytes ({human_bytes(weight_bytes)}, parameters and buffers)",
        f"MACs         {least}{t.macs:,} ({human_count(t.macs)})",
        f"FLOPs        {least}{t.flops:,} ({human_count(t.flops)})",
        f"activations  {least}{t.activation_bytes:,} bytes ({human_bytes(t.activation_bytes)})",
        f"at the peak  {least}{t.peak_bytes:,} bytes ({human_bytes(t.peak_bytes)})",
    ]
    if isinstance(t, TrainingTotals):
        lines[3:6] = [
            f"MACs         {t.macs:,} ({human_count(t.macs)}: {_both(t.forward_macs, t.backward_macs)})",
            f"FLOPs        {t.flops:,} ({human_count(t.flops)}: {_both(t.forward_flops, t.backward_flops)})",
            f"kept         {t.kept_bytes:,} bytes ({human_bytes(t.kept_bytes)}, for the backward pass)",
        ]
    return lines


def _both(forward: int, backward: int) -> str:
    return f"{human_count(forward)} forward, {human_count(backward)} backward"
