"""MODEL as an ONNX file: its graph for the sizes, numbers and limits of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tinygraph.errors import TinygraphError, UnsupportedOp, UsageError
from tinygraph.ir import Graph, Symbol
from tinygraph.onnx.load import input_types, load, load_partly
from tinygraph.tools.input_size import Size, numbers
from tinygraph.tools.options import limits


class OnnxFile:
    """An ONNX file.

    Args:
        path: of the file.

    Raises:
        TinygraphError: it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.types = input_types(path)
        self._given = {name: self._read(name, text) for name, text in limits().bind.items()}

    @cached_property
    def graph(self) -> Graph:
        """The graph as it stands in the file, with what --bind gives."""
        return self._load(self._given)

    def sized(self, sizes: Sequence[Size], batch_size: int | None) -> Graph:
        """The graph with the numbers that are given for its open dimensions.

        They are given before its nodes are read: some have shapes only then.
        """
        bind = self._bind(sizes, batch_size)
        if bind == self._given:
            return self.graph
        return self._load(bind)

    def _load(self, bind: Mapping[str, Any]) -> Graph:
        try:
            return load(self.path, bind=bind, budget=limits().budget)
        except UnsupportedOp as error:
            if not error.inputs:
                raise
            reasons = str(error).partition("\nGive the numbers")[0]
            options = " ".join(f"--bind {name}=..." for name in error.inputs)
            raise UnsupportedOp(f"{reasons}\nGive the numbers of these inputs: {options}", error.inputs) from error

    def partly(self, sizes: Sequence[Size], batch_size: int | None) -> tuple[Graph, list[str], str]:
        """As `sized`, but of a file with operators that are not supported as much as can be had.

        Returns:
            The graph; the operators of the nodes that are not in it; and what is wrong with the file.
        """
        try:
            return self.sized(sizes, batch_size), [], ""
        except UnsupportedOp as error:
            try:
                bind = self._bind(sizes, batch_size)
                graph, unread = load_partly(self.path, bind=bind, budget=limits().budget)
            except TinygraphError:  # what is left of the file does not hold together
                raise error from None
            return graph, [node.operator for node in unread], str(error)

    def _bind(self, sizes: Sequence[Size], batch_size: int | None) -> dict[str, Any]:
        types = {name: type for name, type in self.types.items() if name not in self._given}
        found = numbers({name: type.shape for name, type in types.items()}, sizes, batch_size)
        for name, number in found.items():
            if self._given.get(name, number) != number:
                raise UsageError(f"the dimension {name} is to be {number} and, by --bind, {self._given[name]} at once")
        return {**found, **self._given}

    def _read(self, name: str, text: str) -> Any:
        """The numbers of a --bind, as the input or dimension of that name wants them."""
        type = self.types.get(name)
        try:
            if type is None:
                return int(text)
            array = np.array([_number(part.strip(), type.dtype) for part in text.split(",")], type.dtype)
            return array.reshape([-1 if isinstance(d, Symbol) else d for d in type.shape])
        except (ValueError, OverflowError):
            wanted = f"{type}, numbers with commas between" if type else "a whole number"
            raise UsageError(f"--bind {name}={text}: want {wanted}") from None


def _number(text: str, dtype: np.dtype[Any]) -> float:
    if dtype.kind == "b":
        return ("false", "true").index(text.lower())
    return float(text) if dtype.kind == "f" else int(text)
