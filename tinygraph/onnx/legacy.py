"""What operators meant before opset 7, where it cannot be seen in the operator itself."""

from __future__ import annotations

from typing import Any

from tinygraph.errors import ModelFormatError
from tinygraph.onnx.node import OnnxNode
from tinygraph.ops import reshape
from tinygraph.ops.base import normal_axis
from tinygraph.tensor import Tensor


def aligned(node: OnnxNode, inputs: list[Any]) -> list[Any]:
    """The inputs of a node of opset 6 as opset 7 has them.

    Until then the dimensions of the second operand stood from `axis` on, where they now stand at
    the end. A slope of PRelu was one for each channel.
    """
    if len(inputs) < 2 or not all(isinstance(t, Tensor) for t in inputs[:2]):
        return inputs
    a, b, *rest = inputs
    axis = node.get("axis") if node.get("broadcast", 0) else None
    if node.op_type == "PRelu" and b.ndim == 1 and b.shape != (1,):
        axis = 1
    if axis is None:
        return inputs
    behind = a.ndim - normal_axis(axis, a.ndim) - b.ndim
    if behind < 0:
        raise ModelFormatError(f"{b.type} does not fit into {a.type} from axis {axis} on")
    return [a, reshape(b, (*b.shape, *[1] * behind)) if behind else b, *rest]
