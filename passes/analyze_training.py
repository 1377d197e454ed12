"""What a training step costs, forward and backward: counted from the gradient graph, node by node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from fnmatch import fnmatchcase

from tinygraph.autodiff import vjp_graph
from tinygraph.errors import UsageError
from tinygraph.ir import Graph, Node, Value
from tinygraph.ops.arithmetic import Add
from tinygraph.passes.analyze import diagnostics, owners, rows, totals, with_numbers
from tinygraph.passes.report import Report, Row, Split, TrainingRow, TrainingTotals

_COUNTS = [f.name for f in fields(Row) if str(f.type).startswith("int")]
_SPLIT = [f.name for f in fields(Split)]


def analyze_training(
    graph: Graph, bind: Mapping[str, int] | None = None, model: str = "", frozen: Sequence[str] = ()
) -> Report:
    """Counts what the forward and the backward pass of a training step cost.

    The backward pass is the graph that autodiff makes of this one: the gradients of its outputs
    (next values of buffers aside) by its trainable parameters, from cotangents that are given.
    Nothing is computed for the input of the network or for frozen parameters. What follows, the
    loss and the optimizer, is not counted.

    Each row is a node of the forward pass with all that the backward pass does because of it;
    the next values of BatchNorm's statistics are in the row of BatchNorm.
    The peak is that of both passes: the input, activations until the backward pass has read
    them, and gradients to the end. It is that of the graph as it stands, before any pass.

    Args:
        graph: traced with mode="training".
        bind: see analyze.
        model: see analyze.
        frozen: patterns of the names of parameters that are not trained: "features.*".

    Returns:
        A report with the mode "train", of TrainingRows and TrainingTotals.

    Raises:
        UsageError: a pattern fits no parameter, none is left to train, no output is floating, or see
            analyze.
        NotDifferentiable: an op on the way to a parameter has no gradient.
    """
    graph, remarks = with_numbers(_freeze(graph, [frozen] if isinstance(frozen, str) else frozen), bind)
    buffers = {v.name for v in graph.data if v.kind == "buffer"}
    outputs = {name: v for name, v in graph.outputs if name not in buffers}
    floating = [name for name, v in outputs.items() if v.type.dtype.kind == "f"]
    if not floating:
        raise UsageError("no output holds floating-point numbers: there is nothing to differentiate")
    derived = vjp_graph(graph, [v.name for v in _trained(graph)], floating)
    single = rows(derived)
    made = _paired(graph, derived, single, outputs.values())
    sums = {name: sum(getattr(row, name) for row in made) for name in _SPLIT}
    if graph.mode == "inference":
        remarks.append("traced for inference: BatchNorm takes its stored statistics, and dropout does nothing")
    return Report(
        model,
        tuple((v.name, v.type) for v in graph.inputs),
        TrainingTotals(**asdict(totals(derived, single)), **sums),
        made,
        (*remarks, *diagnostics(graph)),
        "train",
    )


def _freeze(graph: Graph, patterns: Sequence[str]) -> Graph:
    """The graph with the parameters that fit a pattern frozen."""
    params = _trained(graph)
    for pattern in patterns:
        if not any(fnmatchcase(v.name, pattern) for v in params):
            known = f"they are {', '.join(v.name for v in params[:5])} ..." if params else "there are none"
            raise UsageError(f"no trainable parameter fits {pattern!r}; {known}")
    still = {v: replace(v, kind="frozen") for v in params if any(fnmatchcase(v.name, p) for p in patterns)}
    if len(still) == len(params):
        why = "all parameters are frozen" if params else "the network has no trainable parameters"
        raise UsageError(f"there is nothing to train: {why}")
    return Graph(
        graph.inputs,
        tuple(replace(node, inputs=tuple(still.get(v, v) for v in node.inputs)) for node in graph.nodes),
        tuple((name, still.get(v, v)) for name, v in graph.outputs),
        {still.get(v, v): data for v, data in graph.data.items()},
        graph.mode,
    )


def _trained(graph: Graph) -> list[Value]:
    return [v for v in graph.data if v.kind == "param"]


def _paired(graph: Graph, derived: Graph, single: Sequence[Row], outputs: Iterable[Value]) -> tuple[TrainingRow, ...]:
    """The rows of the forward nodes that lead to an output, each with those of the nodes that it caused."""
    causes = _statistics(graph, outputs)
    forward = {node.name: node for node in graph.nodes}
    backward = {node: _cause(node, forward) for node in derived.nodes if node.name not in forward}
    for_weights = _for_weights(graph, derived, backward)
    owner = owners(derived)
    kept = {owner[v] for node in backward for v in node.inputs}
    shares: dict[str, list[tuple[Row, str]]] = {}
    for node, row in zip(derived.nodes, single, strict=True):
        part = "forward" if node not in backward else "weights" if node in for_weights else "inputs"
        shares.setdefault(causes.get(node.name) or backward.get(node, node.name), []).append((row, part))
    return tuple(
        _row(shares[node.name], sum(v.type.nbytes for v in node.outputs if v in kept))
        for node in graph.nodes
        if node.name not in causes
    )


def _statistics(graph: Graph, outputs: Iterable[Value]) -> dict[str, str]:
    """The nodes that lead to no output, but to next values of buffers: each with the node of its module before it."""
    needed = set(outputs)
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
    latest: dict[str, str] = {}
    causes = {}
    for node in graph.nodes:
        module = node.where.module
        if needed.isdisjoint(node.outputs) and module in latest:
            causes[node.name] = latest[module]
        else:
            latest[module] = node.name
    return causes


def _cause(node: Node, forward: Mapping[str, Node]) -> str:
    """The name of the forward node behind which autodiff has named a backward node; empty for gradients of zeros."""
    name = node.name
    while name and (name not in forward or forward[name].where.module != node.where.module):
        name = name.rpartition(".")[0]
    return name


def _for_weights(graph: Graph, derived: Graph, cause: Mapping[Node, str]) -> set[Node]:
    """The backward nodes whose results end in gradients of parameters that their forward node reads, and nowhere else.

    What leaves the nodes of a forward node is a cotangent for other layers, unless it is a gradient
    or a term of one: that of a shared parameter is added up under way.
    """
    allowed = {node.name: {node.name, *node.inputs} for node in graph.nodes}
    ends: dict[Value, set[Value | str]] = {}  # parameters of which a value is the gradient, and causes of its readers
    trained = _trained(graph)
    for param, (_, value) in zip(trained, derived.outputs[-len(trained) :], strict=True):
        ends.setdefault(value, set()).add(param)
    found = set()
    for node in reversed(derived.nodes):
        if node not in cause:
            continue
        reached = set().union(*(ends.get(v, ()) for v in node.outputs))
        inside = reached <= allowed.get(cause[node], set())
        if inside:
            found.add(node)
        term = isinstance(node.op, Add) and any(isinstance(end, Value) for end in reached)
        for value in node.inputs:
            ends.setdefault(value, set()).update(reached if term else [cause[node] if inside else ""])
    return found


def _row(shares: Sequence[tuple[Row, str]], kept: int) -> TrainingRow:
    """One row of those that a forward node caused, its own first."""
    row, _ = shares[0]
    macs: Counter[str] = Counter()
    flops: Counter[str] = Counter()
    for share, part in shares:
        macs[part] += share.macs or 0
        flops[part] += share.flops or 0
    sums = {name: sum(getattr(share, name) or 0 for share, _ in shares) for name in _COUNTS}
    return TrainingRow(
        **{f.name: getattr(row, f.name) for f in fields(Row)} | sums,
        forward_macs=macs["forward"],
        backward_macs=macs["inputs"] + macs["weights"],
        input_gradient_macs=macs["inputs"],
        weight_gradient_macs=macs["weights"],
        forward_flops=flops["forward"],
        backward_flops=flops["inputs"] + flops["weights"],
        kept_bytes=kept,
    )
