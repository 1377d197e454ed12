"""If, Loop and Scan: a graph has no jumps, so branches are chosen and loops unrolled while loading.

Where the condition of an If comes out only when the graph runs, both branches are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, UnsupportedOp
from tinygraph.ir import Symbol
from tinygraph.onnx.node import OnnxNode
from tinygraph.ops import choose, concat, expand_dims, getitem
from tinygraph.ops.base import from_onnx, normal_axis, type_of
from tinygraph.tensor import Tensor


@from_onnx("If")
def _if(node: OnnxNode, condition: Tensor) -> tuple[Any, ...]:
    known = node.constant(0)
    if known is not None:
        return tuple(node.run("then_branch" if _truth(known) else "else_branch"))
    made = list(zip(node.run("then_branch"), node.run("else_branch"), strict=True))
    if not all(isinstance(x, Tensor) and x.type.dtype == y.type.dtype and x.ndim == y.ndim for x, y in made):
        node.demand(0, "condition")  # which is refused: it decides more than the sizes of what comes out
    return tuple(_either(node, condition, x, y) for x, y in made)


@from_onnx("Loop")
def _loop(node: OnnxNode, trips: Tensor | None, condition: Tensor | None, *carried: Any) -> tuple[Any, ...]:
    most = None if trips is None else int(node.demand(0, "trip count").reshape(()))
    go_on = True if condition is None else _truth(node.demand(1, "condition"))
    if most is None and condition is None:
        raise ModelFormatError("it never ends: it has neither a trip count nor a condition")
    if most is not None and condition is None:
        node.afford_nodes(most)
    state: list[Any] = list(carried)
    scans: list[list[Any]] = []
    turn = 0
    while go_on and (most is None or turn < most):
        again, *made = node.run("body", [node.tensor(np.int64(turn)), node.tensor(np.bool_(go_on)), *state])
        state = _collect(made, len(state), scans)
        turn += 1
        if condition is not None and turn != most:  # what the last turn says of going on is not needed
            go_on = _truth(node.numbers(again, "condition"))
    _check_ran(node, turn, len(state))
    return (*state, *(stacked(rows, 0) for rows in scans))


@from_onnx("Scan")
def _scan(node: OnnxNode, *inputs: Any) -> tuple[Any, ...]:
    if node.opset < 9:
        raise UnsupportedOp("Scan as it was before opset 9")
    count = node.get("num_scan_inputs")
    if not 0 < count <= len(inputs):
        raise ModelFormatError(f"it scans {count} of its {len(inputs)} inputs")
    state, scanned = list(inputs[: len(inputs) - count]), inputs[len(inputs) - count :]
    axes = [
        normal_axis(axis, type_of(x).ndim)
        for axis, x in zip(node.get("scan_input_axes", [0] * count), scanned, strict=True)
    ]
    backwards = node.get("scan_input_directions", [0] * count)
    lengths = {type_of(x).shape[axis] for x, axis in zip(scanned, axes, strict=True)}
    (length,) = lengths if len(lengths) == 1 else (None,)
    if length is None:
        raise ModelFormatError("its inputs are of different lengths")
    if isinstance(length, Symbol):
        raise UnsupportedOp(f"it goes along the open dimension {length}, which must get a number")
    node.afford_nodes(length)
    scans: list[list[Any]] = []
    for turn in range(length):
        parts = [
            _part(x, axis, length - 1 - turn if reverse else turn)
            for x, axis, reverse in zip(scanned, axes, backwards, strict=True)
        ]
        state = _collect(node.run("body", [*state, *parts]), len(state), scans)
    _check_ran(node, length, len(state))
    places = node.get("scan_output_axes", [0] * len(scans))
    reversed_outputs = node.get("scan_output_directions", [0] * len(scans))
    rows_in_order = [rows[::-1] if back else rows for rows, back in zip(scans, reversed_outputs, strict=True)]
    return (*state, *(stacked(rows, axis) for rows, axis in zip(rows_in_order, places, strict=True)))


def _either(node: OnnxNode, condition: Tensor, x: Tensor, y: Tensor) -> Any:
    """One of the results of two branches, which both are computed."""
    shape = [a if a == b else node.symbol("branch") for a, b in zip(x.shape, y.shape, strict=True)]
    return choose(condition, x, y, shape)


def _collect(made: list[Any], count: int, scans: list[list[Any]]) -> list[Any]:
    """The state for the next turn, of so many tensors; what a turn makes behind it goes to the scans."""
    scans.extend([] for _ in made[count + len(scans) :])
    for scan, row in zip(scans, made[count:], strict=True):
        scan.append(row)
    return made[:count]


def _check_ran(node: OnnxNode, turns: int, count: int) -> None:
    """Raises UnsupportedOp if there are outputs behind the state, and no turn that made any of them."""
    if not turns and node.outputs > count:
        raise UnsupportedOp("its body never runs, so that what it would collect has no shape")


def _truth(array: Any) -> bool:
    if array.size != 1:
        raise ModelFormatError(f"its condition has {array.size} numbers, want one")
    return bool(array.reshape(()))


def _part(x: Tensor, axis: int, number: int) -> Any:
    return getitem(x, (*[slice(None)] * axis, number))


def stacked(rows: Sequence[Tensor], axis: int) -> Any:
    """The tensors side by side along a new axis."""
    axis = normal_axis(axis, type_of(rows[0]).ndim + 1)
    return concat([expand_dims(row, axis) for row in rows], axis)
