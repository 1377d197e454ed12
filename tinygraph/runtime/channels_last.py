"""Maps with their channels last, where kernels are faster for it.

Networks are written with channels first, [N, C, *spatial]. For running, the maps between convolutions are laid out
as [N, *spatial, C]: see kernels/channels_last. The graph gets new nodes for that: an op that has kernels of that
kind is wrapped, elementwise nodes and joints of channels go along, and where somebody wants a map as it was, it is
transposed, which is a view. A convolution takes along what is done to its result by nobody else: the sum with a
residual and a ReLU.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tinygraph.ir import Array, Graph, Node, TensorType, Value
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.ops.arithmetic import Add
from tinygraph.ops.base import Op, Precision, Prepared, Types, family, no_macs, not_differentiable, not_in_onnx
from tinygraph.ops.clip import Clip
from tinygraph.ops.elementwise import Relu
from tinygraph.ops.index import Concat
from tinygraph.ops.shape import Transpose


@family
class ChannelsLast(Op):
    """An op on maps whose channels are last; other arrays, such as weights, are as the op has them.

    Attributes:
        op: what is computed.
        types: of its inputs, channels first.
        constant: for each of them, whether it is an array that never changes.
        epilogue: what is done to the result; a residual is the last input.
        precision: of the kernel.
    """

    name = "channels_last"
    arity = (1, None)
    macs = no_macs
    vjp = not_differentiable("it is made for running only")
    to_onnx = not_in_onnx("it is made for running only")
    op: Op
    types: tuple[TensorType, ...]
    constant: tuple[bool, ...]
    epilogue: Epilogue
    precision: Precision

    def infer(self, *types: TensorType) -> TensorType:
        return channels_last_type(self._result)

    @property
    def _result(self) -> TensorType:
        result = self.op.infer(*self.types)
        assert isinstance(result, TensorType)
        return result

    def flops(self, inputs: Types, outputs: Types) -> int:
        """Those of the op, and of what is done to its result."""
        e = self.epilogue
        after = e.residual + (e.low is not None) + (e.high is not None)
        return self.op.flops(self.types, [self._result]) + after * outputs[0].size

    def kernel(self, *arrays: Array) -> Array:
        given = [a if fixed else np.moveaxis(a, -1, 1) for a, fixed in zip(arrays, self.constant, strict=False)]
        y: Array = np.moveaxis(self.op.kernel(*given), 1, -1).copy()
        self.epilogue.move(y, arrays[-1] if self.epilogue.residual else None, y)
        return y

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        known = constants[: len(self.types)]
        return self.op.lower_channels_last(self.types, known, workers, self.precision, self.epilogue)

    def __repr__(self) -> str:
        return f"channels_last({self.op!r})"


def channels_last_type(type: TensorType) -> TensorType:
    """The type of [N, C, *spatial] as [N, *spatial, C]."""
    n, channels, *sizes = type.shape
    return type.with_shape((n, *sizes, channels))


def channels_last(graph: Graph, constants: Mapping[Value, Array], precision: Precision) -> Graph:
    """The graph with maps laid out channels last between convolutions; the graph itself if it has none.

    Args:
        graph: every dimension has a number.
        constants: arrays that never change.
        precision: of kernels.
    """
    anchors = [node for node in graph.nodes if node.op.anchors and _fits(node, constants)]
    return _Rewriting(graph, constants, precision).graph() if anchors else graph


def _fits(node: Node, constants: Mapping[Value, Array]) -> bool:
    """Whether there is a kernel: its first input is a map, which a constant, left as it is, cannot be."""
    known = [constants.get(v) for v in node.inputs]
    return known[0] is None and node.op.fits_channels_last(node.input_types, known)


class _Rewriting:
    """One pass over a graph.

    Attributes:
        nodes: of the new graph.
        last: for a value, the one that holds it channels last.
        gone: values that exist channels last only, so far.
    """

    def __init__(self, graph: Graph, constants: Mapping[Value, Array], precision: Precision) -> None:
        self._graph, self._constants, self._precision = graph, constants, precision
        self._readers: dict[Value, list[Node]] = {}
        for node in graph.nodes:
            for v in dict.fromkeys(node.inputs):
                self._readers.setdefault(v, []).append(node)
        self._returned = {v for _, v in graph.outputs}
        self.nodes: list[Node] = []
        self.last: dict[Value, Value] = {}
        self.gone: set[Value] = set()

    def graph(self) -> Graph:
        """The new graph."""
        taken: set[Node] = set()
        known = {v for v in self._graph.values() if v.kind != "node"}
        for node in self._graph.nodes:
            if node not in taken:
                taken.update(self._convert(node, known))
            known.update(node.outputs)
        self._give_back(self._returned)
        return replace(self._graph, nodes=tuple(self.nodes))

    def _convert(self, node: Node, known: Collection[Value]) -> Sequence[Node]:
        """Puts a node into the new graph; returns the nodes that it does the work of."""
        op, maps = node.op, [v for v in node.inputs if v not in self._constants]
        follows = bool(maps) and any(v in self.last for v in maps)
        if (op.anchors or follows) and _fits(node, self._constants):
            return self._wrap(node, known)
        if follows and self._goes_along(node, maps):
            if isinstance(op, Concat):
                op = replace(op, axis=node.outputs[0].type.ndim - 1)
            self._add(node, op, [self._last(v) for v in node.inputs], node.outputs[0])
            return ()
        self._give_back(node.inputs)
        self.nodes.append(node)
        return ()

    def _goes_along(self, node: Node, maps: Sequence[Value]) -> bool:
        """Whether a node does the same to maps in either layout."""
        result = node.outputs[0].type
        if len(node.outputs) > 1 or result.ndim < 3 or len(maps) < sum(v.type.ndim > 0 for v in node.inputs):
            return False
        if isinstance(node.op, Concat):
            return node.op.axis in (1, 1 - result.ndim)
        return "elementwise" in node.op.traits and all(v.type.ndim in (0, result.ndim) for v in node.inputs)

    def _wrap(self, node: Node, known: Collection[Value]) -> Sequence[Node]:
        epilogue, residual, after = Epilogue(), None, []
        result = node.outputs[0]
        while node.op.finishes and result not in self._returned and len(self._readers.get(result, ())) == 1:
            (reader,) = self._readers[result]
            other = _added(reader, result)
            if other in known and residual is None and epilogue.low is epilogue.high is None:
                epilogue, residual = replace(epilogue, residual=True), other
            elif isinstance(reader.op, Relu) and epilogue.low is epilogue.high is None:
                epilogue = replace(epilogue, low=0.0)
            elif isinstance(reader.op, Clip) and epilogue.low is epilogue.high is None:
                epilogue = replace(epilogue, low=reader.op.low, high=reader.op.high)
            else:
                break
            after.append(reader)
            result = reader.outputs[0]
        constant = tuple(v in self._constants for v in node.inputs)
        op = ChannelsLast(node.op, tuple(node.input_types), constant, epilogue, self._precision)
        inputs = [v if fixed else self._last(v) for v, fixed in zip(node.inputs, constant, strict=True)]
        self._add(node, op, inputs + ([self._last(residual)] if residual else []), result)
        return after

    def _add(self, node: Node, op: Op, inputs: Sequence[Value], result: Value) -> None:
        """A node whose result stands, channels last, for a value."""
        made = self.last[result] = Value(f"{result.name} channels last", channels_last_type(result.type))
        self.gone.add(result)
        self.nodes.append(Node(op, tuple(inputs), (made,), node.where, node.origins))

    def _last(self, value: Value) -> Value:
        """What holds a value channels last."""
        if value.type.ndim == 0:
            return value
        if value not in self.last:
            n, *spatial = range(value.type.ndim)
            made = Value(f"{value.name} channels last", channels_last_type(value.type))
            self.nodes.append(Node(Transpose((n, *spatial[1:], 1)), (value,), (made,)))
            self.last[value] = made
        return self.last[value]

    def _give_back(self, values: Collection[Value]) -> None:
        """Makes sure that these values exist as they were."""
        for value in values:
            if value in self.gone:
                self.gone.remove(value)
                axes = 0, value.type.ndim - 1, *range(1, value.type.ndim - 1)
                self.nodes.append(Node(Transpose(axes), (self.last[value],), (value,)))


def _added(node: Node, value: Value) -> Value | None:
    """What a node adds to a value, if it is an array of the same type."""
    if not isinstance(node.op, Add) or node.outputs[0].type != value.type:
        return None
    others = [v for v in node.inputs if v is not value]
    return others[0] if len(others) == 1 and others[0].type == value.type else None
