"""Reverse-mode differentiation: Graph -> Graph with gradients. Knows no op by name.

Nodes are walked from the outputs back to the inputs. Each node's own `vjp` turns the
cotangents of its outputs into those of its inputs, as new nodes of the same graph; what is
common to all ops is done here, once:

    accumulation       a value that is read several times sums its cotangents
    un-broadcasting    a cotangent of the broadcast shape is summed back to the input's shape
    pruning            only nodes on a path from `wrt` to an output are asked

The result is an ordinary graph: it is optimized, compiled and differentiated again like any
other. Source: Griewank and Walther, Evaluating Derivatives, 2008, chapter 3.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from tinygraph import ops
from tinygraph.errors import NotDifferentiable, ShapeError, UsageError
from tinygraph.ir import Graph, Node, TensorType, Value
from tinygraph.tensor import Tensor
from tinygraph.trace import Trace


def vjp_graph(graph: Graph, wrt: Sequence[str] | None = None, outputs: Sequence[str] | None = None) -> Graph:
    """The graph with its vector-Jacobian product: grad[w] = sum over y of cotangent[y] · dy/dw.

    Args:
        graph: any graph; it is left as it is.
        wrt: names of the values to differentiate by: inputs, parameters, buffers, constants
            or computed values, all floating. By default every trainable parameter.
        outputs: names of the outputs to differentiate; by default every floating one.

    Returns:
        A graph whose inputs are those of `graph`, then a "cotangent.<output>" for each of
        `outputs`, of its type; and whose outputs are those of `graph`, then a "grad.<name>"
        for each of `wrt`, of its type: zeros where it has no influence. A name that is taken
        already gets a number behind it; the order never changes.

    Raises:
        NotDifferentiable: a name of `wrt` or `outputs` stands for integers, or an op on the
            way has no gradient.
        UsageError: there is no value or output of that name.
    """
    sweep = _Sweep(graph, _sources(graph, wrt))
    for name in _differentiated(graph, outputs):
        value = _output(graph, name)
        sweep.add(value, sweep.trace.input(f"cotangent.{name}", value.type))
    return sweep.finish(graph.outputs, "grad")


def gradients(graph: Graph, loss: str | None = None, wrt: Sequence[str] | None = None) -> Graph:
    """The graph with the gradients of a scalar output: grad[w] = d loss / dw.

    Args:
        graph: any graph; it is left as it is.
        loss: name of the output to differentiate, a floating scalar. By default the only
            output, next values of buffers aside.
        wrt: see vjp_graph.

    Returns:
        A graph with the inputs of `graph`, and its outputs followed by a "grad.<name>" for
        each of `wrt`; see vjp_graph.

    Raises:
        NotDifferentiable: see vjp_graph.
        UsageError: the loss is not a scalar, or it is not clear which output is meant.
    """
    sweep = _Sweep(graph, _sources(graph, wrt))
    value = _scalar(graph, loss)
    sweep.add(value, sweep.full(1, value.type))
    return sweep.finish(graph.outputs, "grad")


def jvp_graph(graph: Graph, wrt: Sequence[str] | None = None, outputs: Sequence[str] | None = None) -> Graph:
    """The graph with its Jacobian-vector product: tangent[y] = sum over w of dy/dw · tangent[w].

    The vector-Jacobian product is linear in its cotangents; its own vector-Jacobian product by
    them is the Jacobian-vector product (Townsend 2017).

    Args:
        graph: see vjp_graph.
        wrt: see vjp_graph.
        outputs: see vjp_graph.

    Returns:
        A graph whose inputs are those of `graph`, then a "tangent.<name>" for each of `wrt`; and
        whose outputs are those of `graph`, then a "tangent.<output>" for each of `outputs`.

    Raises:
        NotDifferentiable, UsageError: see vjp_graph.
    """
    sources, names = _sources(graph, wrt), _differentiated(graph, outputs)
    pulled = vjp_graph(graph, [v.name for v in sources], names)
    cotangents = pulled.inputs[len(graph.inputs) :]
    sweep = _Sweep(pulled, cotangents)
    sweep.add_tangents(sources, pulled.outputs[len(graph.outputs) :])
    made = sweep.finish(graph.outputs, "tangent", names)
    assert not any(v in cotangents for node in made.nodes for v in node.inputs), "a vjp rule is not linear"
    return replace(made, inputs=tuple(v for v in made.inputs if v not in cotangents))


def hvp_graph(graph: Graph, loss: str | None = None, wrt: Sequence[str] | None = None) -> Graph:
    """The graph with the product of the loss's Hessian and a vector: d(grad · tangent) / dw.

    Args:
        graph: see gradients.
        loss: see gradients.
        wrt: see gradients.

    Returns:
        A graph whose inputs are those of `graph`, then a "tangent.<name>" for each of `wrt`; and
        whose outputs are those of `graph`, then an "hvp.<name>" for each of `wrt`.

    Raises:
        NotDifferentiable, UsageError: see gradients.

    Source: Pearlmutter 1994.
    """
    sources = _sources(graph, wrt)
    pulled = gradients(graph, loss, [v.name for v in sources])
    sweep = _Sweep(pulled, sources)
    sweep.add_tangents(sources, pulled.outputs[len(graph.outputs) :])
    return sweep.finish(graph.outputs, "hvp")


def _sources(graph: Graph, wrt: Sequence[str] | None) -> list[Value]:
    values = {value.name: value for value in graph.values()}
    if wrt is None:
        wrt = [name for name, value in values.items() if value.kind == "param"]
        if not wrt:
            raise UsageError("the graph has no trainable parameters: name the values to differentiate by in wrt")
    unknown = [name for name in wrt if name not in values]
    if unknown:
        raise UsageError(f"the graph has no value named {', '.join(map(repr, unknown))}")
    found = [values[name] for name in wrt]
    for value in found:
        _check_floating(value)
    return found


def _only_output(graph: Graph) -> str:
    buffers = {value.name for value in graph.data if value.kind == "buffer"}
    names = [name for name, _ in graph.outputs if name not in buffers]
    if len(names) != 1:
        raise UsageError(f"the graph has {len(names)} outputs ({', '.join(names)}): say which one is the loss")
    return names[0]


def _differentiated(graph: Graph, outputs: Sequence[str] | None) -> list[str]:
    """The outputs of these names, all of them floating; by default every floating one."""
    if outputs is None:
        return [name for name, value in graph.outputs if _floating(value)]
    for name in outputs:
        _check_floating(_output(graph, name))
    return list(outputs)


def _scalar(graph: Graph, loss: str | None) -> Value:
    """The output of that name, by default the only one, which must be a floating scalar."""
    value = _output(graph, loss if loss is not None else _only_output(graph))
    _check_floating(value)
    if value.type.shape:
        raise UsageError(f"the loss {value!r} is not a scalar: reduce it by mean() or sum(), or use vjp_graph")
    return value


def _output(graph: Graph, name: str) -> Value:
    outputs = dict(graph.outputs)
    if name not in outputs:
        raise UsageError(f"the graph has no output {name!r}; it has {', '.join(map(repr, outputs))}")
    return outputs[name]


def _floating(value: Value) -> bool:
    return value.type.dtype.kind == "f"


def _check_floating(value: Value) -> None:
    if not _floating(value):
        raise NotDifferentiable(f"{value!r} holds no floating-point numbers: there is no gradient by it or of it")


class _Sweep:
    """One walk over a graph, from the outputs back to the sources."""

    def __init__(self, graph: Graph, sources: Sequence[Value]) -> None:
        self.graph = graph
        self.sources = sources
        self.active = _influenced(graph, sources)
        self.trace = Trace.onto(graph)
        self.cotangents: dict[Value, Tensor] = {}
        self.again: dict[Value, Tensor] = {}  # what a checkpoint computed -> the same, computed again
        self.checkpoints: dict[str, list[Node]] = {}
        for node in graph.nodes:
            if node.where.checkpoint:
                self.checkpoints.setdefault(node.where.checkpoint, []).append(node)

    def full(self, number: float, type: TensorType) -> Tensor:
        """A tensor with the same number everywhere; costs no memory before it runs."""
        scalar = Tensor(self.trace.builder.const(type.dtype.type(number)), self.trace)
        return ops.broadcast_to(scalar, type.shape) if type.shape else scalar

    def add(self, value: Value, cotangent: Tensor) -> None:
        """Adds to the cotangent of a value."""
        known = self.cotangents.get(value)
        self.cotangents[value] = cotangent if known is None else ops.add(known, cotangent)

    def add_tangents(self, sources: Sequence[Value], grads: Sequence[tuple[str, Value]]) -> None:
        """Adds an input "tangent.<source>" to the cotangent of each gradient."""
        for source, (_, value) in zip(sources, grads, strict=True):
            self.add(value, self.trace.input(f"tangent.{source.name}", source.type))

    def finish(self, outputs: Sequence[tuple[str, Value]], prefix: str, names: Sequence[str] = ()) -> Graph:
        """The graph with these outputs, then the cotangents of the sources by these names or their own."""
        for node in reversed(self.graph.nodes):
            if any(v in self.active for v in node.inputs) and any(v in self.cotangents for v in node.outputs):
                self._recompute(node.where.checkpoint)
                self.trace.follow(node.name, replace(node.where, checkpoint=""))
                self._step(node)
        self.trace.follow()
        results = list(outputs)
        taken = {name for name, _ in outputs}
        for source, name in zip(self.sources, names or [v.name for v in self.sources], strict=True):
            if source not in self.cotangents:
                self.add(source, self.full(0, source.type))
            results.append((_fresh(f"{prefix}.{name}", taken), self.cotangents[source].value))
        return self.trace.builder.finish(results)

    def _recompute(self, checkpoint: str) -> None:
        """Emits the nodes of a checkpoint once more, for gradient rules to read instead of the first ones.

        What comes in passes a barrier, so that no pass sees that everything is there already. A source
        is no function of what comes in: it comes in itself.
        """
        known: dict[Value, Tensor] = {}
        sources = set(self.sources)
        for node in self.checkpoints.pop(checkpoint, ()):
            self.trace.follow(node.name, replace(node.where, checkpoint=""))
            for value in node.inputs:
                if value not in known:
                    tensor = Tensor(value, self.trace)
                    known[value] = ops.barrier(tensor) if value.kind in ("input", "node") else tensor
            made = self.trace.emit(node.op, [known[v] for v in node.inputs])
            found = zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=True)
            known |= {v: tensor for v, tensor in found if v not in sources}
            self.again |= {v: known[v] for v in node.outputs if v in known}

    def _step(self, node: Node) -> None:
        inputs, outputs = ([self.again.get(v, Tensor(v, self.trace)) for v in vs] for vs in (node.inputs, node.outputs))
        try:
            found = node.op.vjp(inputs, outputs, [self.cotangents.get(v) for v in node.outputs])
        except NotDifferentiable as error:
            raise NotDifferentiable(f"{error} (node {node.name!r}{node.where.phrase})") from None
        for value, cotangent in zip(node.inputs, found, strict=True):
            if cotangent is not None and value in self.active:
                self.add(value, _unbroadcast(cotangent, value.type, node))


def _influenced(graph: Graph, sources: Iterable[Value]) -> set[Value]:
    """Floating values that depend on a source, sources included."""
    active = set(sources)
    for node in graph.nodes:
        if not active.isdisjoint(node.inputs):
            active.update(filter(_floating, node.outputs))
    return active


def _unbroadcast(cotangent: Any, type: TensorType, node: Node) -> Tensor:
    """Sums over the axes along which NumPy's broadcasting repeated the input."""
    given = cotangent.type
    lead = given.ndim - type.ndim
    tail = list(zip(given.shape[max(lead, 0) :], type.shape, strict=False))
    if lead < 0 or given.dtype != type.dtype or any(want not in (have, 1) for have, want in tail):
        raise ShapeError(f"the gradient rule of {node!r} returned {given} for an input of type {type}")
    stretched = [lead + i for i, (have, want) in enumerate(tail) if have != want]
    repeated = (*range(lead), *stretched)
    if not repeated:
        return cotangent  # type: ignore[no-any-return]  # public op functions return Any
    total = ops.sum(cotangent, repeated, keepdims=not lead)
    return total if total.shape == type.shape else ops.reshape(total, type.shape)  # type: ignore[no-any-return]


def _fresh(name: str, taken: set[str]) -> str:
    """The name, with a number behind it if it is taken; takes it."""
    candidates = itertools.chain([name], (f"{name}.{i}" for i in itertools.count(1)))
    found = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(found)
    return found
