"""Graph <-> text, both ways: `parse(str(graph))` is a graph equal to the first.

    graph inference
    input %x: f32[1,3,224,224]
    param %conv1.weight: f32[64,3,7,7] = kaiming_normal(fan="out") seed=0 key="conv1.weight"
    const %eps: f32[] = {1e-05}
    buffer %bn1.running_mean: f32[64] = #55bc801d5cd5c7f5
    %conv1: f32[1,64,112,112] = conv(%x, %conv1.weight, stride=(2, 2)) @ conv1 models/resnet.py:45
    output "logits" = %fc

One line a node, attributes at their defaults left out. Behind `@` stand module path and source
line, behind `checkpoint` the region that the backward pass computes again, behind `from` the
nodes of the traced graph that a pass merged into this one. Up to
eight numbers are written out, exactly; more stand as a hash of their bytes, and a parsed graph
has them only if they are handed to `parse`. Names that are not plain are JSON strings.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, get_args

import numpy as np

from tinygraph.build import Builder
from tinygraph.errors import ModelFormatError, ShapeError, TinygraphError
from tinygraph.ir import (
    NOWHERE,
    Array,
    Data,
    Graph,
    Kind,
    Mode,
    Node,
    Symbol,
    TensorType,
    Value,
    Where,
    array_of,
    dtype_name,
    frozen,
)
from tinygraph.nn.init import INITIALIZERS, Seeded
from tinygraph.ops.base import OPS

_INLINE = 8  # arrays of up to this many finite numbers are written out
_PLAIN = re.compile(r"[\w.:/+#-]+(?<!:)")
_SHOWN = 120  # characters of a line and of what is wrong with it, in an error
_DEPTH = 16  # of nested tuples among the attributes
_DTYPES = {dtype_name(np.dtype(t)): np.dtype(t) for t in "?bBhHiIlLefdFD"}


def dump(graph: Graph) -> str:
    """The text of a graph; ends with a newline."""
    return "".join(line + "\n" for line in _lines(graph))


def equal(a: Graph, b: Graph) -> bool:
    """Whether two graphs are the same: names, types, nodes, places, numbers."""
    return dump(a) == dump(b)


def _lines(graph: Graph) -> Iterator[str]:
    yield f"graph {graph.mode}"
    for key, text in graph.metadata.items():
        yield f"metadata {json.dumps(key)} = {json.dumps(text)}"
    for value in graph.inputs:
        yield f"input {_typed(value)}"
    for value, data in graph.data.items():
        yield f"{value.kind} {_typed(value)} = {_numbers(data)}"
    for node in graph.nodes:
        yield node_line(node)
    for name, value in graph.outputs:
        yield f"output {json.dumps(name)} = %{_atom(value.name)}"


def node_line(node: Node) -> str:
    """The line of one node."""
    outs = ", ".join(map(_typed, node.outputs))
    args = ", ".join(filter(None, [*("%" + _atom(v.name) for v in node.inputs), attributes(node.op)]))
    place = f" @ {_atom(node.where.module)} {_atom(node.where.source)}" if node.where != NOWHERE else ""
    place += f" checkpoint {_atom(node.where.checkpoint)}" if node.where.checkpoint else ""
    origins = f" from {', '.join(map(_atom, node.origins))}" if node.origins else ""
    return f"{outs} = {node.op.name}({args}){place}{origins}"


def attributes(described: Any) -> str:
    """The fields of an op or initializer that differ from their defaults: `stride=(2, 2)`."""
    shown = []
    for f in fields(described):
        value = getattr(described, f.name)
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        if default is MISSING or _literal(value) != _literal(default):  # as text: -0.0 is not 0.0, nor 1 True
            shown.append(f"{f.name}={_literal(value)}")
    return ", ".join(shown)


def _typed(value: Value) -> str:
    return f"%{_atom(value.name)}: {value.type}"


def _atom(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, str) and not isinstance(value, Symbol):
        return json.dumps(value)
    return repr(value)


def _numbers(data: Data) -> str:
    if isinstance(data, Seeded):
        return f"{data.init.name}({attributes(data.init)}) seed={data.seed} key={json.dumps(data.key)}"
    if isinstance(data, Unloaded):
        return f"#{data.digest}"
    array = array_of(data)
    if array.size <= _INLINE and array.dtype.kind in "biuf" and np.all(np.isfinite(array)):
        return "{" + ", ".join(map(str, array.ravel().tolist() if array.dtype.kind != "f" else array.ravel())) + "}"
    return f"#{_digest(array)}"


def _digest(array: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()[:16]


@dataclass(frozen=True)
class Unloaded:
    """Numbers that a dump names by their hash only."""

    type: TensorType
    digest: str

    def array(self) -> Array:
        """Refuses: the numbers are not in the text."""
        raise ModelFormatError(
            f"the numbers of {self.type} #{self.digest} are not in the text; give them to parse(text, data=...)"
        )


def parse(text: str, data: Mapping[str, Any] | None = None) -> Graph:
    """Reads a dump.

    Args:
        text: what `str(graph)` gave.
        data: arrays by name, for those that the text holds as a hash.

    Raises:
        ModelFormatError: the text is no dump; the message has the line.
    """
    reader = _Reader(data or {})
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("//"):
            continue
        try:
            reader.line(line)
        except Exception as error:  # a shape rule may fail in any way on attributes that make no sense
            reason = str(error) if isinstance(error, TinygraphError) else f"cannot be read ({error})"
            raise ModelFormatError(f"line {number}: {reason[:_SHOWN]}: {line.strip()[:_SHOWN]}") from None
    return reader.finish()


_TOKEN = re.compile(
    r"""\s*(?:
    %(?P<value>[\w.:/+\#-]+(?<!:)|"(?:\\.|[^"\\])*")
    |(?P<string>"(?:\\.|[^"\\])*")
    |(?P<number>-?(?:\d+\.?\d*(?:e[+-]?\d+)?|\.\d+|inf\b|nan\b)(?![\w.:/+\#*-]))
    |(?P<word>(?:\d+\*)?[\w./:+\#-]+(?<!:))
    |(?P<mark>[()\[\]{}=,:@]))""",
    re.VERBOSE,
)


class _Line:
    """The tokens of one line."""

    def __init__(self, line: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        end = len(line.rstrip())
        at = 0
        while at < end:
            match = _TOKEN.match(line, at)
            if match is None:
                raise ModelFormatError(f"unexpected {line[at : at + 10]!r}")
            kind = match.lastgroup or ""
            text = match[kind]
            if kind in ("value", "string") and text.startswith('"'):
                text = json.loads(text)
            self.tokens.append((kind, text))
            at = match.end()
        self.tokens.append(("end", ""))
        self.at = 0

    def take(self, *kinds: str) -> str:
        kind, text = self.tokens[self.at]
        if kind not in kinds:
            raise ModelFormatError(f"expected a {' or '.join(kinds)}, found {text!r}")
        self.at += 1
        return text

    def mark(self, mark: str) -> None:
        if not self.skip(mark):
            raise ModelFormatError(f"expected {mark!r}, found {self.tokens[self.at][1]!r}")

    def skip(self, text: str) -> bool:
        """Steps over this mark or word if it is next."""
        kind, found = self.tokens[self.at]
        if found != text or kind not in ("mark", "word"):
            return False
        self.at += 1
        return True

    def peek(self) -> str:
        return self.tokens[self.at][0]

    def atom(self) -> str:
        return self.take("word", "string", "number")

    def type(self) -> TensorType:
        dtype = _DTYPES[self.take("word")]
        self.mark("[")
        shape: list[Any] = []
        while not self.skip("]"):
            text = self.take("number", "word")
            shape.append(int(text) if text.isdecimal() else text)
            self.skip(",")
        return TensorType(tuple(shape), dtype)

    def literal(self) -> Any:
        """A number, string, name or nested tuple of them; iterative."""
        stack: list[list[Any]] = [[]]
        while True:
            if self.skip("("):
                if len(stack) > _DEPTH:
                    raise ModelFormatError("brackets are nested too deeply")
                stack.append([])
                continue
            if self.skip(")"):
                stack[-2].append(tuple(stack.pop()))
            else:
                kind, text = self.tokens[self.at]
                self.take("number", "string", "word")
                stack[-1].append(
                    text if kind == "string" else _number(text) if kind == "number" else _WORDS.get(text, Symbol(text))
                )
            if len(stack) == 1:
                return stack[0][0]
            self.skip(",")

    def call(self, values: Mapping[str, Value]) -> tuple[list[Value], dict[str, Any]]:
        """The arguments of a call, behind its name."""
        self.mark("(")
        inputs: list[Value] = []
        named: dict[str, Any] = {}
        while not self.skip(")"):
            if self.peek() == "value":
                inputs.append(values[self.take("value")])
            else:
                name = self.take("word")
                self.mark("=")
                named[name] = self.literal()
            self.skip(",")
        return inputs, named


_WORDS: dict[str, Any] = {"True": True, "False": False, "None": None}


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdecimal() else float(text)


class _Reader:
    """Builds the graph line by line."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.arrays = data
        self.values: dict[str, Value] = {}
        self.build: Builder | None = None
        self.outputs: list[tuple[str, Value]] = []

    def line(self, text: str) -> None:
        line = _Line(text)
        if self.build is None:
            line.mark("graph")
            mode = line.take("word")
            if mode not in get_args(Mode):
                raise ModelFormatError(f"unknown mode {mode!r}")
            self.build = Builder(mode)  # type: ignore[arg-type]  # checked above
        elif line.peek() == "value":
            self._node(line, self.build)
        else:
            self._declaration(line, line.take("word"), self.build)
        line.take("end")

    def _declaration(self, line: _Line, kind: str, build: Builder) -> None:
        if kind == "output":
            name = line.take("string")
            line.mark("=")
            self.outputs.append((name, self.values[line.take("value")]))
            return
        if kind == "metadata":
            key = line.take("string")
            line.mark("=")
            build.metadata[key] = line.take("string")
            return
        name = self._new(line.take("value"))
        line.mark(":")
        type = line.type()
        if kind == "input":
            self.values[name] = build.input(name, type)
            return
        if kind not in get_args(Kind) or kind == "node":
            raise ModelFormatError(f"unknown kind of line {kind!r}")
        line.mark("=")
        value = Value(name, type, kind)  # type: ignore[arg-type]  # checked above
        self.values[name] = build.keep(value, self._numbers(line, name, type))

    def _numbers(self, line: _Line, name: str, type: TensorType) -> Data:
        if line.skip("{"):
            numbers = []
            while not line.skip("}"):
                numbers.append(line.take("number", "word"))
                line.skip(",")
            flat = [_WORDS[n] for n in numbers] if type.dtype.kind == "b" else numbers
            array = np.array(flat, type.dtype).reshape(type.dims)
            array.flags.writeable = False
            return array
        word = line.take("word")
        if word.startswith("#"):
            return self._given(name, type, word[1:])
        _, named = line.call({})
        line.mark("seed")
        line.mark("=")
        seed = int(line.take("number"))
        line.mark("key")
        line.mark("=")
        return Seeded(type, INITIALIZERS[word](**named), seed, line.take("string"))

    def _given(self, name: str, type: TensorType, digest: str) -> Data:
        if name not in self.arrays:
            return Unloaded(type, digest)
        array = np.asarray(self.arrays[name])
        if TensorType.of(array) != type or _digest(array) != digest:
            raise ModelFormatError(f"the array given for {name!r} is not the one of the dump")
        return frozen(array)

    def _node(self, line: _Line, build: Builder) -> None:
        names, types = [], []
        while True:
            names.append(self._new(line.take("value")))
            line.mark(":")
            types.append(line.type())
            if not line.skip(","):
                break
        line.mark("=")
        op_name = line.take("word")
        if op_name not in OPS:
            raise ModelFormatError(f"there is no op {op_name!r}")
        inputs, named = line.call(self.values)
        where = Where(line.atom(), line.atom()) if line.skip("@") else NOWHERE
        if line.skip("checkpoint"):
            where = replace(where, checkpoint=line.atom())
        origins: list[str] = []
        if line.skip("from"):
            origins.append(line.atom())
            while line.skip(","):
                origins.append(line.atom())
        outs = build.emit(OPS[op_name](**named), inputs, names, where, tuple(origins))
        inferred = [v.type for v in outs]
        if inferred != types:
            raise ShapeError(
                f"{op_name} makes {', '.join(map(str, inferred))}, the text says {', '.join(map(str, types))}"
            )
        self.values |= dict(zip(names, outs, strict=True))

    def _new(self, name: str) -> str:
        if name in self.values:
            raise ModelFormatError(f"two values are named {name!r}")
        return name

    def finish(self) -> Graph:
        if self.build is None:
            raise ModelFormatError("line 1: the text is empty; a dump begins with 'graph inference' or the like")
        return self.build.finish(self.outputs)


def diff(before: Graph, after: Graph) -> Sequence[str]:
    """The lines of a unified diff of two dumps."""
    import difflib

    return list(
        difflib.unified_diff(dump(before).splitlines(), dump(after).splitlines(), "before", "after", lineterm="", n=1)
    )
