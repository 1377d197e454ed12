"""The report that `analyze` gives: rows, totals, remarks. Plain Python integers throughout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from tinygraph.ir import Shape, TensorType, dtype_name

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One node, or the nodes of one module together.

    Attributes:
        name: of the node; of a group, its module path.
        module: path of the module that it was traced from.
        source: file and line that it was traced from.
        op: name of the op; empty for a group of several nodes.
        input_shapes: of all inputs, weights included; of a group, those of its first node.
        output_shape: of the first output; of a group, that of its last node.
        params: numbers in the parameters that no earlier row has counted.
        trainable_params: those of them that training changes.
        macs: multiply-adds; None if not known. In a group, the least that it can be.
        flops: arithmetic operations, two for each multiply-add; likewise.
        activation_bytes: memory of the arrays made; likewise.
        complete: whether all of these are known.
    """

    name: str
    module: str
    source: str
    op: str
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    params: int
    trainable_params: int
    macs: int | None
    flops: int | None
    activation_bytes: int | None
    complete: bool = field(default=True, kw_only=True)


@dataclass(frozen=True)
class Split:
    """What the passes of a training step have in the counts of a row, or in the totals.

    Attributes:
        forward_macs: multiply-adds of the forward pass.
        backward_macs: those of the backward pass.
        input_gradient_macs: those of them for what comes in: layers before need it. Includes
            what a checkpoint computes again.
        weight_gradient_macs: those of them for the layer's own parameters.
        forward_flops: arithmetic operations of the forward pass.
        backward_flops: those of the backward pass.
        kept_bytes: memory of the arrays that the forward pass makes and the backward pass reads.
    """

    forward_macs: int
    backward_macs: int
    input_gradient_macs: int
    weight_gradient_macs: int
    forward_flops: int
    backward_flops: int
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class TrainingRow(Split, Row):
    """One node of the forward pass and what the backward pass does for it; counts are of both together."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a graph.

    Attributes:
        params: numbers in all parameters, each tensor once, trainable or not, read or not.
        trainable_params: those that training changes.
        buffers: numbers in buffers (BatchNorm statistics).
        macs: multiply-adds.
        flops: arithmetic operations, two for each multiply-add.
        activation_bytes: memory of all arrays that nodes make.
        peak_bytes: most that inputs and activations take at any one time.
    """

    params: int
    trainable_params: int
    buffers: int
    macs: int
    flops: int
    activation_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class TrainingTotals(Split, Totals):
    """Sums over a training step."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a graph costs.

    Attributes:
        model: name of the graph; may be empty.
        inputs: (name, type) of each input, with the numbers that were counted with.
        totals: the sums.
        rows: one for each node, in order.
        diagnostics: remarks, one line each.
        mode: "train" for forward and backward pass, where rows and totals are TrainingRows and
            TrainingTotals.
        complete: whether the cost of every node is known; if not, totals are the least that it can be.
    """

    model: str
    inputs: tuple[tuple[str, TensorType], ...]
    totals: Totals
    rows: tuple[Row, ...]
    diagnostics: tuple[str, ...]
    mode: Literal["inference", "train"] = "inference"
    complete: bool = True

    def by_module(self, depth: int) -> tuple[Row, ...]:
        """Rows added up over the first `depth` parts of their module paths.

        `layer1.0.conv1` and `layer1.1.conv2` are both in `layer1` at depth 1. A node outside of
        all modules stays a row of its own; depth 0 makes one row of everything.
        """
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            path = ".".join(row.module.split(".")[:depth])
            groups.setdefault(path if path or depth <= 0 else row.name, []).append(row)
        return tuple(_sum(path, rows) for path, rows in groups.items())

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts, lists, strings and integers."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            **({"mode": self.mode} if self.mode == "train" else {}),
            "inputs": [{"name": name, "shape": list(t.dims), "dtype": dtype_name(t.dtype)} for name, t in self.inputs],
            **({} if self.complete else {"complete": False}),
            "totals": asdict(self.totals),
            "rows": [_plain(row) for row in self.rows],
            "diagnostics": list(self.diagnostics),
        }

    def to_json(self) -> str:
        """The same as JSON text."""
        return json.dumps(self.to_dict(), indent=2)


def _plain(row: Row) -> dict[str, Any]:
    """The row as a dict; `complete` is in it only where it is False."""
    return {key: entry for key, entry in asdict(row).items() if key != "complete" or not entry}


def _sum(path: str, rows: Sequence[Row]) -> Row:
    if len(rows) == 1:
        return rows[0]
    counts = [f.name for f in fields(rows[0]) if str(f.type).startswith("int")]
    sums: dict[str, Any] = {name: sum(getattr(row, name) or 0 for row in rows) for name in counts}
    sums["complete"] = all(row.complete for row in rows)
    return replace(rows[0], name=path, module=path, op="", output_shape=rows[-1].output_shape, **sums)
