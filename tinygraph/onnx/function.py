"""Functions: operators that a model, or the ONNX standard, defines by a graph of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from tinygraph.ir import TensorType
from tinygraph.onnx import tensor


def exists(node: onnx.NodeProto, opset: int | None) -> bool:
    """Whether the standard says what an operator is made of; see `standard`."""
    if opset is None or not onnx.defs.has(node.op_type, opset, node.domain):
        return False
    schema: Any = onnx.defs.get_schema(node.op_type, opset, node.domain)  # its stubs know little of functions
    return bool(schema.has_function or schema.has_context_dependent_function)


def standard(node: onnx.NodeProto, opset: int | None, types: Sequence[TensorType | None]) -> onnx.FunctionProto | None:
    """What the standard says that an operator is made of; None if it says nothing.

    Args:
        node: of any domain.
        opset: the version of its operator set that the model uses; None if it does not say.
        types: of the node's inputs; None for one that is left out.
    """
    if opset is None or not exists(node, opset):
        return None
    schema: Any = onnx.defs.get_schema(node.op_type, opset, node.domain)
    function = onnx.FunctionProto()
    defaults = [a.default_value for a in schema.attributes.values() if a.default_value.name]
    if schema.has_context_dependent_function:
        versions = schema.context_dependent_function_opset_versions
        best = max((v for v in versions if v <= opset), default=min(versions))
        described = [_described(t).SerializeToString() for t in types]
        body = schema.get_context_dependent_function_with_opset_version(best, node.SerializeToString(), described)
        function.ParseFromString(body)
        function.attribute_proto.extend(defaults)
        return function if function.node else None
    versions = schema.function_opset_versions
    best = max((v for v in versions if v <= opset), default=min(versions))
    function.ParseFromString(schema.get_function_with_opset_version(best))
    function.attribute_proto.extend(defaults)
    return function


def _described(type: TensorType | None) -> onnx.TypeProto:
    if type is None:
        return onnx.TypeProto()
    return onnx.helper.make_tensor_type_proto(tensor.elem_type(type.dtype), type.shape)


def body(function: onnx.FunctionProto, call: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The nodes of a function, with the attributes of the call where they refer to them.

    An attribute that refers to one that the call lacks is left out.
    """
    given = {a.name: a for a in function.attribute_proto} | {a.name: a for a in call.attribute}
    return [_filled(node, given) for node in function.node]


def _filled(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    stack = [copy]
    while stack:
        current = stack.pop()
        attributes = [_resolved(a, given) for a in current.attribute if not a.ref_attr_name or a.ref_attr_name in given]
        del current.attribute[:]
        current.attribute.extend(attributes)
        stack += [inner for a in current.attribute for inner in a.g.node]
    return copy


def _resolved(attribute: onnx.AttributeProto, given: Mapping[str, onnx.AttributeProto]) -> onnx.AttributeProto:
    source = given[attribute.ref_attr_name] if attribute.ref_attr_name else attribute
    copy = onnx.AttributeProto()
    copy.CopyFrom(source)
    copy.name = attribute.name
    return copy
