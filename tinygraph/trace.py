"""Tracing: run Python code once on symbolic tensors and keep what it did as a Graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
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


def trace(fn: Callable[..., Any], *specs: Spec | TensorType, mode: Mode = "inference") -> Graph:
    """Runs a module or function on symbolic tensors; what it did becomes a graph.

    Args:
        fn: called with a Tensor for each spec. It returns a Tensor, or a tuple, list or
            dict of them. A single output is named "output", those of a tuple "output.0",
            "output.1" and so on, those of a dict by their keys.
        specs: shape and dtype of each input.
        mode: "training" makes BatchNorm use the batch's statistics and dropout drop.

    Raises:
        UsageError: there are more or fewer specs than inputs, or something else in their place.
        TraceError: the code needs numbers that are not there yet.
        ShapeError: an op refuses its inputs; the message names the module and the line.
    """
    tracer = Trace(mode)
    tensors = [tracer.input(name, spec) for name, spec in zip(_names(fn, specs), specs, strict=True)]
    with tracer.running():
        tracer.root(fn)
        result = fn(*tensors)
        return tracer.finish(result)


def _names(fn: Callable[..., Any], specs: Sequence[Spec | TensorType]) -> list[str]:
    """Names of the inputs: what the specs say, else what the function calls its arguments."""
    for spec in specs:
        if not isinstance(spec, (Spec, TensorType)):
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


def _check_count(signature: inspect.Signature, specs: Sequence[Spec | TensorType], who: str) -> None:
    try:
        signature.bind(*specs)
    except TypeError as error:
        call = f"{who}({', '.join(signature.parameters)})"
        message = f"{call} does not take {len(specs)} inputs ({error}); give a Spec for each"
        raise UsageError(message) from None


class Trace:
    """A graph in the making, and where in the module tree and the source it is."""

    def __init__(self, mode: Mode = "inference", builder: Builder | None = None, where: Where | None = None) -> None:
        self.mode: Mode = mode
        self.builder = builder or Builder(mode)
        self.alive = True
        self._where = where
        self._paths: dict[int, str] = {}
        self._scopes: list[tuple[str, bool]] = [("", False)]
        self._variables: dict[int, Value] = {}
        self._keepalive: list[Any] = []
        self._updates: dict[int, tuple[str, Tensor]] = {}
        self._key: Tensor | None = None
        self._streams = 0

    # ---- making tensors ----

    def input(self, name: str, spec: Spec | TensorType) -> Tensor:
        """Declares an input."""
        return Tensor(self.builder.input(name, spec if isinstance(spec, TensorType) else spec.type), self)

    def variable(self, variable: Variable) -> Tensor:
        """The tensor of a module's parameter or buffer; a tied one is one value."""
        if id(variable) in self._updates:
            return self._updates[id(variable)][1]
        if id(variable) not in self._variables:
            name = ".".join(filter(None, (self._scopes[-1][0], variable.kind)))
            self._declare(name, variable)
        return Tensor(self._variables[id(variable)], self)

    def update(self, variable: Variable, tensor: Tensor) -> None:
        """Makes a tensor the next value of a buffer; later reads in this trace see it."""
        known = self._updates.get(id(variable))
        name = known[0] if known else self.variable(variable).value.name
        self._updates[id(variable)] = (name, tensor)

    def random(self) -> tuple[Tensor, int]:
        """The graph's random key, an input made on first use, and a stream number not used yet."""
        if self._key is None:
            self._key = self.input("random_key", TensorType((2,), np.dtype(np.uint64)))
        self._streams += 1
        return self._key, self._streams - 1

    def emit(self, op: Op, args: Sequence[Any]) -> Any:
        """Adds a node; arrays and numbers among the arguments become constants."""
        self._check_alive()
        path, leaf = self._scopes[-1]
        name = path if leaf and path else f"{path}.{op.name}" if path else op.name
        outs = self.builder.emit(op, [self._lift(a) for a in args], [name], self.where())
        tensors = tuple(Tensor(v, self) for v in outs)
        return tensors if len(op.labels) > 1 else tensors[0]

    def follow(self, name: str = "", where: Where = NOWHERE) -> None:
        """Nodes emitted from now on get this place, and names behind this one."""
        self._where = where
        self._scopes[-1] = (name, False)

    def where(self) -> Where:
        """The module path and source line of the code that is running."""
        return self._where or Where(self._scopes[-1][0], source_line())

    def _lift(self, arg: Any) -> Value:
        if isinstance(arg, Tensor):
            if arg.trace is not self:
                arg.trace._check_alive()
                raise TraceError(f"{arg!r} belongs to another trace; a graph cannot hold tensors of two")
            return arg.value
        if isinstance(arg, (np.ndarray, np.generic, int, float)):
            return self.builder.const(np.asarray(arg))
        raise TraceError(f"a {type(arg).__name__} is neither a tensor nor an array ({source_line()})")

    def _check_alive(self) -> None:
        if not self.alive:
            raise TraceError(
                "a tensor was used after its trace had ended; keep what the traced function returns instead"
            )

    # ---- the module tree ----

    def root(self, fn: Any) -> None:
        """Learns the names of the module that is traced, and declares its parameters."""
        if not hasattr(fn, "named_modules") or id(fn) in self._paths:
            return
        prefix = f"{self._scopes[-1][0]}." if self._scopes[-1][0] else ""
        self._keepalive.append(fn)
        for name, module in fn.named_modules():
            self._paths.setdefault(id(module), prefix + name)
        for name, variable in fn.named_variables():
            if id(variable) not in self._variables:
                self._declare(prefix + name, variable)

    @contextmanager
    def inside(self, module: Module) -> Iterator[None]:
        """While a module's forward runs: nodes get its path, and so does an error that has no place yet."""
        self.root(module)
        path = self._paths[id(module)]
        self._scopes.append((path, module.is_leaf))
        try:
            yield
        except ShapeError as error:
            if error.placed or not path:
                raise
            raise ShapeError(f"in {path}: {error}", placed=True) from None
        finally:
            self._scopes.pop()

    def _declare(self, name: str, variable: Variable) -> None:
        self._keepalive.append(variable)
        self._variables[id(variable)] = self.builder.declare(variable.kind, name, variable.data)

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
        outputs += [(name, t.value) for name, t in self._updates.values()]
        return self.builder.finish(outputs)


def _named(result: Any) -> list[tuple[str, Any]]:
    if isinstance(result, Mapping):
        return [(str(k), v) for k, v in result.items()]
    if isinstance(result, (tuple, list)):
        return [(f"output.{i}", v) for i, v in enumerate(result)]
    if result is None:
        raise TraceError("the traced function returned None; it must return a tensor")
    return [("output", result)]
