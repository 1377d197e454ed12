"""Tracing: run Python code once on symbolic tensors and keep what it did as a Graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.build import Builder
from tinygraph.errors import ShapeError, TraceError, UsageError
from tinygraph.ir import NOWHERE, Dim, Graph, Mode, TensorType, Value, Where
from tinygraph.ops.base import Op
from tinygraph.source import source_line
from tinygraph.tensor import Tensor

if TYPE_CHECKING:
    from tinygraph.nn.module import Module, Variable

_current: ContextVar[Trace | None] = ContextVar("tinygraph.trace", default=None)


@dataclass(frozen=True)
class Spec:
    """Shape and dtype of an input.

    Args:
        shape: whole numbers, or names of open dimensions: `Spec(("N", 3, 224, 224))`.
        dtype: float32 unless told.
        name: the input's public name; by default the name of the function's argument.

    Raises:
        ShapeError: a dim is not a whole number >= 0 or a name.
    """

    shape: Sequence[Dim | str]
    dtype: Any = np.float32
    name: str | None = None

    @property
    def type(self) -> TensorType:
        """The same as a TensorType."""
        return TensorType(tuple(self.shape), np.dtype(self.dtype))  # type: ignore[arg-type]  # names become Symbols


def current() -> Trace | None:
    """The trace that is running in this thread, if any."""
    return _current.get()


def trace(fn: Callable[..., Any], *specs: Spec | TensorType | Module, mode: Mode = "inference") -> Graph:
    """Runs a module or function on symbolic tensors; what it did becomes a graph.

    Args:
        fn: called with a Tensor for each spec. It returns a Tensor, or a tuple, list or
            dict of them. A single output is named "output", those of a tuple "output.0",
            "output.1" and so on, those of a dict by their keys.
        specs: shape and dtype of each input. A module among them is handed on as it is.
        mode: "training" makes BatchNorm use the batch's statistics and dropout drop.

    Raises:
        UsageError: there are more or fewer specs than inputs, or something else in their place.
        TraceError: the code needs numbers that are not there yet.
        ShapeError: an op refuses its inputs; the message names the module and the line.
    """
    tracer = Trace(mode)
    with tracer.running():
        return tracer.finish(tracer.call(fn, specs))


def input_names(fn: Callable[..., Any], specs: Sequence[Spec | TensorType | Module]) -> list[str]:
    """Names of the inputs: what the specs say, else what the function calls its arguments."""
    for spec in specs:
        if not isinstance(spec, (Spec, TensorType)) and not is_module(spec):
            raise UsageError(f"an input is described by a Spec, as tinygraph.Spec((1, 3, 224, 224)); got {spec!r}")
    target = getattr(fn, "forward", fn)
    known: list[str] = []
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        pass  # a builtin without a signature
    else:
        _check_count(signature, specs, getattr(fn, "__name__", type(fn).__name__))
        parameters = signature.parameters.values()
        known = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    known += [f"input.{i}" for i in range(len(known), len(specs))]
    given = [spec.name if isinstance(spec, Spec) else None for spec in specs]
    return [a or b for a, b in zip(given, known[: len(specs)], strict=True)]


def is_module(x: Any) -> bool:
    """Whether this is a module, or anything with a module's tree."""
    return hasattr(x, "named_modules")


def _check_count(signature: inspect.Signature, specs: Sequence[Any], who: str) -> None:
    try:
        signature.bind(*specs)
    except TypeError as error:
        call = f"{who}({', '.join(signature.parameters)})"
        message = f"{call} does not take {len(specs)} inputs ({error}); give a Spec for each"
        raise UsageError(message) from None


class Trace:
    """A graph in the making, and where in the module tree and the source it is.

    Args:
        mode: of the graph.
        parent: the trace that this one runs inside of. What the code reads of it, tensors and
            parameters, becomes inputs of the inner graph; see `captured`.

    Attributes:
        builder: of the graph.
        alive: until the trace has ended.
        variables: the module variables that were declared, by the names of their values.
        captured: values of the parent that are read -> the inputs that stand for them.
    """

    def __init__(self, mode: Mode = "inference", parent: Trace | None = None) -> None:
        self.mode: Mode = mode
        self.builder = Builder(mode)
        self.alive = True
        self.variables: dict[str, Variable] = {}
        self.captured: dict[Value, Value] = {}
        self._parent = parent
        self._where: Where | None = parent._where if parent else None
        self._place: _Place = parent._place if parent else _Place()
        self._values: dict[int, Value] = {}
        self._keepalive: list[Any] = []
        self._updates: dict[int, tuple[str, Variable, Tensor]] = {}
        self._key: Tensor | None = None
        self._streams = 0

    @classmethod
    def onto(cls, graph: Graph) -> Trace:
        """A trace that begins with all there is in a graph, its outputs aside."""
        trace = cls(graph.mode)
        trace.builder.adopt(graph)
        for node in graph.nodes:
            trace.builder.add(node)
        trace.follow()
        return trace

    def is_inside(self, other: Trace) -> bool:
        """Whether this trace runs inside of the other one, however deep."""
        trace = self._parent
        while trace is not None and trace is not other:
            trace = trace._parent
        return trace is not None

    # ---- making tensors ----

    def call(self, fn: Callable[..., Any], specs: Sequence[Spec | TensorType | Module]) -> Any:
        """Calls a function with an input for each spec; modules are handed on."""
        args: list[Any] = [
            spec if is_module(spec) else self.input(name, spec)  # type: ignore[arg-type]  # no module
            for name, spec in zip(input_names(fn, specs), specs, strict=True)
        ]
        for candidate in (fn, *args):
            self.root(candidate)
        return fn(*args)

    def input(self, name: str, spec: Spec | TensorType) -> Tensor:
        """Declares an input."""
        return Tensor(self.builder.input(name, spec if isinstance(spec, TensorType) else spec.type), self)

    def variable(self, variable: Variable) -> Tensor:
        """The tensor of a module's parameter or buffer; a tied one is one value."""
        if id(variable) in self._updates:
            return self._updates[id(variable)][2]
        if self._parent is not None:
            value = self._capture(self._parent.variable(variable))
            self.variables[value.name] = variable
            return Tensor(value, self)
        if id(variable) not in self._values:
            self._declare(".".join(filter(None, (self._place.path, variable.kind))), variable)
        return Tensor(self._values[id(variable)], self)

    def update(self, variable: Variable, tensor: Tensor) -> None:
        """Makes a tensor the next value of a buffer; later reads in this trace see it."""
        known = self._updates.get(id(variable))
        name = known[0] if known else self.variable(variable).value.name
        self._updates[id(variable)] = (name, variable, tensor)

    def random(self) -> tuple[Tensor, int]:
        """The graph's random key, an input made on first use, and a stream number not used yet."""
        if self._parent is not None:
            key, stream = self._parent.random()
            return Tensor(self._capture(key), self), stream
        if self._key is None:
            self._key = self.input("random_key", TensorType((2,), np.dtype(np.uint64)))
        self._streams += 1
        return self._key, self._streams - 1

    def emit(self, op: Op, args: Sequence[Any]) -> Any:
        """Adds a node; arrays and numbers among the arguments become constants."""
        self._check_alive()
        path, leaf = self._place.scopes[-1]
        name = path if leaf and path else f"{path}.{op.name}" if path else op.name
        outs = self.builder.emit(op, [self._lift(a) for a in args], [name], self.where())
        tensors = tuple(Tensor(v, self) for v in outs)
        return tensors if len(op.labels) > 1 else tensors[0]

    def inline(self, graph: Graph, args: Sequence[Any]) -> list[Tensor]:
        """Adds the nodes of a graph, with these arguments for its inputs; its outputs in order."""
        self._check_alive()
        new = dict(zip(graph.inputs, map(self._lift, args), strict=True))
        new |= {v: self.builder.declare(v.kind, v.name, d) for v, d in graph.data.items()}
        for node in graph.nodes:
            names = [v.name for v in node.outputs]
            where = replace(node.where, checkpoint=self._place.checkpoint or node.where.checkpoint)
            outs = self.builder.emit(node.op, [new[v] for v in node.inputs], names, where, node.origins)
            new |= zip(node.outputs, outs, strict=True)
        return [Tensor(new[v], self) for _, v in graph.outputs]

    def follow(self, name: str = "", where: Where = NOWHERE) -> None:
        """Nodes emitted from now on get this place, and names behind this one."""
        self._where = where
        self._place.scopes[-1] = (name, False)

    def where(self) -> Where:
        """The module path, source line and checkpoint of the code that is running."""
        return self._where or Where(self._place.path, source_line(), self._place.checkpoint)

    def _lift(self, arg: Any) -> Value:
        if isinstance(arg, Tensor):
            if arg.trace is self:
                return arg.value
            if self._parent is not None:
                return self._capture(arg)
            arg.trace._check_alive()
            raise TraceError(f"{arg!r} belongs to another trace; a graph cannot hold tensors of two")
        if isinstance(arg, (np.ndarray, np.generic, int, float)):
            return self.builder.const(np.asarray(arg))
        raise TraceError(f"a {type(arg).__name__} is neither a tensor nor an array ({source_line()})")

    def _capture(self, tensor: Tensor) -> Value:
        """The input that stands for a tensor of the parent, or of one further out."""
        assert self._parent is not None
        outer = self._parent._lift(tensor)
        if outer not in self.captured:
            self.captured[outer] = self.builder.input(outer.name, outer.type)
        return self.captured[outer]

    def _check_alive(self) -> None:
        if not self.alive:
            raise TraceError(
                "a tensor was used after its trace had ended; keep what the traced function returns instead"
            )

    # ---- the module tree ----

    def root(self, fn: Any) -> None:
        """Learns the names of the module that is traced, and declares its parameters."""
        if not is_module(fn) or id(fn) in self._place.paths:
            return
        if self._parent is not None:
            self._parent.root(fn)
            return
        prefix = f"{self._place.path}." if self._place.path else ""
        self._keepalive.append(fn)
        for name, module in fn.named_modules():
            self._place.paths.setdefault(id(module), prefix + name)
        for name, variable in fn.named_variables():
            if id(variable) not in self._values:
                self._declare(prefix + name, variable)

    @contextmanager
    def inside(self, module: Module) -> Iterator[None]:
        """While a module's forward runs: nodes get its path, and so does an error that has no place yet."""
        self.root(module)
        path = self._place.paths[id(module)]
        self._place.scopes.append((path, module.is_leaf))
        try:
            yield
        except ShapeError as error:
            if error.placed or not path:
                raise
            raise ShapeError(f"in {path}: {error}", placed=True) from None
        finally:
            self._place.scopes.pop()

    @contextmanager
    def checkpoint(self, on: bool = True) -> Iterator[None]:
        """While the block runs: nodes belong to one region that the backward pass computes again."""
        before = self._place.checkpoint
        if on and not before:
            self._place.checkpoints += 1
            self._place.checkpoint = f"{self._place.path or 'function'}#{self._place.checkpoints}"
        try:
            yield
        finally:
            self._place.checkpoint = before

    def _declare(self, name: str, variable: Variable) -> None:
        self._keepalive.append(variable)
        value = self.builder.declare(variable.kind, name, variable.data)
        self._values[id(variable)] = value
        self.variables[value.name] = variable

    # ---- begin and end ----

    @contextmanager
    def running(self) -> Iterator[Trace]:
        """Makes this the current trace; it ends with the block."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)
            self.alive = False

    def finish(self, result: Any) -> Graph:
        """The graph that computes the result, and the buffers' next values."""
        outputs = [(name, self._lift(t)) for name, t in _named(result)]
        outputs += [(name, t.value) for name, _, t in self._updates.values()]
        return self.builder.finish(outputs)

    @property
    def updated(self) -> list[Variable]:
        """The buffers whose next values stand at the end of the outputs."""
        return [variable for _, variable, _ in self._updates.values()]


class _Place:
    """Where the running code is; a trace shares it with those inside of it."""

    def __init__(self) -> None:
        self.paths: dict[int, str] = {}
        self.scopes: list[tuple[str, bool]] = [("", False)]
        self.checkpoint = ""
        self.checkpoints = 0

    @property
    def path(self) -> str:
        """Path of the module whose forward runs."""
        return self.scopes[-1][0]


def _named(result: Any) -> list[tuple[str, Any]]:
    if isinstance(result, Mapping):
        return [(str(k), v) for k, v in result.items()]
    if isinstance(result, (tuple, list)):
        return [(f"output.{i}", v) for i, v in enumerate(result)]
    if result is None:
        raise TraceError("the traced function returned None; it must return a tensor")
    return [("output", result)]
