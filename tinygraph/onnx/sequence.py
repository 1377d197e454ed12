"""Sequences of tensors: they exist while a model is read, as Python lists, and not in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, UnsupportedOp
from tinygraph.ir import Symbol
from tinygraph.onnx.control import stacked
from tinygraph.onnx.node import OnnxNode
from tinygraph.ops import concat, getitem, squeeze
from tinygraph.ops.base import from_onnx, normal_axis, type_of
from tinygraph.tensor import Tensor


@from_onnx("SequenceEmpty")
def _empty(node: OnnxNode) -> list[Tensor]:
    return []


@from_onnx("SequenceConstruct")
def _construct(node: OnnxNode, *tensors: Tensor) -> list[Tensor]:
    return list(tensors)


@from_onnx("SequenceLength")
def _length(node: OnnxNode, sequence: list[Tensor]) -> Any:
    return np.array(len(sequence), np.int64)


@from_onnx("SequenceAt")
def _at(node: OnnxNode, sequence: list[Tensor], position: Tensor) -> Tensor:
    return sequence[_place(node, len(sequence), 1)]


@from_onnx("SequenceErase")
def _erase(node: OnnxNode, sequence: list[Tensor], position: Tensor | None = None) -> list[Tensor]:
    place = len(sequence) - 1 if position is None else _place(node, len(sequence), 1)
    return sequence[:place] + sequence[place + 1 :]


@from_onnx("SequenceInsert")
def _insert(node: OnnxNode, sequence: list[Tensor], tensor: Tensor, position: Tensor | None = None) -> list[Tensor]:
    length = len(sequence)
    place = length if position is None else int(node.demand(2, "position").reshape(()))
    if not -length <= place <= length:
        raise ModelFormatError(f"there is no place {place} to insert in a sequence of {length}")
    return [*sequence[:place], tensor, *sequence[place:]]


@from_onnx("ConcatFromSequence")
def _concat_from_sequence(node: OnnxNode, sequence: list[Tensor]) -> Any:
    if not sequence:
        raise ModelFormatError("the sequence is empty")
    if not node.get("new_axis", 0):
        return concat(sequence, node.get("axis"))
    return stacked(sequence, node.get("axis"))


@from_onnx("SplitToSequence")
def _split_to_sequence(node: OnnxNode, x: Tensor, split: Tensor | None = None) -> list[Tensor]:
    axis = normal_axis(node.get("axis", 0), type_of(x).ndim)
    length = type_of(x).shape[axis]
    if isinstance(length, Symbol):
        raise UnsupportedOp(f"it splits the open dimension {length}, which must get a number")
    sizes = np.array(1) if split is None else node.demand(1, "split")
    if sizes.ndim == 0:
        size = int(sizes)
        if size < 1:
            raise ModelFormatError(f"it wants parts of size {size}")
        node.afford_nodes(length // size + 1)
        lengths = [min(size, length - start) for start in range(0, length, size)]
    else:
        lengths = [int(size) for size in sizes]
        if sum(lengths) != length or min(lengths, default=0) < 0:
            raise ModelFormatError(f"parts of {lengths} do not make up a dimension of {length}")
    stops = np.cumsum(lengths)
    parts = [
        getitem(x, (*[slice(None)] * axis, slice(int(stop - size), int(stop))))
        for stop, size in zip(stops, lengths, strict=True)
    ]
    keeps = split is not None or node.get("keepdims", 1)
    return parts if keeps else [squeeze(part, axis) for part in parts]


def _place(node: OnnxNode, length: int, position: int) -> int:
    place = int(node.demand(position, "position").reshape(()))
    if not -length <= place < length:
        raise ModelFormatError(f"there is no place {place} in a sequence of {length}")
    return place % length
