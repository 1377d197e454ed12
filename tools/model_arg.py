"""MODEL on the command line: a built-in network, an ONNX file, or somebody's Python function."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tinygraph
from tinygraph.errors import TinygraphError, UsageError
from tinygraph.ir import Dim, Graph, Shape, Symbol, TensorType
from tinygraph.nn.module import Module
from tinygraph.tools.table import show_shape
from tinygraph.trace import Spec, trace

_CALLABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


@dataclass(frozen=True)
class Model:
    """A network that can be traced, or a graph that came from a file.

    Attributes:
        name: what the user typed.
        specs: its inputs as they are by default; empty if the user has to give them.
        module: the network, where it is one of Python.
        graph: the graph, where it is a finished one.
    """

    name: str
    specs: tuple[Spec, ...]
    module: Module | None = None
    graph: Graph | None = None

    def trace(self, input_sizes: Sequence[str] = (), batch_size: int | None = None) -> Graph:
        """The graph for these input sizes; dimensions that a file leaves open and no size names stay open.

        Raises:
            UsageError: a size is not one, or does not fit the inputs.
            ShapeError: the network refuses it.
        """
        if self.module is None:
            assert self.graph is not None
            return _bind(self.graph, input_sizes, batch_size)
        sizes = _sizes(input_sizes)
        if not self.specs and not sizes:
            raise UsageError(f"{self.name} does not say what it takes: give --input-size, such as 1,3,224,224")
        specs = self.specs or tuple(Spec(shape, name=name) for name, shape in sizes)
        shapes = _match([(s.name, s.type.shape) for s in self.specs], sizes) if self.specs else [s for _, s in sizes]
        if batch_size is not None:
            shapes = [_with_batch(shape, batch_size) for shape in shapes]
        return trace(self.module, *(replace(spec, shape=shape) for spec, shape in zip(specs, shapes, strict=True)))


def find(text: str) -> Model:
    """The model that a MODEL argument names.

    Raises:
        UsageError: there is no such model, or it cannot be made with these arguments.
        TinygraphError, OSError: the file cannot be read.
    """
    if text.endswith(".onnx"):
        return _finished(text, tinygraph.load(text))
    name, colon, arguments = text.partition(":")
    if name in tinygraph.models.names() or not _CALLABLE.fullmatch(text):
        return _built_in(text, name, arguments if colon else "")
    return _from_python(text, name, arguments)


def _finished(name: str, graph: Graph) -> Model:
    return Model(name, tuple(Spec(v.type.shape, v.type.dtype, v.name) for v in graph.inputs), graph=graph)


def _built_in(text: str, name: str, arguments: str) -> Model:
    known = tinygraph.models.names()
    if name not in known:
        raise UsageError(f"there is no model {name!r}{_suggestion(name, known)}")
    named = _arguments(arguments)
    module = _call(text, lambda: tinygraph.models.create(name, **named))
    named.pop("seed", None)
    return Model(text, tuple(tinygraph.models.inputs(name, **named)), module=module)


def _call(text: str, make: Callable[[], Any]) -> Any:
    """What the function makes; its failure is the user's to mend."""
    try:
        return make()
    except TinygraphError:
        raise
    except Exception as error:
        raise UsageError(f"{text} failed: {type(error).__name__}: {error}") from error


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
    if close:
        return f"; close are {', '.join(close)}"
    if Path(name).exists():
        return "; a file must end in .onnx"
    return "; `tinygraph models` lists them; a file must end in .onnx"


def _arguments(text: str) -> dict[str, Any]:
    """`num_classes=10,norm=group` as a dict; a plain word is a string."""
    try:
        call = ast.parse(f"_({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            raise ValueError
        return {
            str(k.arg): k.value.id if isinstance(k.value, ast.Name) else ast.literal_eval(k.value)
            for k in call.keywords
        }
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise UsageError(f"cannot read the arguments {text!r}: write them as num_classes=10,seed=3") from None


def _from_python(text: str, module: str, function: str) -> Model:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.util.find_spec(module)
    except ImportError:
        found = None
    if found is None:
        hint = _suggestion(module, tinygraph.models.names())
        raise UsageError(f"there is no model and no Python module {module!r}{hint}")
    made = _call(text, lambda: getattr(importlib.import_module(module), function)())
    if isinstance(made, Graph):
        return _finished(text, made)
    if not isinstance(made, Module):
        raise UsageError(f"{text} returned a {type(made).__name__}; it must return a tinygraph.nn.Module or a Graph")
    return Model(text, (), module=made)


# ---- input sizes -----------------------------------------------------------------------------


def _sizes(texts: Sequence[str]) -> list[tuple[str | None, Shape]]:
    return [_size(text) for text in texts]


def _size(text: str) -> tuple[str | None, Shape]:
    """`1,3,224,224`, `1x3x224x224` or `name:1x3x224x224`."""
    name, colon, size = text.rpartition(":")
    parts = re.split("[,x]", size)
    if not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
        raise UsageError(f"--input-size {text!r} is not a size: write 1,3,224,224 or name:1x3x224x224")
    return name if colon else None, tuple(map(int, parts))


def _match(inputs: Sequence[tuple[str | None, Shape]], sizes: Sequence[tuple[str | None, Shape]]) -> list[Shape]:
    """The shape of each input: by name, else in order, else as it is."""
    shapes = [shape for _, shape in inputs]
    names = [name for name, _ in inputs]
    unnamed = 0
    for name, shape in sizes:
        if name is None:
            position, unnamed = unnamed, unnamed + 1
            if position >= len(shapes):
                raise UsageError(f"--input-size is given {unnamed} times, the model has {len(shapes)} input(s)")
        elif name in names:
            position = names.index(name)
        else:
            raise UsageError(f"there is no input {name!r}; the inputs are {', '.join(filter(None, names))}")
        if len(shape) != len(shapes[position]):
            given, wanted = show_shape(shape), show_shape(shapes[position])
            raise UsageError(f"--input-size {given} does not fit the input {names[position]}, which is {wanted}")
        shapes[position] = shape
    return shapes


def _with_batch(shape: Shape, batch: int) -> Shape:
    if not shape:
        raise UsageError("-b: an input is a single number, it has no batch dimension")
    return (batch, *shape[1:])


def _bind(graph: Graph, input_sizes: Sequence[str], batch_size: int | None) -> Graph:
    """A finished graph, with the numbers that are given for its open dimensions."""
    wanted = _match([(v.name, v.type.shape) for v in graph.inputs], _sizes(input_sizes))
    if batch_size is not None:
        wanted = [_with_batch(shape, batch_size) for shape in wanted]
    numbers: dict[str, int] = {}
    for value, shape in zip(graph.inputs, wanted, strict=True):
        for fixed, dim in zip(value.type.shape, shape, strict=True):
            _settle(value.name, value.type, fixed, dim, numbers)
    return graph.bind(**numbers) if numbers else graph


def _settle(name: str, type: TensorType, fixed: Dim, dim: Dim, numbers: dict[str, int]) -> None:
    if isinstance(dim, Symbol):
        return
    if isinstance(fixed, Symbol):
        if numbers.setdefault(fixed, dim) != dim:
            raise UsageError(f"the dimension {fixed} is to be {numbers[fixed]} and {dim} at once")
    elif fixed != dim:
        raise UsageError(
            f"the input {name} is {show_shape(type.shape)} in the file, {dim} in the place of {fixed} does not fit"
        )


def refuse_open_sizes(graph: Graph) -> Graph:
    """The graph, if at most first dimensions of its inputs are open.

    Raises:
        UsageError: another dimension has no number.
    """
    open_sizes = {str(d): None for v in graph.inputs for d in v.type.shape[1:] if isinstance(d, Symbol)}
    if open_sizes:
        inputs = ", ".join(f"{v.name} {show_shape(v.type.shape)}" for v in graph.inputs)
        raise UsageError(f"no number is known for {', '.join(open_sizes)} of the input {inputs}: give --input-size")
    return graph
