"""ONNX file -> Graph. What an operator means is said in an op's room: `@from_onnx`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import onnx

from tinygraph.budget import DEFAULT, Budget
from tinygraph.errors import BudgetError, ModelFormatError, UnsupportedOp
from tinygraph.ir import Graph, TensorType
from tinygraph.onnx.content import opened, parsed
from tinygraph.onnx.external import Folder
from tinygraph.onnx.importer import OnnxImporter
from tinygraph.onnx.inputs import Inputs
from tinygraph.onnx.names import free_inputs
from tinygraph.onnx.partial import Unread

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_LONGEST = 8000  # characters of a message
OLDEST_IR = 3  # the first that says which operator set a model uses


def load(
    source: str | os.PathLike[str] | bytes | BinaryIO,
    *,
    bind: Mapping[str, Any] = _NOTHING,
    budget: Budget = DEFAULT,
) -> Graph:
    """Reads an ONNX model of opset 6 to the newest that the installed onnx knows.

    The inputs keep their names, a named open dimension becomes the symbol of that name, and
    one without a name gets a fresh one. Floating-point initializers of at least one dimension
    are parameters (statistics of BatchNormalization are buffers); all other initializers, and
    what Constant nodes hold, are constants. Values keep their names; nodes keep theirs as the
    source of their place. In a file that `save` wrote, all of this is as it was in the graph.

    A graph is static. Shapes that the model computes from constants and from the shapes of others
    become numbers, branches whose condition is one are taken, loops are unrolled. Where shapes
    depend on what is in an input (a Reshape to a shape that comes in), that input has to be bound.

    Args:
        source: a path, the content of a file, or a file opened for reading bytes. With a path,
            numbers may be in other files in the same folder or below.
        bind: numbers for open dimensions, and arrays for inputs, by name. What is bound is
            a constant of the graph, and no input of it any more.
        budget: memory and work that loading may take.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        ModelFormatError: it is no ONNX model, or a damaged one, or one that breaks the rules
            of its operators; or other files do not hold its numbers.
        UnsupportedOp: it uses operators that tinygraph does not know; lists them all.
        BudgetError: loading would take more than the budget.
    """
    with _naming(source), opened(source) as file:
        return _importer(file, source, bind, budget).graph()


def input_types(source: str | os.PathLike[str] | bytes | BinaryIO) -> dict[str, TensorType]:
    """The types of the inputs of an ONNX model by name, in order, whatever its nodes are; errors as `load`."""
    with _naming(source), opened(source) as file:
        graph = _checked(parsed(file).model).graph
        types = Inputs(graph.input, _NOTHING)
        return {info.name: types.type(info) for info in free_inputs(graph)}


def load_partly(
    source: str | os.PathLike[str] | bytes | BinaryIO,
    *,
    bind: Mapping[str, Any] = _NOTHING,
    budget: Budget = DEFAULT,
) -> tuple[Graph, list[Unread]]:
    """Reads what tinygraph knows of an ONNX model, to price or draw it; otherwise as `load`.

    An operator that is not supported becomes an Unknown node, if onnx can tell the shape of what it
    makes. What only such nodes would read is an output of the graph.

    Returns:
        The graph, and the nodes that are not in it.
    """
    with _naming(source), opened(source) as file:
        importer = _importer(file, source, bind, budget, partial=True)
        return importer.graph(), importer.unread


def from_proto(
    model: onnx.ModelProto,
    bind: Mapping[str, Any] = _NOTHING,
    budget: Budget = DEFAULT,
    folder: Folder | None = None,
) -> Graph:
    """The graph of an ONNX model; see `load`."""
    return OnnxImporter(_checked(model), bind, budget, folder).graph()


def _importer(
    file: BinaryIO, source: Any, bind: Mapping[str, Any], budget: Budget, partial: bool = False
) -> OnnxImporter:
    model, raws = parsed(file)
    # The folder that a model lies in, if it is a file of ours.
    folder = Folder(Path(source).parent, budget) if isinstance(source, (str, os.PathLike)) else None
    return OnnxImporter(_checked(model), bind, budget, folder, raws, partial)


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    if not model.HasField("graph"):
        raise ModelFormatError("there is no graph in it")
    if not OLDEST_IR <= model.ir_version <= onnx.IR_VERSION:
        raise ModelFormatError(
            f"its format (IR version {model.ir_version}) is not between {OLDEST_IR} and {onnx.IR_VERSION}, "
            f"the newest that onnx {onnx.__version__} reads"
        )
    return model


@contextmanager
def _naming(source: Any) -> Iterator[None]:
    """Errors of a file at a path begin with its name; what a file makes longer than anybody reads is cut."""
    try:
        yield
    except (ModelFormatError, UnsupportedOp, BudgetError) as error:
        prefix = f"{Path(source).name}: " if isinstance(source, (str, os.PathLike)) else ""
        reason = str(error)
        error.args = (prefix + (reason if len(reason) <= _LONGEST else reason[:_LONGEST] + " ..."),)
        raise
