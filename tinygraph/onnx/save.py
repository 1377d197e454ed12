"""Graph -> ONNX file. What a node becomes is said in its op's room: `to_onnx`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import BinaryIO

import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]  # has no stubs of its own
from onnx import helper

import tinygraph
from tinygraph.errors import BudgetError, UsageError
from tinygraph.files import replacing
from tinygraph.ir import Graph, Symbol, Value
from tinygraph.onnx import OPSET, metadata, tensor
from tinygraph.onnx.content import LIMIT
from tinygraph.onnx.exporter import OnnxExporter

IR_VERSION = 10  # the first that has metadata on nodes and tensors; onnxruntime 1.18 and later read it


def save(graph: Graph, target: str | os.PathLike[str] | BinaryIO) -> None:
    """Writes a graph as an ONNX model of opset 20.

    Names, order, dtypes and shapes of inputs and outputs are kept, open dimensions by their
    names; so are the names of nodes and parameters, unless an output is called the same. A
    parameter that no node reads is not written. Module paths and source lines go along as
    metadata, and `load` reads them; metadata that the graph had from a file is written again.

    Args:
        graph: traced for inference.
        target: a path, or a file opened for writing bytes. A file at the path is replaced once
            the model has been written completely.

    Raises:
        UnsupportedOp: ONNX cannot express some nodes; the message lists them all.
        BudgetError: the weights are more than one ONNX file can hold.
        UsageError: the graph is a training graph, or the target cannot be written.
    """
    try:
        content = to_proto(graph).SerializeToString()
    except EncodeError:
        raise _too_large() from None
    if isinstance(target, (str, os.PathLike)):
        with replacing(target) as path:
            path.write_bytes(content)
        return
    try:
        target.write(content)
    except TypeError:
        raise UsageError("the file to save to is opened for text; open it with mode 'wb'") from None


def to_proto(graph: Graph) -> onnx.ModelProto:
    """The ONNX model of a graph; see `save`."""
    if graph.mode == "training":
        raise UsageError("this is a training graph, and ONNX files are for inference; trace with mode='inference'")
    read = {v for node in graph.nodes for v in node.inputs} | {v for _, v in graph.outputs}
    if sum(v.type.nbytes for v in graph.data if v in read) > LIMIT:
        raise _too_large()
    export = OnnxExporter(graph)
    for node in graph.nodes:
        export.convert(node)
    export.finish()
    dims = {k.removeprefix(metadata.DIMENSION): v for k, v in graph.metadata.items() if metadata.is_dimension(k)}
    inputs = [_info(export.names[v], v, dims) for v in graph.inputs]
    outputs = [_info(name, v, dims) for name, v in graph.outputs]
    model = helper.make_model(
        helper.make_graph(export.protos, "graph", inputs, outputs),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=metadata.PRODUCER,
        producer_version=tinygraph.__version__,
    )
    helper.set_model_props(model, {k: v for k, v in graph.metadata.items() if not metadata.is_dimension(k)})
    weights = model.graph.initializer  # filled in place: a helper would copy them, twice
    for value in graph.data:
        if value in read:
            weight = tensor.write(weights.add(), graph.array(value), export.names[value])
            metadata.write(weight, "kind", value.kind)
    weights.extend(export.constants)
    return model


def _info(name: str, value: Value, dims: Mapping[str, str]) -> onnx.ValueInfoProto:
    shape = [dims.get(d, d) if isinstance(d, Symbol) else d for d in value.type.shape]
    return helper.make_tensor_value_info(name, tensor.elem_type(value.type.dtype), shape)


def _too_large() -> BudgetError:
    return BudgetError("the weights are more than the 2 GiB that one ONNX file can hold; save them as safetensors")
