"""Models of which only a part is supported: what onnx knows of the shapes of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from tinygraph.errors import ModelFormatError
from tinygraph.ir import TensorType
from tinygraph.onnx.inputs import Inputs


@dataclass(frozen=True)
class Unread:
    """A node of a file that did not get into the graph, because not even the shapes of its results are known.

    Attributes:
        name: of the node or, where it has none, of its first output.
        operator: what it is.
    """

    name: str
    operator: str


class Inferred:
    """The types of values as onnx infers them.

    Args:
        model: of which some operators are not supported.
        types: of its inputs, which know its open dimensions.
    """

    def __init__(self, model: onnx.ModelProto, types: Inputs) -> None:
        self._types = types
        try:
            graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
            infos: Sequence[Any] = [*graph.value_info, *graph.output]
        except Exception:  # whatever inference stumbles over: nothing is known then
            infos = []
        self._infos = {info.name: info for info in infos}

    def __getitem__(self, name: str) -> TensorType | None:
        """The type of a value; None if it is not known, or none that a tensor of ours can have."""
        info = self._infos.get(name)
        try:
            return None if info is None else self._types.type(info)
        except ModelFormatError:
            return None
