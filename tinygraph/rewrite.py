"""Making a graph from another: who makes and who reads a value, and one sweep of a rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tinygraph.build import Builder
from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Data, Graph, Kind, Node, Value, array_of

if TYPE_CHECKING:
    from tinygraph.ops.base import Op


class Index:
    """Who makes and who reads each value of one graph."""

    def __init__(self, graph: Graph) -> None:
        self._maker: dict[Value, Node] = {}
        self._users: dict[Value, list[Node]] = {}
        self.outputs = frozenset(v for _, v in graph.outputs)
        for node in graph.nodes:
            for value in node.outputs:
                self._maker[value] = node
            for value in node.inputs:
                self._users.setdefault(value, []).append(node)

    def maker(self, value: Value) -> Node | None:
        """The node that computes the value; None for inputs and data."""
        return self._maker.get(value)

    def users(self, value: Value) -> Sequence[Node]:
        """Nodes that read the value, one entry for each time they read it."""
        return self._users.get(value, ())

    def sole_reader(self, value: Value) -> Node | None:
        """The node that reads the value, if it is read once and is not an output."""
        users = self.users(value)
        return users[0] if len(users) == 1 and value not in self.outputs else None


Replacement = Value | Sequence[Value] | None
Rule = Callable[[Node, "Rewriter"], Replacement]


class Rewriter:
    """What a rule sees: the old graph to match in, and a new one to emit into.

    Values of the old graph may be handed to `emit`: they are replaced by what they have
    become.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.index = Index(graph)
        self.changed = False
        self._new: dict[Value, Value] = {}
        self._maker: dict[Value, Node] = {}
        self._build = Builder(graph.mode)
        self._build.adopt(graph)
        self._node: Node | None = None

    def __getitem__(self, value: Value) -> Value:
        """What the value of the old graph has become in the new one."""
        return self._new.get(value, value)

    def maker(self, value: Value) -> Node | None:
        """The node of the new graph that computes what the value has become; None for inputs and data."""
        return self._maker.get(self[value])

    def data(self, value: Value) -> Data | None:
        """Numbers or recipe of a value of either graph; None if it is an input or computed."""
        return self._build.data(self[value])

    def array(self, value: Value) -> Array | None:
        """Numbers of a value of either graph; None if it is an input or computed."""
        data = self.data(value)
        return None if data is None else array_of(data)

    def declare(self, kind: Kind, name: str, data: Data) -> Value:
        """A new constant, or a new parameter in the place of an old one; it goes if nothing reads it."""
        return self._build.declare(kind, name, data)

    def emit(self, op: Op, *inputs: Value, name: str = "", of: Sequence[Node] = ()) -> tuple[Value, ...]:
        """A new node.

        Args:
            op: the op with its attributes.
            inputs: values of the old or of the new graph.
            name: wished name; by default that of the node being replaced.
            of: nodes of the old graph that it stands for; by default the one being replaced.
                The first gives the place in the source.
        """
        assert self._node is not None
        of = of or (self._node,)
        origins = tuple(dict.fromkeys(name for node in of for name in node.ancestry))
        outputs = self._build.emit(op, [self[v] for v in inputs], [name or self._node.name], of[0].where, origins)
        self._maker |= dict.fromkeys(outputs, self._build.last)
        return outputs

    def substitute(self, old: Value, new: Value) -> None:
        """From here on, whoever reads the old value reads the new one.

        Raises:
            ShapeError: the types differ.
        """
        if old.type != new.type:
            raise ShapeError(f"a rule replaced {old!r} by {new!r}, of another type")
        self._new[old] = self[new]
        self.changed = True

    def sweep(self, rule: Rule) -> Graph:
        """Asks the rule about every node; the input graph itself if nothing was replaced.

        Parameters and buffers that lose their last reader go with it, except in training.
        """
        for node in self.graph.nodes:
            self._node = node
            result = rule(node, self)
            if result is None:
                self._copy(node)
                continue
            values = (result,) if isinstance(result, Value) else tuple(result)
            for old, new in zip(node.outputs, values, strict=True):
                self.substitute(old, new)
        if not self.changed:
            return self.graph
        outputs = [(name, self[v]) for name, v in self.graph.outputs]
        training = self.graph.mode == "training"
        unread = {v for v in self.graph.data if training or not self.index.users(v)}
        return self._build.finish(outputs, keep_data=unread)

    def _copy(self, node: Node) -> None:
        inputs = tuple(self[v] for v in node.inputs)
        if inputs != node.inputs:
            node = replace(node, inputs=inputs)
        self._build.add(node)
        self._maker |= dict.fromkeys(node.outputs, node)


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """One sweep of a rule over the graph, in topological order.

    A rule gets a node of the old graph and the Rewriter; it returns None to keep the node,
    or the values that replace its outputs. The input graph is untouched, and returned as it
    is if the rule replaced nothing.
    """
    return Rewriter(graph).sweep(rule)
