"""Functions: operators that a model, or the ONNX standard, defines by a graph of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from tinygraph.errors import ModelFormatError
from tinygraph.ir import TensorType
from tinygraph.onnx import DEFAULT_DOMAIN, tensor

_MANY = 2**62  # nodes: more need not be told apart


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


Key = tuple[str, str, str]  # domain, name and overload


def key(part: onnx.NodeProto | onnx.FunctionProto, name: str) -> Key:
    """What a function is found by; of a node, the one that its operator would be."""
    return ("" if part.domain in DEFAULT_DOMAIN else part.domain, name, part.overload)


def unfolded(nodes: Sequence[onnx.NodeProto], functions: Mapping[Key, onnx.FunctionProto]) -> int:
    """How many nodes there are when calls of functions are replaced by their nodes; branches and loops aside.

    It is known without unfolding them, which might take for ever.

    Raises:
        ModelFormatError: a function calls itself.
    """
    counts: dict[Key, int] = {}
    called = {name: _calls(function.node, functions) for name, function in functions.items()}
    for first in functions:
        path, entered = [first], set()
        while path:
            name = path[-1]
            missing = [c for c in called[name] if c not in counts]
            if name in counts or not missing:
                counts.setdefault(name, _sum(functions[name].node, called[name], counts))
                entered.discard(path.pop())
            elif name in entered:
                raise ModelFormatError(f"the function {name[1]!r} calls itself")
            else:
                entered.add(name)
                path += missing
    return _sum(nodes, _calls(nodes, functions), counts)


def _calls(nodes: Sequence[onnx.NodeProto], functions: Mapping[Key, onnx.FunctionProto]) -> dict[Key, int]:
    """The functions that nodes call, and how often."""
    return dict(Counter(name for name in (key(node, node.op_type) for node in nodes) if name in functions))


def _sum(nodes: Sequence[onnx.NodeProto], calls: Mapping[Key, int], counts: Mapping[Key, int]) -> int:
    return min(len(nodes) + sum(times * counts[name] for name, times in calls.items()), _MANY)


def given(function: onnx.FunctionProto, call: onnx.NodeProto) -> dict[str, onnx.AttributeProto]:
    """The attributes that the nodes of a function may refer to: those of the call, and defaults."""
    return {a.name: a for a in function.attribute_proto} | {a.name: a for a in call.attribute}


def filled(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> onnx.NodeProto:
    """A node of a function, with the attributes that it refers to; what is not given is left out.

    One at a time: many nodes may refer to one large attribute.
    """
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
