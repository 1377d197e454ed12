"""Making a graph node by node: names become unique, types are inferred, dead nodes are dropped."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import NOWHERE, Data, Graph, Kind, Mode, Node, Symbol, TensorType, Value, Where, frozen, symbols_of

if TYPE_CHECKING:
    from tinygraph.ops.base import Op


class Builder:
    """A graph in the making.

    Args:
        mode: of the graph.

    Attributes:
        mode: of the graph.
        metadata: of the graph.
    """

    def __init__(self, mode: Mode = "inference") -> None:
        self.mode: Mode = mode
        self.metadata: dict[str, str] = {}
        self._inputs: list[Value] = []
        self._data: dict[Value, Data] = {}
        self._nodes: list[Node] = []
        self._makers: dict[Value, Node] = {}
        self._taken: dict[str, int] = {}
        self._wishes: dict[Value, str] = {}

    def adopt(self, graph: Graph) -> None:
        """Takes over the inputs, data and metadata of a graph; the names of its nodes are taken too."""
        self.metadata = dict(graph.metadata)
        self._inputs = list(graph.inputs)
        self._data = dict(graph.data)
        self._taken = dict.fromkeys((v.name for v in graph.values()), 0)

    def data(self, value: Value) -> Data | None:
        """Numbers or recipe of a value; None if it is an input or computed."""
        return self._data.get(value)

    def maker(self, value: Value) -> Node | None:
        """The node that computes a value; None if it is an input or has data."""
        return self._makers.get(value)

    def input(self, name: str, type: TensorType) -> Value:
        """Declares the next input."""
        value = Value(self.fresh(name), type, "input")
        self._inputs.append(value)
        return value

    def declare(self, kind: Kind, name: str, data: Data) -> Value:
        """Declares a param, frozen, buffer or const with its numbers or their recipe."""
        if isinstance(data, np.ndarray):
            data = frozen(data)
        return self.keep(Value(self.fresh(name), TensorType.of(data), kind), data)

    def const(self, array: Any, name: str = "const") -> Value:
        """Declares a constant."""
        return self.declare("const", name, np.asarray(array))

    def keep(self, value: Value, data: Data) -> Value:
        """Takes over a value of another graph with its data."""
        self._taken.setdefault(value.name, 0)
        self._data[value] = data
        return value

    def emit(
        self,
        op: Op,
        inputs: Sequence[Value],
        names: Sequence[str] = (),
        where: Where = NOWHERE,
        origins: tuple[str, ...] = (),
    ) -> tuple[Value, ...]:
        """Adds a node.

        Args:
            op: the op with its attributes.
            inputs: values of this graph.
            names: wished names of the outputs; by default the op's name.
            where: see Node.
            origins: see Node.

        Raises:
            ShapeError: the op refuses these types; the message says where.
        """
        types = infer(op, [v.type for v in inputs], where)
        names = list(names) or [op.name]
        names += [f"{names[0]}.{label}" for label in op.labels[len(names) :]]
        outputs = tuple(Value(self.fresh(n), t) for n, t in zip(names, types, strict=True))
        self._wishes |= {v: n for v, n in zip(outputs, names, strict=True) if v.name != n}
        self.add(Node(op, tuple(inputs), outputs, where, origins))
        return outputs

    def wish(self, value: Value, name: str) -> None:
        """Gives a computed value that name in `finish`, unless a value that lives on has it."""
        self._wishes[value] = name

    @property
    def last(self) -> Node:
        """The node added last."""
        return self._nodes[-1]

    def add(self, node: Node) -> None:
        """Takes over a node of another graph as it is."""
        for value in node.outputs:
            self._taken.setdefault(value.name, 0)
            self._makers[value] = node
        self._nodes.append(node)

    def finish(self, outputs: Iterable[tuple[str, Value]], keep_data: bool | Container[Value] = True) -> Graph:
        """The graph, without nodes that no output needs.

        Args:
            outputs: (public name, value) pairs.
            keep_data: keep parameters and buffers that no node reads (constants never): all of
                them, none, or these.
        """
        outputs = tuple(outputs)
        kept = keep_data if isinstance(keep_data, Container) else self._data if keep_data else ()
        live = {v for _, v in outputs}
        found = finders(self._inputs, self._nodes)
        needed = {found[d] for v in live for d in symbols_of(v.type.shape) if d in found}
        nodes: list[Node] = []
        for node in reversed(self._nodes):
            if node in needed or not live.isdisjoint(node.outputs):
                live.update(node.inputs)
                nodes.append(node)
                needed.update(found[d] for d in (named(node) if found else ()) if d in found)
        nodes.reverse()
        data = {v: d for v, d in self._data.items() if v in live or (v in kept and v.kind != "const")}
        renamed = self._settle(nodes, data) if self._wishes else {}
        if renamed:
            nodes = [_rename(node, renamed) for node in nodes]
            outputs = tuple((name, renamed.get(v, v)) for name, v in outputs)
        metadata = MappingProxyType(dict(self.metadata))
        return Graph(tuple(self._inputs), tuple(nodes), outputs, MappingProxyType(data), self.mode, metadata)

    def _settle(self, nodes: Sequence[Node], data: Mapping[Value, Data]) -> dict[Value, Value]:
        """Gives values the names they wished for where the former owner is gone."""
        made = [v for node in nodes for v in node.outputs]
        taken = {v.name for v in (*self._inputs, *data, *made)}
        renamed: dict[Value, Value] = {}
        for value in made:
            wish = self._wishes.get(value)
            if wish and wish not in taken:
                taken.add(wish)
                renamed[value] = replace(value, name=wish)
        return renamed

    def fresh(self, name: str) -> str:
        """The name, or the name with the first free number behind it."""
        if name not in self._taken:
            self._taken[name] = 0
            return name
        while True:
            self._taken[name] += 1
            candidate = f"{name}.{self._taken[name]}"
            if candidate not in self._taken:
                self._taken[candidate] = 0
                return candidate


def finders(inputs: Iterable[Value], nodes: Iterable[Node]) -> dict[Symbol, Node]:
    """The node that finds the number of each dimension that no input tells: the first that has it."""
    told = {d for v in inputs for d in symbols_of(v.type.shape)}
    found: dict[Symbol, Node] = {}
    for node in nodes:
        for value in node.outputs:
            for d in symbols_of(value.type.shape):
                if d not in told:
                    found.setdefault(d, node)
    return found


def named(node: Node) -> Iterator[Symbol]:
    """The names of dimensions in the attributes of a node's op and in the types of its results."""
    for field in fields(node.op):  # type: ignore[arg-type]  # every op is a dataclass
        held = getattr(node.op, field.name)
        yield from symbols_of(held if isinstance(held, tuple) else (held,))
    yield from (d for t in node.output_types for d in symbols_of(t.shape))


def _rename(node: Node, new: Mapping[Value, Value]) -> Node:
    inputs = tuple(new.get(v, v) for v in node.inputs)
    outputs = tuple(new.get(v, v) for v in node.outputs)
    same = inputs == node.inputs and outputs == node.outputs
    return node if same else replace(node, inputs=inputs, outputs=outputs)


def infer(op: Op, types: Sequence[TensorType], where: Where = NOWHERE) -> tuple[TensorType, ...]:
    """Runs the op's shape rule; a ShapeError comes out with the op, the place and the types."""
    try:
        op.check_arity(len(types))
        result = op.infer(*types)
    except ShapeError as error:
        message = f"{op.name}{where.phrase}: {error} (inputs: {', '.join(map(str, types))})"
        raise ShapeError(message, placed=bool(where.phrase)) from None
    return result if isinstance(result, tuple) else (result,)
