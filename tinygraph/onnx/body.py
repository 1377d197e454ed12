"""The nodes of a model, of a function, of a branch or of a loop's body, read one by one into the graph."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from tinygraph.errors import BudgetError, ModelFormatError, UnsupportedOp
from tinygraph.ir import Symbol, TensorType, Where
from tinygraph.onnx import DEFAULT_DOMAIN, function, legacy, metadata
from tinygraph.onnx.node import OnnxNode, label
from tinygraph.ops.base import IMPORTERS
from tinygraph.tensor import Tensor

if TYPE_CHECKING:
    from tinygraph.onnx.importer import OnnxImporter

DEEPEST = 32  # functions and branches within each other
_LONGEST = 100  # characters of a name within a function


class _Lost:
    """Stands for what a node would have made that is not supported, or that needs such a node."""


LOST = _Lost()


class LostError(Exception):
    """A branch or loop body makes nothing that can be used."""


class Body:
    """Nodes, and the tensors that they see by their names.

    Args:
        model: whose nodes they are.
        nodes: in topological order.
        results: names of what is wanted of them.
        opsets: the version of each operator set.
        wishes: what to call in the graph what the nodes make, where it is not the name in the file.
        path: of the calls that lead here, each with a slash behind.
        outer: what is around a branch or a loop body, whose tensors it sees too.
        depth: how many functions and branches are around it.
        given: the attributes of the call, if the nodes are those of a function.
    """

    def __init__(
        self,
        model: OnnxImporter,
        nodes: Sequence[onnx.NodeProto],
        results: Iterable[str],
        opsets: Mapping[str, int],
        wishes: Mapping[str, str],
        path: str = "",
        outer: Body | None = None,
        depth: int = 0,
        given: Mapping[str, onnx.AttributeProto] | None = None,
    ) -> None:
        if depth > DEEPEST:
            raise ModelFormatError(f"more than {DEEPEST} functions or branches stand within each other")
        self.tensors: dict[str, Any] = {}
        self.known = model.known
        self.folder = model.folder
        self._model = model
        self._nodes = nodes
        self._results = list(results)
        self._opsets = opsets
        self._wishes = wishes
        self._path = path
        self._outer = outer
        self._depth = depth
        self._given = given
        passed = [node for attribute in (given or {}).values() for node in attribute.g.node]
        self._read, self._count = names_read([*nodes, *passed])
        self._read.update(self._results)

    def read(self) -> list[Any]:
        """Reads all nodes; the tensors of the results."""
        self._model.count(self._count + 1)  # a body of no nodes is work too
        for node in self._nodes:
            self._convert(node if self._given is None else function.filled(node, self._given))
        return [self._find(name) for name in self._results]

    def _find(self, name: str) -> Any:
        body: Body | None = self
        while body is not None:
            if name in body.tensors:
                return body.tensors[name]
            body = body._outer
        raise ModelFormatError(f"nothing makes {name!r}")

    # ---- nodes ----

    def _convert(self, proto: onnx.NodeProto) -> None:
        """Reads a node; one that is not supported is noted."""
        inputs: list[Any] = []
        try:
            inputs = [self._find(name) if name else None for name in proto.input]
            if any(given is LOST for given in inputs):
                self._check_support(proto)
                raise LostError
            results = self._results_of(proto, inputs)
        except LostError:
            results = self._lost(proto, inputs)
        except UnsupportedOp as error:
            self._model.refuse(proto, self._opsets.get(domain(proto)), str(error), error.inputs)
            results = self._lost(proto, inputs)
        except BudgetError as error:
            raise BudgetError(f"{place(proto)}: {error}") from None
        except MemoryError:
            raise
        except Exception as error:  # a file that breaks the rules may trip a reader in any way
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ModelFormatError(f"{place(proto)}: {reason}") from error
        self.tensors |= {name: made for name, made in zip(proto.output, results, strict=False) if name}

    def _lost(self, proto: onnx.NodeProto, inputs: Sequence[Any]) -> Sequence[Any]:
        """What is put in the place of the results of a node that is not supported."""
        stand_ins = None
        if not self._depth:
            self._follow(proto)
            stand_ins = self._model.stand_in(proto, inputs)
        if stand_ins is None:
            return [LOST] * len(proto.output)
        return [self._named(made, name) for made, name in zip(stand_ins, proto.output, strict=True)]

    def _check_support(self, proto: onnx.NodeProto) -> None:
        """Raises UnsupportedOp if nothing is known of the operator."""
        own = (domain(proto), proto.op_type, proto.overload) in self._model.functions
        read = domain(proto) == "" and proto.op_type in IMPORTERS
        if not (own or read or function.exists(proto, self._opsets.get(domain(proto)))):
            raise UnsupportedOp("")

    def _results_of(self, proto: onnx.NodeProto, inputs: list[Any]) -> Sequence[Any]:
        own = self._model.functions.get((domain(proto), proto.op_type, proto.overload))
        if own is not None:
            return self._expand(own, proto, inputs)
        reader = IMPORTERS.get(proto.op_type) if domain(proto) == "" else None
        refusal = None
        if reader is not None:
            try:
                return self._call(reader, proto, inputs)
            except UnsupportedOp as error:
                if error.inputs:
                    raise
                refusal = error
        found = function.standard(proto, self._opsets.get(domain(proto)), types_of(inputs))
        if found is None:
            raise refusal or UnsupportedOp("")
        before = self._model.refusals.copy()
        results = self._expand(found, proto, inputs)
        if refusal is not None and len(self._model.refusals) > len(before):
            self._model.refusals = before  # the file has none of the nodes that the operator is made of
            raise refusal
        return results

    def _call(self, reader: Any, proto: onnx.NodeProto, inputs: list[Any]) -> Sequence[Any]:
        opset = self._opsets[""]
        node = OnnxNode(proto, opset, inputs, self._read, self)
        self._model.check(proto, opset)
        if opset < 7:
            inputs = legacy.aligned(node, inputs)
        self._follow(proto)
        result = reader(node, *inputs)
        results = list(result) if isinstance(result, tuple) else [result]
        results += [None] * (len(proto.output) - len(results))
        for position, (name, made) in enumerate(zip(proto.output, results, strict=False)):
            if made is None and node.used(position):
                raise UnsupportedOp(f"its output {position} ({name!r}) is read")
            results[position] = self._named(made, name)
            if inputs and isinstance(made, (np.ndarray, np.generic)):  # Range and the like, of sizes as a rule
                self.known.stands_for_sizes(results[position].value)
        return results

    def _follow(self, proto: onnx.NodeProto) -> None:
        """Nodes made from now on are called and placed as this one of the file."""
        module, source = metadata.place(proto)
        name = self._within(label(proto))
        if not self._model.ours:
            source = source or self._within(proto.name)
        self._model.trace.follow(self._wish(next(iter(proto.output), "")) or name, Where(module, source))

    def _wish(self, name: str) -> str:
        return self._wishes.get(name) or (self._within(name) if name else "")

    def _within(self, name: str) -> str:
        """A name of the file behind the path; each call makes another, so that long ones are cut."""
        return self._path + _shortened(name) if self._path else name

    def _named(self, made: Any, name: str) -> Any:
        """What a reader made, under its name in the file; arrays become constants."""
        if isinstance(made, list):
            return [self._named(tensor, "") for tensor in made]
        if made is None or made is LOST:
            return made
        return self._model.name(made, self._wish(name), reserved=name in self._wishes)

    # ---- functions, branches and loops ----

    def _expand(self, found: onnx.FunctionProto, call: onnx.NodeProto, inputs: Sequence[Any]) -> Sequence[Any]:
        """Reads the nodes of a function in the place of its call."""
        if len(inputs) > len(found.input) or len(call.output) > len(found.output):
            raise ModelFormatError(
                f"it has {len(inputs)} inputs and {len(call.output)} outputs, "
                f"the function {len(found.input)} and {len(found.output)}"
            )
        wanted = {inner: outer for inner, outer in zip(found.output, call.output, strict=False) if outer}
        body = Body(
            self._model,
            found.node,
            wanted,
            {**self._opsets, **opset_versions(found.opset_import)},
            {inner: self._wish(outer) for inner, outer in wanted.items()},
            f"{self._path}{_shortened(label(call))}/",
            depth=self._depth + 1,
            given=function.given(found, call),
        )
        given = [*inputs, *[None] * (len(found.input) - len(inputs))]
        body.tensors |= zip(found.input, given, strict=True)
        made = dict(zip(wanted, body.read(), strict=True))
        return [made.get(name) for name, _ in zip(found.output, call.output, strict=False)]

    def run(self, graph: onnx.GraphProto, inputs: Sequence[Any]) -> list[Any]:
        """Reads the nodes of a branch or a loop body that stands in one of the nodes; its outputs."""
        results = [output.name for output in graph.output]
        body = Body(self._model, graph.node, results, self._opsets, {}, self._path, self, self._depth + 1)
        if len(inputs) != len(graph.input):
            raise ModelFormatError(f"its body takes {len(graph.input)} inputs, it gets {len(inputs)}")
        body.tensors |= {t.name: self._model.initializer(t) for t in graph.initializer}
        body.tensors |= {info.name: given for info, given in zip(graph.input, inputs, strict=True)}
        outputs = body.read()
        if any(made is LOST for made in outputs):
            raise LostError
        return outputs

    # ---- what a node needs of its model ----

    def tensor(self, array: Any) -> Tensor:
        """An array as a constant of the graph."""
        return self._model.tensor(array)

    def symbol(self, name: str, origin: Hashable = None) -> Symbol:
        """A new name for a dimension."""
        return self._model.symbol(name, origin)

    def afford(self, nbytes: int) -> None:
        """Raises BudgetError if that many bytes are too many."""
        self._model.afford(nbytes)

    def afford_nodes(self, count: int) -> None:
        """Raises BudgetError if that many nodes are too many, with those before."""
        self._model.count(count)


def domain(node: onnx.NodeProto) -> str:
    """The operator set that a node's operator is of; "" for the default one."""
    return "" if node.domain in DEFAULT_DOMAIN else node.domain


def place(node: onnx.NodeProto) -> str:
    """How messages name a node of the file."""
    return f"{node.op_type} {label(node)!r}"


def opset_versions(entries: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """The version of each operator set; ModelFormatError if one has two."""
    opsets: dict[str, int] = {}
    for entry in entries:
        name = "" if entry.domain in DEFAULT_DOMAIN else entry.domain
        if opsets.setdefault(name, entry.version) != entry.version:
            raise ModelFormatError(f"it wants two versions of the operator set {name!r}")
    return opsets


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else name[:_LONGEST] + "..."


def names_read(nodes: Iterable[onnx.NodeProto]) -> tuple[set[str], int]:
    """The names that nodes read, and those within their branches and loop bodies; how many nodes that are."""
    names: set[str] = set()
    stack = list(nodes)
    count = 0
    while stack:
        node = stack.pop()
        count += 1
        names.update(node.input)
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                stack += graph.node
                names.update(output.name for output in graph.output)
    return names, count


def types_of(tensors: Iterable[Any]) -> list[TensorType | None]:
    """The types of tensors; None for what is none."""
    return [t.type if isinstance(t, Tensor) else None for t in tensors]
