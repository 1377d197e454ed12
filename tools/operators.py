"""`tinygraph ops`: every op, what it costs, its ONNX operators, and whether it has a gradient."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Sequence

import click

from tinygraph.onnx import OLDEST_OPSET, OPSET
from tinygraph.ops.base import OPS, Op, formula
from tinygraph.tools.options import answer_options, report_options
from tinygraph.tools.output import Output
from tinygraph.tools.table import Cell, Column, Format, as_text

_COLUMNS = (
    Column("op", "op"),
    Column("what it computes", "summary", rank=1),
    Column("MACs", "macs", rank=4),
    Column("FLOPs", "flops", rank=2),
    Column("ONNX", "onnx", rank=3),
    Column("gradient", "gradient", rank=5),
)


@click.command("ops")
@answer_options
@report_options
def command(style: Format, output: str | None, color: str) -> None:
    """List the ops, with their MACs and FLOPs, ONNX operators and gradients."""
    out = Output(output, color)
    text = as_text(_COLUMNS, [_row(OPS[name]) for name in sorted(OPS)], style, out)
    if style == "table":
        about = f"ONNX operators are read at opset {OLDEST_OPSET} and later, and written at opset {OPSET}."
        text += "\n" + textwrap.fill(about, out.width or 100) + "\n"
    out.write(text)


def _row(op: type[Op]) -> Sequence[Cell]:
    summary = (inspect.getdoc(op) or "").partition("\n")[0]
    onnx, gradient = _refusal(op.to_onnx) or ", ".join(op.onnx), _refusal(op.vjp) or "yes"
    return op.name, summary, formula(op.macs), formula(op.flops), onnx, gradient


def _refusal(rule: object) -> str:
    why = getattr(rule, "refuses", None)
    return f"no: {why}" if why else ""
