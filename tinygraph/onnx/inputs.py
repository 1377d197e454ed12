"""The inputs of an ONNX model: their types, names of open dimensions, and what is bound to numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from tinygraph.errors import ModelFormatError, ShapeError, TinygraphError, UsageError, printable
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.onnx import tensor


class Inputs:
    """Types of the inputs of a model.

    Args:
        infos: the inputs, those among them that are initializers too.
        bind: numbers of open dimensions and arrays of inputs, by name. The dimensions of an
            array are bound with it.

    Raises:
        UsageError: there is no input or open dimension of that name.
    """

    def __init__(self, infos: Sequence[onnx.ValueInfoProto], bind: Mapping[str, Any]) -> None:
        self._symbols: dict[str | tuple[str, int], Symbol] = {}  # by the name in the file, or by input and axis
        self._taken: set[Symbol] = set()
        self._numbered: dict[str, int] = {}  # by a name that is taken, the number to try behind it next
        self._numbers: dict[Symbol, int] = {}
        self._arrays: dict[str, Array] = {}
        inputs = {info.name: info for info in infos}
        opened = [
            (dim, info.name, axis)
            for info in infos
            for axis, dim in enumerate(info.type.tensor_type.shape.dim)
            if not dim.HasField("dim_value")
        ]
        for dim, name, axis in sorted(opened, key=lambda entry: not entry[0].dim_param):
            self._name(dim, name, axis)  # those that the file names come first
        names = {str(key): symbol for key, symbol in self._symbols.items() if isinstance(key, str)}
        names |= {str(symbol): symbol for symbol in self._taken if str(symbol) not in names}
        for name, given in bind.items():
            if name in inputs:
                self._arrays[name] = np.asarray(given)
            elif name in names:
                self._numbers[names[name]] = _whole(name, given)
            else:
                there = ", ".join(map(printable, [*inputs, *names])) or "none"
                raise UsageError(f"bind: there is no input or open dimension {name!r}; there are: {there}")
        for name, array in self._arrays.items():
            dims = enumerate(inputs[name].type.tensor_type.shape.dim)
            for (axis, dim), size in zip(dims, array.shape, strict=False):
                if not dim.HasField("dim_value"):
                    self._numbers.setdefault(self._name(dim, name, axis), size)

    @property
    def renamed(self) -> dict[str, str]:
        """The names in the file of those symbols that are called otherwise in the graph."""
        return {str(symbol): key for key, symbol in self._symbols.items() if isinstance(key, str) and key != symbol}

    def type(self, info: onnx.ValueInfoProto) -> TensorType:
        """The type of an input.

        Raises:
            ModelFormatError: it has none, or one that no tensor has.
        """
        if not info.type.HasField("tensor_type"):
            raise ModelFormatError(f"the input {info.name!r} is no tensor, but a sequence, map or optional")
        if not info.type.tensor_type.HasField("shape"):
            raise ModelFormatError(f"the input {info.name!r} has no shape; its number of dimensions must be known")
        try:
            dtype = tensor.dtype(info.type.tensor_type.elem_type)
            dims = enumerate(info.type.tensor_type.shape.dim)
            return TensorType(tuple(self._dim(dim, info.name, axis) for axis, dim in dims), dtype)
        except TinygraphError as error:
            raise ModelFormatError(f"the input {info.name!r}: {error}") from None

    def binds(self, name: str) -> bool:
        """Whether an array is bound to an input."""
        return name in self._arrays

    def bound(self, name: str, type: TensorType) -> Array:
        """The array that is bound to an input; UsageError if it is of another type."""
        array = self._arrays[name]
        if TensorType.of(array) != type:
            raise UsageError(f"bind: the input {name!r} is {type}, got {TensorType.of(array)}")
        return array

    def symbol(self, name: str) -> Symbol:
        """A symbol of that name, changed if it is taken or no name for a dimension."""
        try:
            plain = TensorType((Symbol(name),)).shape == (Symbol(name).base,)
        except ShapeError:
            plain = False
        if not plain:
            name = "_" + re.sub(r"[^a-zA-Z0-9]", "_", name)
        symbol, number = Symbol(name), self._numbered.get(name, len(self._symbols))
        while symbol in self._taken:
            symbol, number = Symbol(f"{name}_{number}"), number + 1
            self._numbered[name] = number
        self._taken.add(symbol)
        return symbol

    def _dim(self, dim: onnx.TensorShapeProto.Dimension, name: str, axis: int) -> Dim:
        if dim.HasField("dim_value"):
            return dim.dim_value
        symbol = self._name(dim, name, axis)
        return self._numbers.get(symbol, symbol)

    def _name(self, dim: onnx.TensorShapeProto.Dimension, name: str, axis: int) -> Symbol:
        """The symbol of an open dimension; every one without a name is one of its own."""
        key = dim.dim_param or (name, axis)
        if key not in self._symbols:
            self._symbols[key] = self.symbol(dim.dim_param or f"{name}_{axis}")
        return self._symbols[key]


def _whole(name: str, given: Any) -> int:
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool) and given >= 0:
        return int(given)
    raise UsageError(f"bind: the dimension {name!r} must be a whole number >= 0, got {given!r}")
