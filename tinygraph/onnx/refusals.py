"""The nodes of a model that are not supported, all of them in one message."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx

from tinygraph.errors import UnsupportedOp
from tinygraph.onnx.node import label


class Refusals:
    """Collects nodes that are not supported."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], list[str]] = {}  # (operator, reason): names
        self._inputs: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._nodes)

    def add(self, node: onnx.NodeProto, domain: str, opset: int | None, why: str, inputs: Collection[str]) -> None:
        """Notes a node.

        Args:
            node: of the file.
            domain: of its operator; "" for the standard.
            opset: the version of the operator set; None if the model does not say.
            why: the reason; "" if the operator is unknown.
            inputs: of the model, which would have to be known.
        """
        operator = f"{domain and domain + '.'}{node.op_type} (opset {'not given' if opset is None else opset})"
        self._nodes.setdefault((operator, why), []).append(label(node))
        self._inputs |= dict.fromkeys(inputs)

    def __len__(self) -> int:
        """How many nodes there are."""
        return sum(map(len, self._nodes.values()))

    def copy(self) -> Refusals:
        """Another collection of the same nodes."""
        other = Refusals()
        other._nodes = {key: list(names) for key, names in self._nodes.items()}
        other._inputs = dict(self._inputs)
        return other

    def error(self) -> UnsupportedOp:
        """The error that lists them all."""
        hint = ""
        if self._inputs:
            example = ", ".join(f"{name!r}: ..." for name in self._inputs)
            hint = f"\nGive the numbers of these inputs when loading: bind={{{example}}}"
        return UnsupportedOp("some nodes of the model are not supported:" + "".join(self._lines()) + hint, self._inputs)

    def _lines(self) -> Iterator[str]:
        for (operator, why), names in self._nodes.items():
            yield f"\n  {operator} {', '.join(map(repr, names))}{why and ': ' + why}"
