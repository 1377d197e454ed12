"""`tinygraph ops`: every op, what it costs, its ONNX operators, and whether it has a gradient."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import CodeType

import click

from tinygraph.ops.base import IMPORTERS, OPS, Op, formula
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
    out.write(as_text(_COLUMNS, [_row(OPS[name]) for name in sorted(OPS)], style, out))


def _row(op: type[Op]) -> Sequence[Cell]:
    summary = (inspect.getdoc(op) or "").partition("\n")[0]
    return op.name, summary, formula(op.macs), formula(op.flops), _onnx(op), _refusal(op.vjp) or "yes"


def _refusal(rule: object) -> str:
    why = getattr(rule, "refuses", None)
    return f"no: {why}" if why else ""


def _onnx(op: type[Op]) -> str:
    """The ONNX operators that the op is written as, read off the code of its rule."""
    refusal = _refusal(op.to_onnx)
    if refusal:
        return refusal
    words: dict[str, None] = {}
    pending = [op.to_onnx.__code__]
    while pending:
        code = pending.pop()
        words |= dict.fromkeys(c for c in code.co_consts if isinstance(c, str))
        pending += [c for c in code.co_consts if isinstance(c, CodeType)]
        for name in code.co_names:
            table = getattr(op, name, None) or op.to_onnx.__globals__.get(name)
            words |= dict.fromkeys(
                table.values() if isinstance(table, dict) else [table] if isinstance(table, str) else []
            )
    return ", ".join(word for word in words if word in IMPORTERS)
