"""From the nodes and names of an ONNX model to a graph."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

from tinygraph.errors import ModelFormatError, ShapeError, TinygraphError, UnsupportedOp
from tinygraph.ir import Array, Dim, Graph, Kind, Symbol, TensorType, Value, Where, frozen
from tinygraph.onnx import OLDEST_OPSET, metadata, tensor
from tinygraph.onnx.node import OnnxNode, label
from tinygraph.ops.base import IMPORTERS, from_onnx
from tinygraph.tensor import Tensor
from tinygraph.trace import Trace

_DEFAULT_DOMAIN = ("", "ai.onnx")
_VALUES = {"value": None, "value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}


@from_onnx("Constant")
def _constant(node: OnnxNode) -> Array:
    for name, dtype in _VALUES.items():
        value = node.get(name)
        if value is not None:
            return np.asarray(value, dtype)
    raise UnsupportedOp("it holds no numbers, but strings or a sparse tensor")


@from_onnx("Identity")
def _identity(node: OnnxNode, x: Tensor) -> Tensor:
    return x


class OnnxImporter:
    """One ONNX model that becomes a graph.

    Raises:
        ModelFormatError: the model does not say which opset it uses, or one that is too old
            or too new; or its names are no text.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        if not all(isinstance(text, str) for text in _texts(model)):
            raise ModelFormatError("it has names that are not UTF-8")
        self._proto = model.graph
        self._opsets = _opsets(model)
        self._functions = {f.name for f in model.functions if f.domain in _DEFAULT_DOMAIN}
        self._ours = model.producer_name == metadata.PRODUCER
        self._trace = Trace("inference")
        self._tensors: dict[str, Tensor] = {}  # by their names in the file
        self._wishes: dict[str, str] = {}  # names that nodes' outputs get in the graph
        self._named: set[Value] = set()
        self._symbols: dict[str | tuple[str, int], Symbol] = {}  # by name, or by input and axis
        self._taken: set[Symbol] = set()
        self._refused: dict[tuple[str, str], list[str]] = {}  # (operator, reason): nodes
        self._lost: set[str] = set()  # outputs of refused nodes, and of those that need them
        self._read = {name for node in self._proto.node for name in node.input} | {o.name for o in self._proto.output}
        self._checker = onnx.checker.C.CheckerContext()
        self._checker.ir_version = model.ir_version
        self._checker.opset_imports = self._opsets

    def graph(self) -> Graph:
        """The graph.

        Raises:
            ModelFormatError: names or nodes break the rules of ONNX.
            UnsupportedOp: tinygraph does not know some operators; lists them all.
        """
        self._check_names()
        with self._trace.running():
            self._declare()
            for node in self._proto.node:
                self._convert(node)
        if self._refused:
            raise UnsupportedOp("some nodes of the model are not supported:" + "".join(self._refusals()))
        return self._trace.builder.finish(self._outputs(), keep_data=False)

    # ---- names ----

    def _check_names(self) -> None:
        """Every name is defined once, and before it is read."""
        if self._proto.sparse_initializer:
            raise ModelFormatError("it has sparse initializers, which are not supported")
        initializers = _unique("initializer", [t.name for t in self._proto.initializer])
        defined = initializers | _unique("input", [i.name for i in self._proto.input])
        made = {name for node in self._proto.node for name in node.output}
        for node in self._proto.node:
            for name in node.input:
                if name and name not in defined:
                    late = "no earlier node makes; nodes must be in topological order"
                    raise ModelFormatError(
                        f"{_place(node)} reads {name!r}, which {late if name in made else 'nothing makes'}"
                    )
            for name in node.output:
                if name in defined:
                    raise ModelFormatError(f"{_place(node)} makes {name!r}, which is defined before")
                defined.update([name] if name else [])
        if not self._proto.output:
            raise ModelFormatError("its graph has no output")
        for name in _unique("output", [o.name for o in self._proto.output]):
            if name not in defined:
                raise ModelFormatError(f"nothing makes the output {name!r}")

    def _reserve(self) -> None:
        """Chooses the names of nodes' outputs, before nodes are made whose names could collide with them.

        These are the file's. In a file of our own, though, the first output gets the name of its
        node: the file has another name for it where it is an output of the graph.
        """
        build = self._trace.builder
        if self._ours:
            named = (node for node in self._proto.node if node.name and any(node.output[:1]))
            self._wishes = {node.output[0]: build.fresh(node.name) for node in named}
        for name in (name for node in self._proto.node for name in node.output):
            if name and name not in self._wishes:
                self._wishes[name] = build.fresh(name)

    # ---- inputs and initializers ----

    def _declare(self) -> None:
        build = self._trace.builder
        initialized = {t.name for t in self._proto.initializer}
        for info in self._proto.input:
            if info.name not in initialized:
                self._tensors[info.name] = self._trace.input(info.name, self._input_type(info))
        buffers = {name for node in self._proto.node for name in self._statistics(node)}
        for proto in self._proto.initializer:
            try:
                array = tensor.to_array(proto)
            except ModelFormatError as error:
                raise ModelFormatError(f"initializer {proto.name!r}: {error}") from None
            kind = _kind(proto, array, proto.name in buffers)
            self._tensors[proto.name] = Tensor(build.declare(kind, proto.name, array), self._trace)
        self._reserve()

    def _statistics(self, node: onnx.NodeProto) -> list[str]:
        reader = self._reader(node)
        return [node.input[i] for i in getattr(reader, "buffers", ()) if i < len(node.input)]

    def _input_type(self, info: onnx.ValueInfoProto) -> TensorType:
        if not info.type.HasField("tensor_type"):
            raise ModelFormatError(f"the input {info.name!r} is no tensor, but a sequence, map or optional")
        if not info.type.tensor_type.HasField("shape"):
            raise ModelFormatError(f"the input {info.name!r} has no shape; its number of dimensions must be known")
        try:
            dtype = tensor.dtype(info.type.tensor_type.elem_type)
            shape = [self._dim(dim, (info.name, axis)) for axis, dim in enumerate(info.type.tensor_type.shape.dim)]
            return TensorType(tuple(shape), dtype)
        except TinygraphError as error:
            raise ModelFormatError(f"the input {info.name!r}: {error}") from None

    def _dim(self, dim: onnx.TensorShapeProto.Dimension, axis: tuple[str, int]) -> Dim:
        if dim.HasField("dim_value"):
            return dim.dim_value
        key = dim.dim_param or axis  # every dimension without a name is one of its own
        if key not in self._symbols:
            self._symbols[key] = self._symbol(dim.dim_param or "{}_{}".format(*axis))
        return self._symbols[key]

    def _symbol(self, name: str) -> Symbol:
        """A symbol of that name, changed if it is taken or no name for a dimension."""
        try:
            TensorType((Symbol(name),))
        except ShapeError:
            name = "_" + re.sub(r"[^a-zA-Z0-9]", "_", name)
        symbol, number = Symbol(name), len(self._symbols)
        while symbol in self._taken:
            symbol, number = Symbol(f"{name}_{number}"), number + 1
        self._taken.add(symbol)
        return symbol

    # ---- nodes ----

    def _reader(self, node: onnx.NodeProto) -> Any:
        standard = node.domain in _DEFAULT_DOMAIN and node.op_type not in self._functions
        return IMPORTERS.get(node.op_type) if standard else None

    def _convert(self, proto: onnx.NodeProto) -> None:
        """Calls the reader of a node; a node that is not supported is noted."""
        reader = self._reader(proto)
        if reader is None:
            self._refuse(proto, "")
        elif not self._lost.isdisjoint(proto.input):
            self._lost.update(filter(None, proto.output))
        else:
            try:
                self._call(reader, proto)
            except UnsupportedOp as error:
                self._refuse(proto, str(error))
            except Exception as error:  # a file that breaks the rules may trip a reader in any way
                reason = str(error).partition("\n")[0] or type(error).__name__
                raise ModelFormatError(f"{_place(proto)}: {reason}") from error

    def _deprecated(self, proto: onnx.NodeProto) -> bool:
        known = onnx.defs.has(proto.op_type, self._opsets[""])
        return known and onnx.defs.get_schema(proto.op_type, self._opsets[""]).deprecated

    def _call(self, reader: Any, proto: onnx.NodeProto) -> None:
        inputs = [self._tensors[name] if name else None for name in proto.input]
        node = OnnxNode(proto, self._opsets[""], inputs, self._read)
        if not self._deprecated(proto):  # the checker refuses these; one that has a reader is read
            onnx.checker.check_node(proto, self._checker)
        module, source = metadata.read(proto, "module"), metadata.read(proto, "source")
        where = Where(module, source if self._ours else source or proto.name)
        self._trace.follow(self._wishes.get(proto.output[0], node.name), where)
        result = reader(node, *inputs)
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        results += [None] * (len(proto.output) - len(results))
        for position, (name, made) in enumerate(zip(proto.output, results, strict=False)):
            if made is not None and name:
                self._tensors[name] = self._name(made, self._wishes[name])
            elif node.used(position):
                raise UnsupportedOp(f"its output {position} ({name!r}) is read")

    def _name(self, made: Tensor | Array, name: str) -> Tensor:
        """The tensor, which gets the name unless it has one of the file already; an array becomes a constant."""
        if not isinstance(made, Tensor):
            array = frozen(made)
            value = Value(name, TensorType.of(array), "const")
            return Tensor(self._trace.builder.keep(value, array), self._trace)
        if made.value.kind == "node" and made.value not in self._named:
            self._named.add(made.value)
            self._trace.builder.wish(made.value, name)
        return made

    def _refuse(self, proto: onnx.NodeProto, why: str) -> None:
        domain = "" if proto.domain in _DEFAULT_DOMAIN else proto.domain
        what = f"{domain and domain + '.'}{proto.op_type} (opset {self._opsets.get(domain, 'not given')})"
        self._refused.setdefault((what, why), []).append(label(proto))
        self._lost.update(filter(None, proto.output))

    def _refusals(self) -> Iterator[str]:
        for (what, why), names in self._refused.items():
            yield f"\n  {what} {', '.join(map(repr, names))}{why and ': ' + why}"

    # ---- outputs ----

    def _outputs(self) -> Iterator[tuple[str, Value]]:
        for info in self._proto.output:
            value = self._tensors[info.name].value
            declared = info.type.tensor_type.elem_type
            if declared and tensor.dtype(declared) != value.type.dtype:
                name = tensor.dtype(declared).name
                raise ModelFormatError(f"the output {info.name!r} is declared {name}, but it is {value.type}")
            yield info.name, value


def _texts(model: onnx.ModelProto) -> Iterator[str]:
    """All names of a model; protobuf gives bytes for those that are not UTF-8."""
    graph = model.graph
    yield model.producer_name
    yield from (entry.domain for entry in model.opset_import)
    for info in (*graph.input, *graph.output):
        yield info.name
        yield from (dim.dim_param for dim in info.type.tensor_type.shape.dim)
    for described in (*graph.initializer, *graph.node):
        yield described.name
        yield from (text for entry in described.metadata_props for text in (entry.key, entry.value))
    for node in graph.node:
        yield from (node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    opsets: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain in _DEFAULT_DOMAIN else entry.domain
        if opsets.setdefault(domain, entry.version) != entry.version:
            raise ModelFormatError(f"it wants two versions of the operator set {domain!r}")
    newest = onnx.defs.onnx_opset_version()
    opset = opsets.get("")
    if opset is None:
        raise ModelFormatError("it does not say which operator set it uses")
    if opset > newest:
        raise ModelFormatError(f"it uses opset {opset}, onnx {onnx.__version__} knows {newest}; upgrade onnx")
    if opset < OLDEST_OPSET:
        raise ModelFormatError(
            f"it uses opset {opset}, older than {OLDEST_OPSET}; convert it with onnx.version_converter.convert_version"
        )
    return opsets


def _place(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {label(node)!r}"


def _unique(what: str, names: list[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        if not name or name in found:
            raise ModelFormatError(f"two {what}s are named {name!r}" if name else f"an {what} has no name")
        found.add(name)
    return found


def _kind(proto: onnx.TensorProto, array: Array, statistics: bool) -> Kind:
    """The kind of an initializer: as we noted it, or else by its dtype, dimensions and use."""
    noted = metadata.read(proto, "kind")
    if noted in ("param", "frozen", "buffer", "const"):
        return noted  # type: ignore[return-value]  # one of the words
    if statistics:
        return "buffer"
    return "param" if array.dtype.kind == "f" and array.ndim else "const"
