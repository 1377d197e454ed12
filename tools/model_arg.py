"""MODEL on the command line: a built-in network, an ONNX file, or somebody's Python function."""

from __future__ import annotations

import ast
import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tinygraph
from tinygraph.errors import UsageError
from tinygraph.ir import Graph, Mode
from tinygraph.nn.module import Module
from tinygraph.tools.input_size import bind, match, own_specs, read_sizes, with_batch
from tinygraph.tools.options import limits
from tinygraph.tools.own_code import contained, make
from tinygraph.trace import Spec, trace

if TYPE_CHECKING:
    from tinygraph.tools.onnx_file import OnnxFile

_CALLABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


@dataclass(frozen=True)
class Model:
    """A network that can be traced, or a graph that came from a file.

    Attributes:
        name: what the user typed.
        specs: its inputs as they are by default; empty if the user has to give them.
        module: the network, where it is one of Python.
        finished: the graph, where Python made one.
        file: the file, where it is one.
    """

    name: str
    specs: tuple[Spec, ...]
    module: Module | None = None
    finished: Graph | None = None
    file: OnnxFile | None = None

    @property
    def graph(self) -> Graph | None:
        """The graph as it is, where it does not come from a network of Python."""
        return self.file.graph if self.file is not None else self.finished

    def load(self, weights: str) -> None:
        """Takes the weights in a file; see `tinygraph.weights`.

        Raises:
            UsageError: they do not fit, or the model has weights of its own.
        """
        if self.module is None:
            raise UsageError(f"--weights: {self.name} has its own weights")
        self.module.load(weights)

    def trace(self, input_sizes: Sequence[str] = (), batch_size: int | None = None, mode: Mode = "inference") -> Graph:
        """The graph for these input sizes; dimensions that a file leaves open and no size names stay open.

        A finished graph keeps its mode.

        Raises:
            UsageError: a size is not one, or does not fit the inputs; somebody's own code fails.
            ShapeError: the network refuses it.
        """
        sizes = read_sizes(input_sizes)
        if self.file is not None:
            return self.file.sized(sizes, batch_size)
        if self.module is None:
            assert self.finished is not None
            return bind(self.finished, sizes, batch_size)
        if not self.specs:
            specs = own_specs(self.module, sizes)
        else:
            shapes = match({s.name or "": s.type.shape for s in self.specs}, sizes)
            specs = [replace(spec, shape=shape) for spec, shape in zip(self.specs, shapes, strict=True)]
        if batch_size is not None:
            specs = [replace(spec, shape=with_batch(spec.type.shape, batch_size)) for spec in specs]
        if self.specs:
            return trace(self.module, *specs, mode=mode)
        with contained(self.name):
            return trace(self.module, *specs, mode=mode)

    def trace_partly(
        self, input_sizes: Sequence[str] = (), batch_size: int | None = None, mode: Mode = "inference"
    ) -> tuple[Graph, list[str], str]:
        """As `trace`, but of a file with operators that are not supported as much as can be had.

        Returns:
            The graph; the operators of the nodes that are not in it; and what is wrong with the file.
        """
        if self.file is None or mode != "inference":
            return self.trace(input_sizes, batch_size, mode), [], ""
        return self.file.partly(read_sizes(input_sizes), batch_size)


def find(text: str, seed: int | None = None) -> Model:
    """The model that a MODEL argument names.

    Args:
        text: what the user typed.
        seed: of random weights, where the text has none.

    Raises:
        UsageError: there is no such model, or it cannot be made with these arguments.
        TinygraphError, OSError: the file cannot be read.
    """
    if text.endswith(".onnx"):
        from tinygraph.tools.onnx_file import OnnxFile

        file = OnnxFile(text)
        return Model(text, tuple(Spec(t.shape, t.dtype, name) for name, t in file.types.items()), file=file)
    if limits().bind:
        raise UsageError(f"--bind is about ONNX files, and {text} is none")
    name, colon, arguments = text.partition(":")
    if name in tinygraph.models.names() or not _CALLABLE.fullmatch(text):
        return _built_in(text, name, arguments if colon else "", seed)
    return _from_python(text, name, arguments, seed)


def _finished(name: str, graph: Graph) -> Model:
    return Model(name, tuple(Spec(v.type.shape, v.type.dtype, v.name) for v in graph.inputs), finished=graph)


def _built_in(text: str, name: str, arguments: str, seed: int | None) -> Model:
    known = tinygraph.models.names()
    if name not in known:
        raise UsageError(f"there is no model {name!r}{_suggestion(name, known)}")
    named = _arguments(arguments)
    if seed is not None:
        named.setdefault("seed", seed)
    with contained(text):
        module = tinygraph.models.create(name, **named)
    named.pop("seed", None)
    return Model(text, tuple(tinygraph.models.inputs(name, **named)), module=module)


def _suggestion(name: str, known: Sequence[str]) -> str:
    python = Path(f"{name.removesuffix('.py')}.py")
    if os.path.isfile(python):
        return f"; what {python.name} makes is written {python.stem}:function, in its folder"
    close = difflib.get_close_matches(name.lower(), known, n=4, cutoff=0.5)
    if close:
        return f"; close are {', '.join(close)}"
    if os.path.exists(name):
        return "; a file must end in .onnx"
    return "; `tinygraph models` lists them; a file must end in .onnx"


def _arguments(text: str) -> dict[str, Any]:
    """`num_classes=10,norm=group` as a dict; a plain word is a string."""
    source = f"_({text})"
    try:
        call = ast.parse(source, mode="eval").body
        if not isinstance(call, ast.Call) or call.end_col_offset != len(source.encode()) or call.args:
            raise ValueError
        names = [keyword.arg for keyword in call.keywords]
        values = [k.value.id if isinstance(k.value, ast.Name) else ast.literal_eval(k.value) for k in call.keywords]
        if None in names or len(set(names)) < len(names):
            raise ValueError
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise UsageError(f"cannot read the arguments {text!r}: write them as num_classes=10,seed=3") from None
    return dict(zip(map(str, names), values, strict=True))


def _from_python(text: str, module: str, name: str, seed: int | None) -> Model:
    made = make(text, module, name)
    if made is None:
        hint = _suggestion(module, tinygraph.models.names())
        raise UsageError(f"there is no model and no Python module {module!r}{hint}")
    if isinstance(made, Graph):
        return _finished(text, made)
    if seed is not None:
        made.reseed(seed)
    return Model(text, (), module=made)
