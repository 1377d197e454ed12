"""The intermediate representation: what a graph is, and how one is built or rewritten.

Symbol, TensorType      what is known of an array before it exists
Value, Node, Graph      frozen; a pass makes a new graph, it never edits one
Builder                 makes a Graph, node by node, checking every type
Index                   who makes and who reads a value, computed when asked for
Rewriter, rewrite       one sweep of a rule over a graph
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from tinygraph.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from tinygraph.ops.base import Op

Array = np.ndarray[Any, np.dtype[Any]]
Kind = Literal["input", "param", "frozen", "buffer", "const", "node"]
Mode = Literal["inference", "training"]


class Symbol(str):
    """A dimension with a name and no number yet, such as a dynamic batch `N`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


Dim = int | Symbol
Shape = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and dtype of an array. A plain string among the dims becomes a Symbol.

    Raises:
        ShapeError: a dim is negative, or neither a whole number nor a name.
    """

    shape: Shape
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(map(_dim, self.shape)))
        object.__setattr__(self, "dtype", np.dtype(self.dtype))

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether every dimension has a number."""
        return all(isinstance(d, int) for d in self.shape)

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape, all of it numbers; ShapeError if a dimension is symbolic."""
        for dim in self.shape:
            if isinstance(dim, Symbol):
                raise ShapeError(f"the dimension {dim} of {self} has no number yet: bind it first")
        return self.shape  # type: ignore[return-value]  # all of them are numbers

    @property
    def size(self) -> int:
        """Number of elements, as a Python int; ShapeError if a dimension is symbolic."""
        return prod(self.dims)

    @property
    def nbytes(self) -> int:
        """Bytes of an array of this type."""
        return self.size * self.dtype.itemsize

    def with_shape(self, shape: Iterable[Dim]) -> TensorType:
        """The same dtype with another shape."""
        return TensorType(tuple(shape), self.dtype)

    def with_dtype(self, dtype: Any) -> TensorType:
        """The same shape with another dtype."""
        return TensorType(self.shape, np.dtype(dtype))

    def bind(self, dims: Mapping[str, int]) -> TensorType:
        """The type with symbols replaced by their numbers."""
        return self.with_shape(dims.get(d, d) if isinstance(d, Symbol) else d for d in self.shape)

    def __str__(self) -> str:
        return f"{dtype_name(self.dtype)}[{','.join(map(str, self.shape))}]"


_LITERALS = ("True", "False", "None", "inf", "nan")  # identifiers that mean something else in a dump


def _dim(dim: object) -> Dim:
    if isinstance(dim, str) and dim.isidentifier() and dim not in _LITERALS:
        return dim if isinstance(dim, Symbol) else Symbol(dim)
    if isinstance(dim, (int, np.integer)) and not isinstance(dim, bool) and dim >= 0:
        return int(dim)
    raise ShapeError(f"{dim!r} is not a dimension: give a whole number >= 0, or a name such as 'N'")


_LETTER = {"f": "f", "i": "i", "u": "u", "c": "c"}


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Short name of a dtype as dumps print it: f32, i64, u8, bool."""
    return f"{_LETTER[dtype.kind]}{dtype.itemsize * 8}" if dtype.kind in _LETTER else dtype.name


@dataclass(frozen=True, slots=True)
class Where:
    """Where a node comes from: path of the module that emitted it, and source line."""

    module: str = ""
    source: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.module, self.source)))


NOWHERE = Where()


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """One array of the graph, compared by identity.

    Attributes:
        name: unique in its graph.
        type: shape and dtype.
        kind: input; param (trainable), frozen (a parameter training leaves alone), buffer
            (BatchNorm statistics), const; node (computed). They are counted and folded
            differently.
    """

    name: str
    type: TensorType
    kind: Kind = "node"

    def __repr__(self) -> str:
        return f"%{self.name}: {self.type}"


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One application of an op.

    Attributes:
        op: what is computed, with its attributes.
        inputs, outputs: the arrays read and made.
        where: the module path and source line it was traced from.
        origins: names of the nodes of the traced graph that it stands for, where a pass
            made it; empty for a node that is its own origin.
    """

    op: Op
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    where: Where = NOWHERE
    origins: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the first output names the node."""
        return self.outputs[0].name

    @property
    def input_types(self) -> tuple[TensorType, ...]:
        """Types of the inputs."""
        return tuple(v.type for v in self.inputs)

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        """Types of the outputs."""
        return tuple(v.type for v in self.outputs)

    @property
    def ancestry(self) -> tuple[str, ...]:
        """Names of the traced nodes it stands for; its own name if no pass made it."""
        return self.origins or (self.name,)

    def __repr__(self) -> str:
        outs = ", ".join(map(repr, self.outputs))
        return f"{outs} = {self.op}({', '.join('%' + v.name for v in self.inputs)})"


class Recipe(Protocol):
    """Numbers that are made only when they are needed (see nn/init.py)."""

    @property
    def type(self) -> TensorType:
        """Shape and dtype of the array to come."""

    def array(self) -> Array:
        """The numbers, always the same ones; read-only."""


Data = Array | Recipe


def frozen(array: Any) -> Array:
    """The array if nobody can write to it, else a read-only copy."""
    result: Array = np.asarray(array)
    owner: Any = result  # a read-only view does not help if its base can be written to
    while isinstance(owner, np.ndarray) and not owner.flags.writeable:
        owner = owner.base
    if isinstance(owner, np.ndarray):
        result = result.copy()
        result.flags.writeable = False
    return result


@dataclass(frozen=True, eq=False)
class Graph:
    """A static program: typed inputs, a list of nodes in topological order, outputs.

    Attributes:
        inputs: in the order of the call; unused ones stay.
        nodes: in topological order.
        outputs: (public name, value) pairs. An output that has the name of a buffer is
            that buffer's next value (BatchNorm statistics in training).
        data: the numbers of each param, frozen, buffer and const: a read-only array, or a
            recipe that makes one. Holds the parameters that no node reads, too.
        mode: inference or training.
    """

    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[tuple[str, Value], ...]
    data: Mapping[Value, Data] = field(default_factory=lambda: MappingProxyType({}))
    mode: Mode = "inference"

    def array(self, value: Value) -> Array:
        """The numbers of a param, frozen, buffer or const."""
        data = self.data[value]
        return data if isinstance(data, np.ndarray) else data.array()

    def values(self) -> Iterator[Value]:
        """Every value, in the order of definition."""
        yield from self.inputs
        yield from self.data
        for node in self.nodes:
            yield from node.outputs

    def value(self, name: str) -> Value:
        """The value of that name; UsageError if there is none."""
        for value in self.values():
            if value.name == name:
                return value
        raise UsageError(f"the graph has no value named {name!r}")

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """Names of the dimensions that are still open, in order of appearance."""
        return tuple(dict.fromkeys(d for v in self.inputs for d in v.type.shape if isinstance(d, Symbol)))

    def bind(self, **dims: int) -> Graph:
        """The same program with symbols replaced by numbers.

        Raises:
            UsageError: no input has a dimension of that name.
            ShapeError: a number does not fit.
        """
        unknown = sorted(set(dims) - set(self.symbols))
        if unknown:
            raise UsageError(
                f"no dimension is named {', '.join(unknown)}; open are: {', '.join(self.symbols) or 'none'}"
            )
        if not dims:
            return self
        build = Builder(self.mode)
        new = {v: build.input(v.name, v.type.bind(dims)) for v in self.inputs}
        new |= {v: build.keep(v, d) for v, d in self.data.items()}
        for node in self.nodes:
            names = [v.name for v in node.outputs]
            outs = build.emit(node.op.bind(dims), [new[v] for v in node.inputs], names, node.where, node.origins)
            new |= dict(zip(node.outputs, outs, strict=True))
        return build.finish((name, new[v]) for name, v in self.outputs)

    def __str__(self) -> str:
        from tinygraph.text import dump

        return dump(self)


class Builder:
    """Makes a graph. Names are made unique, types are inferred, dead nodes are dropped."""

    def __init__(self, mode: Mode = "inference") -> None:
        self.mode: Mode = mode
        self._inputs: list[Value] = []
        self._data: dict[Value, Data] = {}
        self._nodes: list[Node] = []
        self._taken: dict[str, int] = {}
        self._wishes: dict[Value, str] = {}

    def adopt(self, graph: Graph) -> None:
        """Takes over the inputs and data of a graph; the names of its nodes are taken too."""
        self._inputs = list(graph.inputs)
        self._data = dict(graph.data)
        self._taken = dict.fromkeys((v.name for v in graph.values()), 0)

    def data(self, value: Value) -> Data | None:
        """Numbers or recipe of a value; None if it is an input or computed."""
        return self._data.get(value)

    def input(self, name: str, type: TensorType) -> Value:
        """Declares the next input."""
        value = Value(self.fresh(name), type, "input")
        self._inputs.append(value)
        return value

    def declare(self, kind: Kind, name: str, data: Data) -> Value:
        """Declares a param, frozen, buffer or const with its numbers or their recipe."""
        if isinstance(data, np.ndarray):
            data = frozen(data)
            type = TensorType(data.shape, data.dtype)
        else:
            type = data.type
        return self.keep(Value(self.fresh(name), type, kind), data)

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
        self._nodes.append(Node(op, tuple(inputs), outputs, where, origins))
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
        nodes: list[Node] = []
        for node in reversed(self._nodes):
            if not live.isdisjoint(node.outputs):
                live.update(node.inputs)
                nodes.append(node)
        nodes.reverse()
        data = {v: d for v, d in self._data.items() if v in live or (v in kept and v.kind != "const")}
        renamed = self._settle(nodes, data) if self._wishes else {}
        if renamed:
            nodes = [_rename(node, renamed) for node in nodes]
            outputs = tuple((name, renamed.get(v, v)) for name, v in outputs)
        return Graph(tuple(self._inputs), tuple(nodes), outputs, MappingProxyType(data), self.mode)

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
        place = f" at {where}" if str(where) else ""
        raise ShapeError(f"{op.name}{place}: {error} (inputs: {', '.join(map(str, types))})") from None
    return result if isinstance(result, tuple) else (result,)


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
        return data if data is None or isinstance(data, np.ndarray) else data.array()

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
