"""The intermediate representation: what a graph is.

All of it is frozen. build.py makes a graph, rewrite.py makes one from another.

    Symbol, TensorType      what is known of an array before it exists
    Where, Value, Node      an array of the graph, an application of an op, and where it comes from
    Graph                   typed inputs, nodes in topological order, outputs, numbers or their recipes
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from tinygraph.errors import ShapeError, UsageError, printable

if TYPE_CHECKING:
    from tinygraph.ops.base import Op

Array = np.ndarray[Any, np.dtype[Any]]
Kind = Literal["input", "param", "frozen", "buffer", "const", "node"]
Mode = Literal["inference", "training"]


class Symbol(str):
    """A dimension with a name and no number yet, such as a dynamic batch `N`, or a multiple of one, `6*N`."""

    __slots__ = ()

    @property
    def base(self) -> Symbol:
        """The name."""
        return Symbol(self.rpartition("*")[2])

    @property
    def factor(self) -> int:
        """How many times as large as the one of that name it is."""
        return int(self.rpartition("*")[0] or 1)

    def times(self, number: int) -> Symbol:
        """The dimension that many times, which are one or more."""
        factor = self.factor * number
        return Symbol(f"{factor}*{self.base}") if factor != 1 else self.base

    def bind(self, dims: Mapping[str, int]) -> Dim:
        """Its number, if there is one for its name; else itself."""
        number = dims.get(self.base)
        return self if number is None else number * self.factor

    def __repr__(self) -> str:
        return str(self)


Dim = int | Symbol
_MOST_DIMS = 64  # of a NumPy array
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
        if len(self.shape) > _MOST_DIMS:
            raise ShapeError(f"{len(self.shape)} dimensions are more than the {_MOST_DIMS} that arrays may have")
        object.__setattr__(self, "dtype", np.dtype(self.dtype))

    @classmethod
    def of(cls, data: Data) -> TensorType:
        """Shape and dtype of an array, or of the array that a recipe will make."""
        return cls(data.shape, data.dtype) if isinstance(data, np.ndarray) else data.type

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
        return self.with_shape(d.bind(dims) if isinstance(d, Symbol) else d for d in self.shape)

    def __str__(self) -> str:
        return f"{dtype_name(self.dtype)}[{','.join(map(str, self.shape))}]"


_LITERALS = ("True", "False", "None", "inf", "nan")  # identifiers that mean something else in a dump


_MOST = 2**63 - 1  # what NumPy counts up to
_MULTIPLE = re.compile(r"(?:[2-9]|[1-9][0-9]+)\*")


def symbols_of(dims: Iterable[Any]) -> Iterator[Symbol]:
    """The names among dimensions; that of a multiple is the name of which it is one."""
    return (d.base for d in dims if isinstance(d, Symbol))


def _dim(dim: object) -> Dim:
    if isinstance(dim, str):
        name = _MULTIPLE.sub("", dim, count=1)
        if name.isidentifier() and name not in _LITERALS and dim.endswith(name):
            return dim if isinstance(dim, Symbol) else Symbol(dim)
    if isinstance(dim, (int, np.integer)) and not isinstance(dim, bool) and dim >= 0:
        if dim > _MOST:
            raise ShapeError(f"a dimension of {dim} is more than NumPy counts up to, {_MOST}")
        return int(dim)
    raise ShapeError(f"{dim!r} is not a dimension: give a whole number >= 0, or a name such as 'N'")


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Short name of a dtype as dumps print it: f32, i64, u8, bool."""
    return f"{dtype.kind}{dtype.itemsize * 8}" if dtype.kind in "fiuc" else dtype.name


@dataclass(frozen=True, slots=True)
class Where:
    """Where a node comes from.

    Attributes:
        module: path of the module that emitted it.
        source: file and line.
        checkpoint: name of the region that is computed again in the backward pass, if it is in one.
    """

    module: str = ""
    source: str = ""
    checkpoint: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.module, self.source)))

    @property
    def phrase(self) -> str:
        """How a message goes on: " at layer1.0.conv1 net.py:7"; nothing if the place is not known."""
        return f" at {printable(str(self))}" if str(self) else ""


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
        return f"%{printable(self.name)}: {self.type}"


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
        return f"{outs} = {self.op}({', '.join('%' + printable(v.name) for v in self.inputs)})"


class Recipe(Protocol):
    """Numbers that are made only when they are needed (see nn/init.py)."""

    @property
    def type(self) -> TensorType:
        """Shape and dtype of the array to come."""

    def array(self) -> Array:
        """The numbers, always the same ones; read-only."""


Data = Array | Recipe


def array_of(data: Data) -> Array:
    """The numbers: the array itself, or what the recipe makes."""
    return data if isinstance(data, np.ndarray) else data.array()


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
        outputs: (public name, value) pairs. An output that has the name of a parameter or a
            buffer is its next value (BatchNorm statistics and updated weights in training).
        data: the numbers of each param, frozen, buffer and const: a read-only array, or a
            recipe that makes one. Holds the parameters that no node reads, too.
        mode: inference or training.
        metadata: what the file that it came from says of itself, by key. Passes and saving keep it.
    """

    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[tuple[str, Value], ...]
    data: Mapping[Value, Data] = field(default_factory=lambda: MappingProxyType({}))
    mode: Mode = "inference"
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def array(self, value: Value) -> Array:
        """The numbers of a param, frozen, buffer or const."""
        return array_of(self.data[value])

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
        return tuple(dict.fromkeys(d for v in self.inputs for d in symbols_of(v.type.shape)))

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
        from tinygraph.build import Builder

        build = Builder(self.mode)
        build.metadata |= self.metadata
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
