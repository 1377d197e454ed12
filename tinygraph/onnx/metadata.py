"""What tinygraph writes beside the operators, so that a file read back gives the same graph.

| on           | key               | value                                      |
|--------------|-------------------|--------------------------------------------|
| nodes        | tinygraph.module  | path of the module that made the node      |
|              | tinygraph.source  | its source line                            |
| initializers | tinygraph.kind    | param, frozen, buffer or const             |

A graph's own metadata is that of the model. In the graph alone, `tinygraph.dimension.X` keeps the
file's name of the open dimension X, where that is no identifier.
"""

from __future__ import annotations

import onnx

from tinygraph.onnx import pytorch

PRODUCER = "tinygraph"
DIMENSION = f"{PRODUCER}.dimension."


def is_dimension(key: str) -> bool:
    """Whether an entry of a graph's metadata is the name of an open dimension."""
    return key.startswith(DIMENSION)


def write(proto: onnx.NodeProto | onnx.TensorProto, key: str, value: str) -> None:
    """Notes a value under a key; an empty one is not written."""
    if value:
        proto.metadata_props.add(key=f"{PRODUCER}.{key}", value=value)


def read(proto: onnx.NodeProto | onnx.TensorProto, key: str) -> str:
    """The value noted under a key; "" if there is none."""
    return next((p.value for p in proto.metadata_props if p.key == f"{PRODUCER}.{key}"), "")


def place(node: onnx.NodeProto) -> tuple[str, str]:
    """Module path and source line of a node, as far as they are noted by us or by PyTorch."""
    return read(node, "module") or pytorch.module(node), read(node, "source")
