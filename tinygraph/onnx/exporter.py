"""The nodes and names of an ONNX model in the making."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tinygraph.build import Builder
from tinygraph.errors import UnsupportedOp, UsageError
from tinygraph.ir import Dim, Graph, Node, Symbol, Value
from tinygraph.onnx import OPSET, metadata, tensor


class OnnxExporter:
    """The Exporter that `to_onnx` gets, and the names of the file's values.

    In ONNX a graph's outputs are values, and all values share one namespace: what computes an
    output gets the output's name, and an output that is not computed, or computed already under
    another name, becomes an Identity. Every node keeps the name it has in the graph.
    """

    def __init__(self, graph: Graph) -> None:
        self.names: dict[Value, str] = {}
        self.protos: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._fresh = Builder().fresh
        self._made: list[onnx.NodeProto] = []
        self._node: Node | None = None
        self._refused: list[str] = []
        self._copies: list[tuple[Value, str]] = []
        self._carriers: dict[Symbol, tuple[Value, int]] = {}  # of open dimensions: a value, and which of its axes
        self._name_values(graph)
        self._carry(graph.inputs)

    def _name_values(self, graph: Graph) -> None:
        for value in graph.inputs:
            self.names[value] = self._public(value.name)
        for name, value in graph.outputs:
            if self.names.get(value) == name:
                continue
            self._public(name)
            if value not in self.names and (value.kind == "node" or value.name == name):
                self.names[value] = name
            else:
                self._copies.append((value, name))
        for value in graph.values():
            name = self._fresh(value.name)
            self.names.setdefault(value, name)

    def _public(self, name: str) -> str:
        if not name:
            raise UsageError("an input or output has an empty name, which in ONNX means that there is none")
        if self._fresh(name) != name:
            raise UsageError(f"the output {name!r} has the name of another input or output; in ONNX names are unique")
        return name

    # ---- what `to_onnx` may call ----

    def node(self, op_type: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> Any:
        """Adds an ONNX node; the name of its output, or a list of names if several.

        Attributes that are None are left out; a dtype becomes the number ONNX has for it.
        """
        assert self._node is not None
        schema = onnx.defs.get_schema(op_type, OPSET, "")
        names = [self._fresh(f"{self._node.name}.{op_type}") for _ in range(outputs)]
        proto = onnx.NodeProto(op_type=op_type, input=inputs, output=names)
        proto.attribute.extend(_attribute(schema, k, v) for k, v in attributes.items() if v is not None)
        self._made.append(proto)
        return names if outputs > 1 else names[0]

    def const(self, array: Any) -> str:
        """Adds an initializer; its name."""
        assert self._node is not None
        proto = tensor.write(onnx.TensorProto(), np.asarray(array), self._fresh(f"{self._node.name}.const"))
        metadata.write(proto, "kind", "const")
        self.constants.append(proto)
        return proto.name

    def sizes(self, dims: Sequence[Dim]) -> str:
        """Adds an int64 vector of sizes, for open ones the nodes that ask what has them; its name."""
        parts = []
        for _, run in groupby(dims, lambda d: isinstance(d, Symbol)):
            group = list(run)
            opened = [self._size(d) for d in group if isinstance(d, Symbol)]
            parts += opened or [self.const(np.array(group, np.int64))]
        if not parts:
            return self.const(np.zeros(0, np.int64))
        joined: str = self.node("Concat", parts, axis=0) if len(parts) > 1 else parts[0]
        return joined

    def _size(self, dim: Symbol) -> str:
        if dim.base not in self._carriers:
            raise UnsupportedOp(f"nothing in the graph has the open dimension {dim}")
        value, axis = self._carriers[dim.base]
        carried = value.type.shape[axis]
        assert isinstance(carried, Symbol)
        size: str = self.node("Shape", [self.names[value]], start=axis, end=axis + 1)
        if carried.factor != 1:
            size = self.node("Div", [size, self.const(np.array([carried.factor], np.int64))])
        return self.node("Mul", [size, self.const(np.array([dim.factor], np.int64))]) if dim.factor != 1 else size

    def _carry(self, values: Sequence[Value]) -> None:
        for value in values:
            for axis, dim in enumerate(value.type.shape):
                if isinstance(dim, Symbol):
                    self._carriers.setdefault(dim.base, (value, axis))

    # ---- what `to_proto` calls ----

    def convert(self, node: Node) -> None:
        """Adds the ONNX nodes of one node; a refusal is kept for `finish`."""
        self._node, self._made = node, []
        try:
            results = node.op.to_onnx(self, [self.names[v] for v in node.inputs], node.input_types)
        except UnsupportedOp as error:
            self._refused.append(f"{node.name!r}{node.where.phrase}: {error}")
            return
        self._give_names(node, [results] if isinstance(results, str) else list(results))
        self._carry(node.outputs)
        for proto in self._made:
            makes_first = self.names[node.outputs[0]] in proto.output
            proto.name = node.name if makes_first else proto.output[0]
            metadata.write(proto, "module", node.where.module)
            metadata.write(proto, "source", node.where.source)
        self.protos += self._made

    def _give_names(self, node: Node, results: Sequence[str]) -> None:
        """Renames the results to what the node's outputs are called."""
        made = {name for proto in self._made for name in proto.output}
        renamed: dict[str, str] = {}
        for value, result in zip(node.outputs, results, strict=True):
            if result in made and result not in renamed:
                renamed[result] = self.names[value]
            else:  # one of the inputs, a constant, or a result used twice
                self._made.append(onnx.NodeProto(op_type="Identity", input=[result], output=[self.names[value]]))
        for proto in self._made:
            inputs, outputs = ([renamed.get(n, n) for n in names] for names in (proto.input, proto.output))
            proto.input[:] = inputs
            proto.output[:] = outputs

    def finish(self) -> None:
        """Adds what the outputs still need; refuses if any node was refused."""
        if self._refused:
            count = f"{len(self._refused)} node{'s' if len(self._refused) > 1 else ''}"
            raise UnsupportedOp(f"{count} cannot be saved as ONNX:\n  " + "\n  ".join(self._refused))
        for value, name in self._copies:
            node_name = self._fresh(f"{name}.Identity")
            self.protos.append(helper.make_node("Identity", [self.names[value]], [name], node_name))


def _attribute(schema: onnx.defs.OpSchema, name: str, value: Any) -> onnx.AttributeProto:
    kind: Any = schema.attributes[name].type
    if isinstance(value, np.dtype):
        value = tensor.elem_type(value)
    elif kind == kind.FLOAT:
        value = float(value)
    elif kind == kind.FLOATS:
        value = [float(x) for x in value]
    elif kind == kind.TENSOR:
        value = tensor.write(onnx.TensorProto(), np.asarray(value))
    return helper.make_attribute(name, value, attr_type=kind.value)
