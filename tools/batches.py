"""`tinygraph summary -b 1,8,64`: what a network costs at each of several batch sizes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from tinygraph.errors import printable
from tinygraph.ir import Symbol
from tinygraph.passes.report import SCHEMA, Report
from tinygraph.tools.output import Output
from tinygraph.tools.table import (
    Cell,
    Column,
    Format,
    at_least,
    count,
    csv_table,
    human_bytes,
    markdown_table,
    show_shape,
    text_table,
)

_BATCH = count("batch", "batch", rank=0)
_PARAMS = count("params", "params", rank=3)
_FLOPS = count("FLOPs", "flops", rank=2)
_PEAK = Column("at the peak", "peak_bytes", human_bytes, right=True, rank=1)
_COLUMNS = {
    "inference": (
        _BATCH,
        _PARAMS,
        count("MACs", "macs", rank=1),
        _FLOPS,
        Column("activations", "activation_bytes", human_bytes, right=True, rank=2),
        _PEAK,
    ),
    "train": (
        _BATCH,
        _PARAMS,
        count("MACs forward", "forward_macs", rank=1),
        count("MACs for dx", "input_gradient_macs", rank=1),
        count("MACs for dw", "weight_gradient_macs", rank=1),
        _FLOPS,
        Column("kept", "kept_bytes", human_bytes, right=True, rank=2),
        _PEAK,
    ),
}


def answer(sizes: Sequence[int], reports: Sequence[Report], style: Format, out: Output) -> str:
    """A row for each batch size, as it is to be written to that output.

    Args:
        sizes: the batch sizes.
        reports: of the same network, one for each of them.
        style: of the answer.
        out: where it will go.
    """
    if style == "json":
        return json.dumps(_to_dict(sizes, reports), indent=2) + "\n"
    first = reports[0]
    columns = _COLUMNS[first.mode]
    rows: list[Sequence[Cell]] = [
        (size, *(getattr(report.totals, column.key) for column in columns[1:]))
        for size, report in zip(sizes, reports, strict=True)
    ]
    if style == "csv":
        return csv_table(columns, rows)
    if not all(report.complete for report in reports):
        rows = [[*row[:2], *map(at_least, row[2:], columns[2:])] for row in rows]
    if style == "md":
        return markdown_table(columns, rows)
    title = click.style(printable(first.model), bold=True) if out.color else printable(first.model)
    batch = Symbol("N")
    inputs = [f"input {name}: {type.dtype.name} {show_shape((batch, *type.dims[1:]))}" for name, type in first.inputs]
    return "\n".join([title, *map(printable, inputs), "", text_table(columns, rows, out)])


def _to_dict(sizes: Sequence[int], reports: Sequence[Report]) -> dict[str, object]:
    """As a report is alone, but without rows, and with the rest once for each batch size."""
    told = [report.to_dict() for report in reports]
    batches = [
        {"batch": size, **{key: one[key] for key in ("inputs", "complete", "totals", "diagnostics") if key in one}}
        for size, one in zip(sizes, told, strict=True)
    ]
    mode = {"mode": "train"} if reports[0].mode == "train" else {}
    return {"schema": SCHEMA, "model": reports[0].model, **mode, "batches": batches}
