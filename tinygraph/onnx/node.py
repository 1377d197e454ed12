"""One node of an ONNX file, as the readers in the op rooms see it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Any, Protocol

import numpy as np
import onnx

from tinygraph.errors import ModelFormatError, UnsupportedOp
from tinygraph.ir import Array, Dim, Symbol
from tinygraph.onnx import tensor
from tinygraph.onnx.external import Folder
from tinygraph.onnx.known import Known
from tinygraph.tensor import Tensor

_REQUIRED: Any = object()
_MOST = 2**16  # numbers that decide what a node makes: no array has as many axes, no node as many outputs


class Surroundings(Protocol):
    """What a node needs of the model that it stands in; see tinygraph.onnx.importer."""

    known: Known
    folder: Folder | None

    def tensor(self, array: Any) -> Tensor:
        """An array as a constant of the graph."""

    def symbol(self, name: str, origin: Hashable = None) -> Symbol:
        """A new name for a dimension."""

    def afford(self, nbytes: int) -> None:
        """Raises BudgetError if that many bytes are too many."""

    def afford_nodes(self, count: int) -> None:
        """Raises BudgetError if that many nodes are too many, with those before."""

    def run(self, graph: onnx.GraphProto, inputs: Sequence[Any]) -> list[Any]:
        """Reads the nodes of a branch or a loop body; its outputs."""


class OnnxNode:
    """An ONNX node: attributes, opset, and the inputs that are known before the model runs.

    Args:
        proto: the node as the file has it.
        opset: the version of its operator set.
        inputs: what it reads; None for an optional input that is left out.
        read: the names of all values that somebody reads.
        model: where it stands.

    Attributes:
        op_type: the operator.
        name: the node's own name, or that of its first output.
        opset: the version of its operator set.
        outputs: how many outputs it lists.

    Raises:
        ModelFormatError: an attribute cannot be read.
    """

    def __init__(
        self,
        proto: onnx.NodeProto,
        opset: int,
        inputs: Sequence[Tensor | None],
        read: Collection[str],
        model: Surroundings,
    ) -> None:
        self.op_type = proto.op_type
        self.name = label(proto)
        self.opset = opset
        self.outputs = len(proto.output)
        self._inputs = inputs
        self._used = [bool(name) and name in read for name in proto.output]
        self._model = model
        self._attributes: dict[str, Any] = {}
        for attribute in proto.attribute:
            if attribute.name in self._attributes:
                raise ModelFormatError(f"it has two attributes {attribute.name!r}")
            self._attributes[attribute.name] = _decode(attribute, model.folder)

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute: int, float, str, array, graph, or a list of such; the default if it is absent."""
        return self._attributes.get(name, default)

    def dtype(self, name: str, default: Any = _REQUIRED) -> np.dtype[Any]:
        """An attribute that names an element type, such as Cast's `to`.

        Raises:
            ModelFormatError: tinygraph does not compute with that type, or there is no such
                attribute and no default.
        """
        if name in self._attributes:
            return tensor.dtype(self._attributes[name])
        if default is _REQUIRED:
            raise ModelFormatError(f"the attribute {name!r} is missing")
        result: np.dtype[Any] = np.dtype(default)
        return result

    def constant(self, position: int) -> Array | None:
        """The numbers of an input; None if it is left out, or not known before the model runs."""
        array = self._known(position)
        return None if array is None or array.dtype == object else array

    def demand(self, position: int, what: str) -> Array:
        """The numbers of an input that must be known before the model runs.

        Args:
            position: which input.
            what: its name in the ONNX standard, for the message.

        Raises:
            UnsupportedOp: the input is computed.
            ModelFormatError: it is left out, or holds too many.
        """
        array = self.constant(position)
        if array is None:
            raise self._missing(position, what)
        _check_few(array.size, what)
        return array

    def sizes(self, position: int, what: str) -> list[Dim]:
        """The sizes that an input holds: numbers, and names of open dimensions.

        Args:
            position: which input: whole numbers, of one dimension.
            what: its name in the ONNX standard, for the message.

        Raises:
            UnsupportedOp: some of them are not known before the model runs.
            ModelFormatError: the input is left out, is no list of whole numbers, or one that is too long.
        """
        array = self._known(position)
        if array is None:
            raise self._missing(position, what)
        if array.ndim > 1 or array.dtype.kind not in "iuO":
            raise ModelFormatError(f"its {what} is no list of whole numbers")
        _check_few(array.size, what)
        if any(d is None for d in array.flat):
            raise self._missing(position, what)
        return [d if isinstance(d, Symbol) else int(d) for d in array.flat]

    def known_sizes(self, position: int, what: str) -> list[Dim | None]:
        """As `sizes`, but with None for those that come out only when the model runs."""
        given = self._input(position)
        array = self._known(position)
        if array is None and isinstance(given, Tensor) and given.type.is_static and given.ndim == 1:
            _check_few(given.type.size, what)
            return [None] * given.type.size
        return [*(self.sizes(position, what) if array is None or None not in array.flat else array.flat)]

    def numbers(self, tensor: Tensor, what: str) -> Array:
        """The numbers of any tensor, which must be known before the model runs; see demand."""
        array = self._model.known[tensor.value]
        if array is None or array.dtype == object:
            raise self._unknown(tensor, what)
        return array

    def _input(self, position: int) -> Tensor | None:
        return self._inputs[position] if position < len(self._inputs) else None

    def _known(self, position: int) -> Array | None:
        given = self._input(position)
        return self._model.known[given.value] if isinstance(given, Tensor) else None

    def _missing(self, position: int, what: str) -> Exception:
        """The error for an input that would have to be known."""
        given = self._input(position)
        if isinstance(given, Tensor):
            return self._unknown(given, what)
        return ModelFormatError(f"its {what} (input {position}) is missing")

    def _unknown(self, tensor: Tensor, what: str) -> UnsupportedOp:
        causes = list(self._model.known.causes(tensor.value))
        if self._model.known[tensor.value] is not None:
            return UnsupportedOp(f"its {what} is computed from an open dimension, which must get a number")
        inputs = [v.name for v in causes]
        from_what = f", from {', '.join(map(repr, inputs))}" if inputs else ""
        return UnsupportedOp(f"its {what} is computed while the model runs{from_what}; it must be known before", inputs)

    def used(self, position: int) -> bool:
        """Whether anybody reads that output."""
        return position < len(self._used) and self._used[position]

    def tensor(self, array: Any) -> Tensor:
        """An array as a constant of the graph."""
        return self._model.tensor(array)

    def symbol(self, name: str, origin: Hashable = None) -> Symbol:
        """A new name for a size that is known only when the model runs; like `name`.

        Args:
            name: what to call it, if that is free.
            origin: what the size follows from; of one origin there is one name.
        """
        return self._model.symbol(name, origin)

    def afford(self, nbytes: int) -> None:
        """Raises BudgetError if that many bytes are too many to be made while loading."""
        self._model.afford(nbytes)

    def afford_nodes(self, count: int) -> None:
        """Raises BudgetError if that many nodes are too many to be made of this one, with those made before."""
        self._model.afford_nodes(count)

    def run(self, name: str, inputs: Sequence[Any] = ()) -> list[Any]:
        """Reads the nodes of a branch or a loop body, the attribute of that name; its outputs."""
        graph = self._attributes.get(name)
        if not isinstance(graph, onnx.GraphProto):
            raise ModelFormatError(f"the attribute {name!r} is missing")
        return self._model.run(graph, inputs)


def label(proto: onnx.NodeProto) -> str:
    """What to call a node: its name or, where it has none, its first output."""
    return proto.name or next(filter(None, proto.output), "")


def _check_few(count: int, what: str) -> None:
    """Raises ModelFormatError if so many numbers are no list that a node can mean."""
    if count > _MOST:
        raise ModelFormatError(f"its {what} holds {count:,} numbers; the most that make sense are {_MOST:,}")


def _decode(attribute: onnx.AttributeProto, folder: Folder | None) -> Any:
    kind = onnx.AttributeProto.AttributeType.Name(attribute.type)
    if kind == "FLOAT":
        return _float(attribute.f)
    if kind == "FLOATS":
        return [_float(x) for x in attribute.floats]
    if kind == "INT":
        return attribute.i
    if kind == "INTS":
        return list(attribute.ints)
    if kind == "STRING":
        return _text(attribute.s)
    if kind == "STRINGS":
        return [_text(s) for s in attribute.strings]
    if kind == "TENSOR":
        return tensor.to_array(attribute.t, folder)
    if kind == "GRAPH":
        return attribute.g
    raise ModelFormatError(f"its attribute {attribute.name!r} is of type {kind}, which no supported operator has")


def _float(stored: float) -> float:
    # ONNX keeps float32: the shortest number that rounds to it is the one that was meant, 1e-05
    # rather than 9.999999747378752e-06.
    return float(str(np.float32(stored)))


def _text(stored: bytes) -> str:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        raise ModelFormatError(f"an attribute holds {stored[:20]!r}, which is not UTF-8") from None
