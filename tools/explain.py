"""`tinygraph optimize`: what each pass does to a network, and the network after all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

import tinygraph
from tinygraph.errors import UsageError
from tinygraph.ir import Graph
from tinygraph.passes.pipeline import PIPELINES, Step, explain
from tinygraph.tools.input_size import refuse_open_sizes
from tinygraph.tools.model_arg import find
from tinygraph.tools.options import color_option, format_option, model_options, report_options, weights_option
from tinygraph.tools.output import Output, note
from tinygraph.tools.table import Cell, Column, Format, csv_table, human_bytes, markdown_table, text_table

SCHEMA = 1


def _change(number: float) -> str:
    return f"{number:+,}" if number else ""


def _change_of_bytes(number: float) -> str:
    return f"{'-' if number < 0 else '+'}{human_bytes(abs(number))}" if number else ""


_STEPS = (
    Column("pass", "pass"),
    Column("nodes", "nodes", _change, right=True, rank=1),
    Column("params", "params", _change, right=True, rank=2),
    Column("FLOPs", "flops", _change, right=True, rank=3),
    Column("memory", "activation_bytes", _change_of_bytes, right=True, rank=4),
    Column("what changed", "summary", rank=0),
)
_SUMS = (
    Column("", "quantity", least=10),
    Column("before", "before", right=True),
    Column("after", "after", right=True),
    Column("change", "change", right=True, rank=1),
)


@click.command("optimize")
@model_options
@weights_option("to go into the result.")
@click.option("--passes", default="inference", show_default=True, help="A pipeline, or passes with commas between.")
@click.option("--explain", "steps", is_flag=True, help="Tell what each pass did.")
@click.option("-o", "--output", metavar="FILE", help="Save the result as this .onnx file.")
@format_option
@color_option
@report_options
def command(
    model: str,
    input_sizes: tuple[str, ...],
    batch_size: int | None,
    weights: str | None,
    passes: str,
    steps: bool,
    output: str | None,
    style: Format,
    color: str,
) -> None:
    """Make MODEL smaller and faster without changing its answers."""
    if output is not None and not output.endswith(".onnx"):
        raise UsageError(f"-o {output}: only .onnx can be written; name it {output}.onnx")
    found = find(model)
    if weights is not None:
        found.load(weights)
    before = refuse_open_sizes(found.trace(input_sizes, batch_size))
    done = explain(before, passes if passes in PIPELINES else [name.strip() for name in passes.split(",")])
    after = done[-1].after if done else before
    if output:
        tinygraph.save(after, output)
        note(f"wrote {output}")
    out = Output(color=color)
    tables: list[tuple[Sequence[Column], Sequence[Sequence[Cell]]]]
    tables = [(_STEPS, [_step(step) for step in done])] if steps and done else []
    tables.append((_SUMS, _sums(before, after)))
    if style == "json":
        out.write(json.dumps(_to_dict(model, before, after, done), indent=2) + "\n")
    elif style == "csv":
        out.write(csv_table(*tables[0]))  # one file, one table: --explain says which
    elif style == "md":
        out.write("\n".join(markdown_table(columns, rows) for columns, rows in tables))
    else:
        out.write("\n".join(text_table(columns, rows, out) for columns, rows in tables))


def _to_dict(model: str, before: Graph, after: Graph, done: Sequence[Step]) -> dict[str, Any]:
    """Counts before and after, and how much each pass changed them."""
    counts = [{"nodes": len(graph.nodes), **asdict(tinygraph.analyze(graph).totals)} for graph in (before, after)]
    steps = [dict(zip((column.key for column in _STEPS), _step(step), strict=True)) for step in done]
    return {"schema": SCHEMA, "model": model, "before": counts[0], "after": counts[1], "steps": steps}


def _step(step: Step) -> Sequence[Cell]:
    old, new = step.before_totals, step.after_totals
    return (
        step.name,
        len(step.after.nodes) - len(step.before.nodes),
        new.params - old.params,
        new.flops - old.flops,
        new.activation_bytes - old.activation_bytes,
        step.summary,
    )


def _sums(before: Graph, after: Graph) -> list[Sequence[Cell]]:
    """A row for each quantity: before, after, and the difference in percent."""
    old, new = tinygraph.analyze(before).totals, tinygraph.analyze(after).totals
    counts = (
        ("nodes", len(before.nodes), len(after.nodes)),
        ("params", old.params, new.params),
        ("buffers", old.buffers, new.buffers),
        ("MACs", old.macs, new.macs),
        ("FLOPs", old.flops, new.flops),
        ("activation bytes", old.activation_bytes, new.activation_bytes),
        ("peak bytes", old.peak_bytes, new.peak_bytes),
    )
    return [(name, a, b, f"{100 * (b - a) / a:+.3g} %" if a != b and a else "") for name, a, b in counts]
