"""Graphs in which some sizes come out only while they run: how many boxes are left, how many numbers are not zero.

Such a graph is cut into stages. Within a stage all sizes are known when it starts, so that it is an
ordinary graph with open dimensions, planned for each set of their numbers. Between two stages stand
the nodes that find sizes; they run with their plain kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter_ns

import numpy as np

from tinygraph.budget import Budget, check_node
from tinygraph.build import finders, infer, named
from tinygraph.ir import Array, Graph, Node, Symbol, TensorType, Value, symbols_of
from tinygraph.runtime.failure import explained
from tinygraph.runtime.recording import Recording, Span

Run = Callable[[Sequence[Array], Mapping[str, Array], Recording | None], Sequence[Array]]


@dataclass(frozen=True)
class Stage:
    """A part of a graph.

    Attributes:
        graph: what can be planned; its inputs and outputs bear the names of values of the whole.
        finders: nodes behind it whose results have sizes that they find themselves.
    """

    graph: Graph
    finders: tuple[Node, ...]


def found_sizes(graph: Graph) -> set[Symbol]:
    """The dimensions that are neither numbers nor told by the inputs."""
    return set(finders(graph.inputs, graph.nodes))


def cut(graph: Graph) -> list[Stage]:
    """The stages of a graph, in order."""
    level: dict[Value | Symbol, int] = dict.fromkeys(graph.symbols, 0)
    carriers: dict[Symbol, Value] = {}  # values that show the number of a symbol
    for value in graph.inputs:
        carriers |= {d: value for d in symbols_of(value.type.shape) if d not in carriers}
    planned: dict[int, list[Node]] = {}
    finding: dict[int, list[Node]] = {}
    for node in graph.nodes:
        new = {d: v for v in node.outputs for d in symbols_of(v.type.shape) if d not in level}
        needed: list[Value | Symbol] = [*node.inputs, *named(node)]
        here = max((level.get(each, 0) for each in needed), default=0)
        (finding if new else planned).setdefault(here, []).append(node)
        level |= dict.fromkeys((*node.outputs, *new), here + 1 if new else here)
        carriers |= new
    last = max((*planned, *finding), default=0)
    return list(_stages(graph, planned, finding, carriers, last))


def _stages(
    graph: Graph,
    planned: Mapping[int, list[Node]],
    finding: Mapping[int, list[Node]],
    carriers: Mapping[Symbol, Value],
    last: int,
) -> Iterator[Stage]:
    wanted = {v for _, v in graph.outputs}  # behind the stage in hand, which is found from the last to the first
    stages: list[Stage] = []
    for number in range(last, -1, -1):
        nodes, behind = planned.get(number, []), tuple(finding.get(number, []))
        wanted -= {v for node in behind for v in node.outputs}
        wanted |= {v for node in behind for v in node.inputs}
        made = {v: None for node in nodes for v in node.outputs}
        results = [v for v in made if v in wanted]
        wanted -= made.keys()
        read = dict.fromkeys(v for node in nodes for v in node.inputs if v not in made)
        shown = {d for v in read if v not in graph.data for d in symbols_of(v.type.shape)}
        hidden = {d for node in nodes for d in named(node)} - shown
        read |= dict.fromkeys(carriers[d] for d in sorted(hidden))
        data = {v: graph.data[v] for v in read if v in graph.data}
        sources = [v for v in read if v not in graph.data]
        wanted.update(sources)
        inputs = {v: replace(v, kind="input") for v in sources}
        moved = tuple(replace(n, inputs=tuple(inputs.get(v, v) for v in n.inputs)) for n in nodes)
        outputs = tuple((v.name, v) for v in results)
        stages.append(Stage(Graph(tuple(inputs.values()), moved, outputs, data, graph.mode), behind))
    yield from reversed(stages)


class Staged:
    """Runs a graph stage by stage.

    Args:
        graph: some of its sizes are found while it runs.
        make: makes a function that runs a stage: (arrays in order, arrays by name, recording) -> arrays.
        budget: of the nodes that find sizes, each for itself, and of all that is kept between stages; None for any.
    """

    def __init__(self, graph: Graph, make: Callable[[Graph], Run], budget: Budget | None = None) -> None:
        self._graph = graph
        self._budget = budget
        self._stages = [(make(stage.graph), stage) for stage in cut(graph)]

    def run(self, inputs: Sequence[Array], dims: Mapping[str, int], recording: Recording | None = None) -> list[Array]:
        """The arrays of the outputs, in order; see Plan.run for the recording."""
        live: dict[str, Array] = {v.name: a for v, a in zip(self._graph.inputs, inputs, strict=True)}
        live |= {v.name: self._graph.array(v) for v in self._graph.data}
        numbers = dict(dims)
        for run, stage in self._stages:
            if stage.graph.outputs:
                made = run([live[v.name] for v in stage.graph.inputs], {}, recording)
                live |= zip((name for name, _ in stage.graph.outputs), made, strict=True)
            for node in stage.finders:
                began = perf_counter_ns()
                arrays = find(node, [live[v.name] for v in node.inputs], numbers, self._budget)
                ended = perf_counter_ns()
                if recording is not None:
                    recording.spans.append(Span(_bound(node, numbers), "plain", began, ended))
                live |= zip((v.name for v in node.outputs), arrays, strict=True)
            if self._budget is not None:
                held = {id(a): a.nbytes for a in live.values()}
                self._budget.check_bytes(sum(held.values()), "a run keeps")
        return [np.array(live[v.name]) for _, v in self._graph.outputs]


def find(node: Node, inputs: Sequence[Array], numbers: dict[str, int], budget: Budget | None = None) -> list[Array]:
    """Runs the plain kernel of a node; the sizes that it finds are added to the numbers.

    Raises:
        BudgetError: if it found as much as there can be, it would take more than the budget.
    """
    op = node.op.bind(numbers)
    if budget is not None:
        types = [TensorType.of(a) for a in inputs]
        new = {d for t in node.output_types for d in t.shape if isinstance(d, Symbol)} - numbers.keys()
        most = infer(op.bind(dict.fromkeys(new, op.at_most(types))), types)
        check_node(node, op, types, most, budget)
    try:
        made = op.kernel(*inputs)
    except Exception as error:
        raise explained(node, error)  # noqa: B904  # which has its cause
    arrays = [np.asarray(a) for a in (made if isinstance(made, tuple) else (made,))]
    for array, type in zip(arrays, node.output_types, strict=True):
        sizes = zip(type.shape, array.shape, strict=True)
        numbers |= {d.base: n // d.factor for d, n in sizes if isinstance(d, Symbol)}
    return arrays


def _bound(node: Node, numbers: Mapping[str, int]) -> Node:
    """The node with the numbers of its open dimensions."""
    inputs, outputs = (
        tuple(replace(v, type=v.type.bind(numbers)) for v in values) for values in (node.inputs, node.outputs)
    )
    return replace(node, op=node.op.bind(numbers), inputs=inputs, outputs=outputs)
