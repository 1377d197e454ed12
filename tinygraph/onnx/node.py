"""One node of an ONNX file, as the readers in the op rooms see it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import onnx

from tinygraph.errors import ModelFormatError, UnsupportedOp
from tinygraph.ir import Array, array_of
from tinygraph.onnx import tensor
from tinygraph.tensor import Tensor

_REQUIRED: Any = object()


class OnnxNode:
    """An ONNX node: attributes, opset, and the inputs that are known before the model runs.

    Args:
        proto: the node as the file has it.
        opset: the version of its operator set.
        inputs: what it reads; None for an optional input that is left out.
        read: the names of all values that somebody reads.

    Attributes:
        op_type: the operator.
        name: the node's own name, or that of its first output.
        opset: the version of its operator set.

    Raises:
        ModelFormatError: an attribute cannot be read.
    """

    def __init__(
        self, proto: onnx.NodeProto, opset: int, inputs: Sequence[Tensor | None], read: Collection[str]
    ) -> None:
        self.op_type = proto.op_type
        self.name = label(proto)
        self.opset = opset
        self._inputs = inputs
        self._used = [bool(name) and name in read for name in proto.output]
        self._attributes: dict[str, Any] = {}
        for attribute in proto.attribute:
            if attribute.name in self._attributes:
                raise ModelFormatError(f"it has two attributes {attribute.name!r}")
            self._attributes[attribute.name] = _decode(attribute)

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute: int, float, str, array, or a list of such; the default if it is absent."""
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
        given = self._inputs[position] if position < len(self._inputs) else None
        if given is None:
            return None
        data = given.trace.builder.data(given.value)
        return None if data is None else array_of(data)

    def demand(self, position: int, what: str) -> Array:
        """The numbers of an input that must be known before the model runs.

        Args:
            position: which input.
            what: its name in the ONNX standard, for the message.

        Raises:
            UnsupportedOp: the input is computed.
            ModelFormatError: it is left out.
        """
        array = self.constant(position)
        if array is not None:
            return array
        if position < len(self._inputs) and self._inputs[position] is not None:
            raise UnsupportedOp(f"its {what} is computed while the model runs; only a constant is supported")
        raise ModelFormatError(f"its {what} (input {position}) is missing")

    def used(self, position: int) -> bool:
        """Whether anybody reads that output."""
        return position < len(self._used) and self._used[position]


def label(proto: onnx.NodeProto) -> str:
    """What to call a node: its name or, where it has none, its first output."""
    return proto.name or next(filter(None, proto.output), "")


def _decode(attribute: onnx.AttributeProto) -> Any:
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
        return tensor.to_array(attribute.t)
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
