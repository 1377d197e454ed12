"""Models of which only a part is supported: what onnx knows of the shapes of the rest."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]  # has no stubs of its own

from tinygraph.errors import ModelFormatError
from tinygraph.ir import TensorType
from tinygraph.onnx.inputs import Inputs

_SECONDS = 120  # that inference may take


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
        self._model = model

    @cached_property
    def _infos(self) -> dict[str, onnx.ValueInfoProto]:
        """What was found, by name; nothing if inference stumbles over anything."""
        worker = Path(__file__).with_name("inference_worker.py")
        try:
            content = self._model.SerializeToString()
            done = subprocess.run(
                [sys.executable, "-P", str(worker)], input=content, capture_output=True, check=True, timeout=_SECONDS
            )
            graph = onnx.GraphProto.FromString(done.stdout)
        except (EncodeError, DecodeError, OSError, subprocess.SubprocessError):
            return {}
        return {info.name: info for info in (*graph.value_info, *graph.output) if isinstance(info.name, str)}

    def __getitem__(self, name: str) -> TensorType | None:
        """The type of a value; None if it is not known, or none that a tensor of ours can have."""
        info = self._infos.get(name)
        try:
            return None if info is None else self._types.type(info)
        except ModelFormatError:
            return None
