"""From an ONNX model to a graph: names, inputs, initializers and outputs."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx

from tinygraph.budget import Budget
from tinygraph.errors import ModelFormatError, UnsupportedOp
from tinygraph.ir import Array, Graph, Kind, Symbol, TensorType, Value, frozen
from tinygraph.onnx import OLDEST_OPSET, control, function, metadata, sequence, tensor  # noqa: F401  # two have readers
from tinygraph.onnx.body import Body, domain, opset_versions, place
from tinygraph.onnx.content import Raw
from tinygraph.onnx.external import Folder
from tinygraph.onnx.inputs import Inputs
from tinygraph.onnx.known import Known
from tinygraph.onnx.names import all_texts, unique
from tinygraph.onnx.node import OnnxNode, label
from tinygraph.onnx.partial import Inferred, Unread
from tinygraph.onnx.refusals import Refusals
from tinygraph.ops.base import IMPORTERS, from_onnx
from tinygraph.ops.unknown import Unknown
from tinygraph.tensor import Tensor
from tinygraph.trace import Trace

_VALUES = {"value": None, "value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}
_OPERATIONS_PER_NODE = 10**6  # what reading a node counts as
_BYTES_PER_NODE = 4096  # what it leaves behind


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

    Args:
        model: as it was parsed.
        bind: numbers of open dimensions, and arrays of inputs, by name.
        budget: of memory and work.
        folder: where the model may keep numbers in other files; None if nowhere.
        raws: for each initializer its numbers, where they are not in the model; none if all are.
        partial: keep what is supported of a model: other nodes become Unknown ones if their types
            are known, and are listed in `unread` if not.

    Attributes:
        trace: where the graph is made.
        known: what is known of its values.
        functions: those that the model defines, by domain, name and overload.
        folder: where the model may keep numbers in other files.
        ours: whether `save` wrote the model.
        unread: nodes that are not in the graph.

    Raises:
        ModelFormatError: the model does not say which opset it uses, or one that is too old
            or too new; or its names are no text.
        UsageError: `bind` names what is not there.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        bind: Mapping[str, Any],
        budget: Budget,
        folder: Folder | None = None,
        raws: Sequence[Raw | None] = (),
        partial: bool = False,
    ) -> None:
        if not all(isinstance(text, str) for text in all_texts(model)):
            raise ModelFormatError("it has names that are not UTF-8")
        self.trace = Trace("inference")
        self.known = Known(self.trace.builder, budget)
        self.functions = {function.key(f, f.name): f for f in model.functions}
        self.ours = model.producer_name == metadata.PRODUCER
        self.trace.builder.metadata |= {entry.key: entry.value for entry in model.metadata_props}
        self._proto = model.graph
        self._raws = raws or [None] * len(model.graph.initializer)
        self._opsets = _opsets(model)
        self._types = Inputs(self._proto.input, bind)
        self.trace.builder.metadata |= {metadata.DIMENSION + new: old for new, old in self._types.renamed.items()}
        self._budget = budget
        self.folder = folder
        self.unread: list[Unread] = []
        self._inferred = Inferred(model, self._types) if partial else None
        self._nodes = 0
        self._bytes = 0
        self._named: set[Value] = set()
        self._found: dict[Hashable, Symbol] = {}
        self.refusals = Refusals()
        self._ir_version = model.ir_version
        self._checkers: dict[int, Any] = {}

    def graph(self) -> Graph:
        """The graph.

        Raises:
            ModelFormatError: names or nodes break the rules of ONNX.
            UnsupportedOp: tinygraph does not know some operators; lists them all.
            BudgetError: reading it would take more memory or work than was allowed.
        """
        self._check_names()
        self.count(function.unfolded(self._proto.node, self.functions))
        self._nodes = 0  # that they are not too many is known; reading them counts them again
        with self.trace.running():
            statistics = {name for node in self._proto.node for name in _statistics(node)}
            tensors: dict[str, Any] = {}
            for proto, raw in zip(self._proto.initializer, self._raws, strict=True):
                tensors[proto.name] = self.initializer(proto, raw, proto.name in statistics)
            for info in self._proto.input:  # an input that has an initializer is one only if it is bound
                if info.name not in tensors or self._types.binds(info.name):
                    tensors[info.name] = self._input(info)
            results = [output.name for output in self._proto.output]
            body = Body(self, self._proto.node, results, self._opsets, self._reserve())
            body.tensors |= tensors
            made = body.read()
        ends = list(self._loose_ends(body)) if self._inferred is not None else []
        if self.refusals and not ends:
            raise self.refusals.error()
        return self.trace.builder.finish(ends or self._outputs(made), keep_data=False)

    # ---- names ----

    def _check_names(self) -> None:
        """Every name is defined once, and before it is read."""
        if self._proto.sparse_initializer:
            raise ModelFormatError("it has sparse initializers, which are not supported")
        initializers = unique("initializer", [t.name for t in self._proto.initializer])
        defined = initializers | unique("input", [i.name for i in self._proto.input])
        made = {name for node in self._proto.node for name in node.output}
        for node in self._proto.node:
            for name in node.input:
                if name and name not in defined:
                    late = "no earlier node makes; nodes must be in topological order"
                    raise ModelFormatError(
                        f"{place(node)} reads {name!r}, which {late if name in made else 'nothing makes'}"
                    )
            for name in node.output:
                if name in defined:
                    raise ModelFormatError(f"{place(node)} makes {name!r}, which is defined before")
                defined.update([name] if name else [])
        if not self._proto.output:
            raise ModelFormatError("its graph has no output")
        for name in unique("output", [o.name for o in self._proto.output]):
            if name not in defined:
                raise ModelFormatError(f"nothing makes the output {name!r}")

    def _reserve(self) -> dict[str, str]:
        """Chooses the names of nodes' outputs, before nodes are made whose names could collide with them.

        These are the file's. In a file of our own, though, the first output gets the name of its
        node: the file has another name for it where it is an output of the graph.
        """
        build = self.trace.builder
        wishes: dict[str, str] = {}
        if self.ours:
            named = (node for node in self._proto.node if node.name and any(node.output[:1]))
            wishes = {node.output[0]: build.fresh(node.name) for node in named}
        for name in (name for node in self._proto.node for name in node.output):
            if name and name not in wishes:
                wishes[name] = build.fresh(name)
        return wishes

    # ---- inputs, initializers and outputs ----

    def _input(self, info: onnx.ValueInfoProto) -> Tensor:
        type = self._types.type(info)
        if not self._types.binds(info.name):
            return self.trace.input(info.name, type)
        return Tensor(self.trace.builder.const(self._types.bound(info.name, type), info.name), self.trace)

    def initializer(self, proto: onnx.TensorProto, raw: Raw | None = None, statistics: bool = False) -> Tensor:
        """The value of an initializer."""
        try:
            array = tensor.to_array(proto, self.folder, raw)
        except ModelFormatError as error:
            raise ModelFormatError(f"initializer {proto.name!r}: {error}") from None
        self._hold(array)
        kind = _kind(proto, array, statistics)
        return Tensor(self.trace.builder.declare(kind, proto.name, array), self.trace)

    def _outputs(self, made: list[Any]) -> Iterator[tuple[str, Value]]:
        for info, result in zip(self._proto.output, made, strict=True):
            if not isinstance(result, Tensor):
                raise UnsupportedOp(f"the output {info.name!r} is a sequence; only tensors are supported")
            declared = info.type.tensor_type.elem_type
            if declared and tensor.dtype(declared) != result.type.dtype:
                name = tensor.dtype(declared).name
                raise ModelFormatError(f"the output {info.name!r} is declared {name}, but it is {result.type}")
            yield info.name, result.value

    def _loose_ends(self, body: Body) -> Iterator[tuple[str, Value]]:
        """The outputs of the model as far as they are known, and what only nodes that are not known would read."""
        outputs = {output.name for output in self._proto.output}
        unread = {(part.name, part.operator) for part in self.unread}
        nodes = [node for node in self._proto.node if (label(node), node.op_type) not in unread]
        read = {name for node in nodes for name in node.input}
        for name, made in body.tensors.items():
            if isinstance(made, Tensor) and (name in outputs or (made.value.kind == "node" and name not in read)):
                yield name, made.value

    # ---- what the nodes need ----

    def check(self, node: onnx.NodeProto, opset: int) -> None:
        """Has the checker of onnx look at a node; ValidationError if it breaks a rule of its operator."""
        schema = _schema(node.op_type, opset) if onnx.defs.has(node.op_type, opset) else None
        newer = _schema(node.op_type, OLDEST_OPSET) if schema and opset < OLDEST_OPSET else schema
        if schema and newer and schema.since_version != newer.since_version:
            raise UnsupportedOp(
                f"as it was before opset {OLDEST_OPSET}; convert the model with onnx.version_converter.convert_version"
            )
        deprecated = schema is not None and schema.deprecated
        # The checker refuses deprecated operators, knows no names outside of a branch, and looks for other
        # files in the folder that the process is in.
        if deprecated or any(a.HasField("g") or a.t.external_data for a in node.attribute):
            return
        if opset not in self._checkers:
            checker = self._checkers[opset] = onnx.checker.C.CheckerContext()
            checker.ir_version = self._ir_version
            checker.opset_imports = {"": opset}
        onnx.checker.check_node(node, self._checkers[opset])

    def name(self, made: Tensor | Array, name: str, reserved: bool) -> Tensor:
        """The tensor, which gets the name unless it has one of the file already; an array becomes a constant.

        So does what is computed from sizes that are known, but in a file of our own.

        Args:
            made: what a reader made.
            name: what to call it; "" for whatever it is called.
            reserved: nothing else has or gets that name.
        """
        numbers = self.known.from_sizes(made.value) if isinstance(made, Tensor) and not self.ours else None
        if numbers is not None or not isinstance(made, Tensor):
            array = frozen(made if numbers is None else numbers)
            self._hold(array)
            free = name if reserved else self.trace.builder.fresh(name or "const")
            value = self.trace.builder.keep(Value(free, TensorType.of(array), "const"), array)
            if numbers is not None:
                self.known.stands_for_sizes(value)
            return Tensor(value, self.trace)
        if name and made.value.kind == "node" and made.value not in self._named:
            self._named.add(made.value)
            self.trace.builder.wish(made.value, name)
        return made

    def refuse(self, node: onnx.NodeProto, opset: int | None, why: str, inputs: Collection[str]) -> None:
        """Notes a node that is not supported."""
        self.refusals.add(node, domain(node), opset, why, inputs)

    def stand_in(self, node: onnx.NodeProto, inputs: Sequence[Any]) -> list[Any] | None:
        """What stands for the results of a node that is not supported; None if nothing can."""
        if self._inferred is None:
            return None
        types = {name: self._inferred[name] for name in node.output if name}
        if not all(types.values()):
            self.unread.append(Unread(label(node), node.op_type))
            return None
        known = [tensor for tensor in inputs if isinstance(tensor, Tensor)]
        return [
            self.trace.emit(Unknown(node.op_type, type.shape, type.dtype.name), known) if type else None
            for type in (types.get(name) for name in node.output)
        ]

    def count(self, nodes: int) -> None:
        """Raises BudgetError if these nodes are too many together with those counted before."""
        self._nodes += nodes
        what = "to read all functions, branches and loops takes"
        self._budget.check_operations(self._nodes * _OPERATIONS_PER_NODE, what)
        self._budget.check_bytes(self._nodes * _BYTES_PER_NODE, what)

    def _hold(self, array: Array) -> None:
        """Raises BudgetError if a weight or constant is too much together with those before: loops repeat them."""
        self._bytes += array.nbytes
        self._budget.check_bytes(self._bytes, "all weights and constants take")

    def afford(self, nbytes: int) -> None:
        """Raises BudgetError if that many bytes are too many."""
        self._budget.check_bytes(nbytes, "it makes")

    def tensor(self, array: Any) -> Tensor:
        """An array as a constant of the graph."""
        constant = np.asarray(array)
        self._hold(constant)
        return Tensor(self.trace.builder.const(constant), self.trace)

    def symbol(self, name: str, origin: Hashable = None) -> Symbol:
        """A new name for a dimension; the same again for the same origin, if there is one."""
        key = object() if origin is None else origin
        if key not in self._found:
            self._found[key] = self._types.symbol(name)
        return self._found[key]


@lru_cache
def _schema(op_type: str, opset: int) -> Any:
    """What onnx knows of an operator of the standard. It makes a new one, with its text, whenever it is asked."""
    return onnx.defs.get_schema(op_type, opset)


def _statistics(node: onnx.NodeProto) -> list[str]:
    """The inputs that are statistics rather than parameters."""
    reader = None if domain(node) else IMPORTERS.get(node.op_type)
    return [node.input[i] for i in getattr(reader, "buffers", ()) if i < len(node.input)]


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    opsets = opset_versions(model.opset_import)
    newest = onnx.defs.onnx_opset_version()
    if not opsets:
        raise ModelFormatError("it does not say which operator set it uses")
    opset = opsets.setdefault("", newest)  # a model may do without the standard operators
    if opset > newest:
        raise ModelFormatError(f"it uses opset {opset}, onnx {onnx.__version__} knows {newest}; upgrade onnx")
    if opset < 1:
        raise ModelFormatError(f"it uses opset {opset}; the first is 1")
    return opsets


def _kind(proto: onnx.TensorProto, array: Array, statistics: bool) -> Kind:
    """The kind of an initializer: as we noted it, or else by its dtype, dimensions and use."""
    noted = metadata.read(proto, "kind")
    if noted in ("param", "frozen", "buffer", "const"):
        return noted  # type: ignore[return-value]  # one of the words
    if statistics:
        return "buffer"
    return "param" if array.dtype.kind == "f" and array.ndim else "const"
