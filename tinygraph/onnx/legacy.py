"""What operators meant before opset 7, where it cannot be seen in the operator itself."""

from __future__ import annotations

from typing import Any

import onnx

from tinygraph.errors import ModelFormatError
from tinygraph.ops import reshape
from tinygraph.tensor import Tensor


def aligned(node: onnx.NodeProto, inputs: list[Any]) -> tuple[onnx.NodeProto, list[Any]]:
    """A node of opset 6 and its inputs as opset 7 has them.

    Until then the second operand was stretched only on demand (`broadcast`), and its dimensions
    stood from `axis` on, where they now stand at the end. A slope of PRelu was one for each channel.
    """
    if node.op_type == "PRelu" and all(isinstance(t, Tensor) for t in inputs):
        x, slope = inputs
        return node, [x, reshape(slope, (slope.size, *[1] * (x.ndim - 2))) if slope.size > 1 else slope]
    attributes = {a.name: a.i for a in node.attribute}
    if "broadcast" not in attributes or len(inputs) < 2:
        return node, inputs
    newer = onnx.NodeProto.FromString(node.SerializeToString())
    kept = [a for a in node.attribute if a.name not in ("broadcast", "axis")]
    del newer.attribute[:]
    newer.attribute.extend(kept)
    a, b, *rest = inputs
    if attributes["broadcast"] and "axis" in attributes and isinstance(a, Tensor) and isinstance(b, Tensor):
        behind = a.ndim - attributes["axis"] % max(a.ndim, 1) - b.ndim
        if behind < 0:
            raise ModelFormatError(f"{b.type} does not fit into {a.type} from axis {attributes['axis']} on")
        b = reshape(b, (*b.shape, *[1] * behind)) if behind else b
    return newer, [a, b, *rest]
