"""The names in an ONNX model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import onnx

from tinygraph.errors import ModelFormatError


def all_texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Every name and note of a model; protobuf gives bytes for those that are not UTF-8."""
    yield model.producer_name
    yield from (text for entry in model.metadata_props for text in (entry.key, entry.value))
    yield from (entry.domain for entry in model.opset_import)
    stack: list[Any] = [model.graph, *model.functions]
    while stack:
        part = stack.pop()
        if isinstance(part, onnx.FunctionProto):
            yield from (part.name, part.domain, part.overload, *part.input, *part.output, *part.attribute)
            yield from (entry.domain for entry in part.opset_import)
            stack.append(onnx.GraphProto(node=[onnx.NodeProto(attribute=part.attribute_proto)]))
        else:
            for info in (*part.input, *part.output):
                yield info.name
                yield from (dim.dim_param for dim in info.type.tensor_type.shape.dim)
            yield from (text for tensor in part.initializer for text in _described(tensor))
        for node in part.node:
            yield from (node.op_type, node.domain, node.overload, *node.input, *node.output, *_described(node))
            for attribute in node.attribute:
                yield from (attribute.name, attribute.ref_attr_name)
                stack += [attribute.g] if attribute.HasField("g") else []


def _described(part: onnx.NodeProto | onnx.TensorProto) -> Iterator[str | bytes]:
    yield part.name
    yield from (text for entry in part.metadata_props for text in (entry.key, entry.value))


def free_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that no initializer has numbers for."""
    initialized = {tensor.name for tensor in graph.initializer}
    return [info for info in graph.input if info.name not in initialized]


def unique(what: str, names: Sequence[str]) -> set[str]:
    """The names; ModelFormatError if one is empty or there twice."""
    found: set[str] = set()
    for name in names:
        if not name or name in found:
            raise ModelFormatError(f"two {what}s are named {name!r}" if name else f"an {what} has no name")
        found.add(name)
    return found
