"""`tinygraph profile`: what each step of a run takes, and how near it comes to what the machine can do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Literal

import click

import tinygraph
from tinygraph.errors import printable
from tinygraph.passes.compare import random_inputs
from tinygraph.runtime.profile import Profile, ProfileRow, percent
from tinygraph.tools.input_size import refuse_open_sizes
from tinygraph.tools.model_arg import find
from tinygraph.tools.options import answer_options, limits, model_options, report_options
from tinygraph.tools.output import Output, note
from tinygraph.tools.table import (
    Cell,
    Column,
    Format,
    Row,
    count,
    csv_table,
    human_bytes,
    markdown_table,
    show_shape,
    text_table,
)


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.3f} ms"


_COLUMNS = (
    Column("layer", "name", least=13),
    Column("op", "op", rank=5),
    Column("algorithm", "algorithm", rank=1),
    Column("output", "output_shape", rank=3),
    Column("time", "seconds", _milliseconds, right=True),
    Column("of all", "time_share", percent, right=True, rank=2),
    count("FLOPs", "flops", rank=6),
    Column("GFLOP/s", "gflops", "{:,.1f}".format, right=True, rank=1),
    Column("of peak", "peak_share", percent, right=True),
    Column("memory", "output_bytes", human_bytes, right=True, rank=4),
)
_SORT_KEYS = {"time": "seconds", "flops": "flops", "memory": "output_bytes"}


@click.command("profile")
@model_options
@click.option(
    "--precision",
    type=click.Choice(["exact", "fast"]),
    default="exact",
    help="fast: kernels that round more (default: exact).",
)
@click.option("--tune", is_flag=True, help="Take the kernels that are measured to be the fastest.")
@click.option("--threads", type=click.IntRange(min=1), help="That a run may use; default: all cores.")
@click.option("--repeat", type=click.IntRange(min=1), default=10, show_default=True, help="Runs that are measured.")
@click.option("--sort", type=click.Choice(list(_SORT_KEYS)), help="Largest first; default: order of execution.")
@click.option(
    "--top", type=click.IntRange(min=1), metavar="N", help="Only the first N rows; without --sort the slowest."
)
@click.option("--trace", metavar="FILE", help="Write one run there as JSON that Perfetto and chrome://tracing show.")
@answer_options
@report_options
def command(
    model: str,
    input_sizes: tuple[str, ...],
    batch_size: int | None,
    precision: Literal["exact", "fast"],
    tune: bool,
    threads: int | None,
    repeat: int,
    sort: str | None,
    top: int | None,
    trace: str | None,
    style: Format,
    output: str | None,
    color: str,
) -> None:
    """Time each step of MODEL, optimized, on random inputs.

    A step is a node, or several that run together. FLOPs are those of the op's formula, whatever
    the algorithm does. The peak is what products of large matrices reach on this machine with as
    many threads, measured on the spot: Winograd's convolutions, which do less arithmetic, may be above it.
    """
    out = Output(output, color)
    graph = refuse_open_sizes(find(model).trace(input_sizes, batch_size))
    graph = graph.bind(**dict.fromkeys(graph.symbols, 1))
    session = tinygraph.compile(graph, threads=threads, precision=precision, tune=tune, budget=limits().budget)
    profile = session.profile(*random_inputs(graph).values(), repeat=repeat)
    key = _SORT_KEYS[sort or "time"]
    rows = sorted(profile.rows, key=lambda row: getattr(row, key), reverse=True) if sort or top else list(profile.rows)
    rows = rows[:top]
    if trace is not None:
        profile.save(trace)
        note(f"wrote {trace}")
    cells = [_cells(row) for row in rows]
    if style == "json":
        out.write(_json(model, precision, replace(profile, rows=tuple(rows))))
    elif style == "csv":
        out.write(csv_table(_COLUMNS, cells))
    elif style == "md":
        out.write(markdown_table(_COLUMNS, [*cells, _total(profile)]))
    else:
        inputs = [f"input {v.name}: {v.type.dtype.name} {show_shape(v.type.shape)}" for v in graph.inputs]
        title = click.style(printable(model), bold=True) if out.color else printable(model)
        table = text_table(_COLUMNS, cells, out, _total(profile))
        hidden = [f"({len(rows)} of {len(profile.rows)} rows)", ""] if len(rows) < len(profile.rows) else []
        out.write("\n".join([title, *map(printable, inputs), "", table, *hidden, *_footer(profile, precision), ""]))


def _cells(row: ProfileRow) -> Row:
    cells = (getattr(row, column.key) for column in _COLUMNS)
    return [show_shape(cell) if isinstance(cell, tuple) else cell for cell in cells]


def _total(profile: Profile) -> Row:
    known: dict[str, Cell] = {"name": "call", "time_share": 1.0}
    return [known.get(column.key, getattr(profile.totals, column.key, "")) for column in _COLUMNS]


def _footer(profile: Profile, precision: str) -> list[str]:
    totals = profile.totals
    share = percent(totals.other_seconds / totals.seconds)
    return [
        f"besides the steps  {_milliseconds(totals.other_seconds)} ({share})",
        f"{profile.conditions}, precision {precision}",
    ]


def _json(model: str, precision: str, profile: Profile) -> str:
    told = profile.to_dict()
    return json.dumps({"schema": told.pop("schema"), "model": model, "precision": precision, **told}, indent=2) + "\n"
