"""What the test of any pass asks: the dump afterwards, the numbers, the input untouched, nothing left to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygraph.ir import Array, Graph
from tinygraph.passes.compare import Referee, random_inputs
from tinygraph.runtime.evaluate import evaluate
from tinygraph.text import dump, parse
from tinygraph.verify import verify

Pass = Callable[[Graph], Graph]
Inputs = Mapping[str, Array] | None


def apply(function: Pass, graph: Graph, inputs: Inputs = None) -> Graph:
    """The graph after the pass, which must keep the answers, leave its input alone and be done."""
    before = dump(graph)
    after = verify(function(graph))
    assert dump(graph) == before, "the pass changed its input"
    assert function(after) is after, "a second run changed something"
    Referee(graph, inputs).compare(getattr(function, "__name__", "pass"), graph, after)
    return after


def turns(function: Pass, before: str, after: str, inputs: Inputs = None) -> None:
    """The pass turns the graph of one text into that of the other."""
    assert dump(apply(function, parse(before), inputs)) == dump(parse(after))


def leaves(function: Pass, graph: Graph | str) -> None:
    """The pass finds nothing to do."""
    graph = parse(graph) if isinstance(graph, str) else graph
    assert function(graph) is graph


def error(graph: Graph, exact: Mapping[str, Array], inputs: Mapping[str, Any]) -> float:
    """How far the graph's own answers are from the exact ones, at most."""
    answers = evaluate(graph, inputs)
    return max(float(np.max(np.abs(answers[name].astype(np.float64) - exact[name]))) for name in exact)


def ops(graph: Graph) -> list[str]:
    """Names of the ops in order."""
    return [node.op.name for node in graph.nodes]


__all__ = ["apply", "error", "leaves", "ops", "random_inputs", "turns"]
