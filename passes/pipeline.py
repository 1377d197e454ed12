"""Runs passes, and keeps watch over them.

PASSES names them; a pipeline is an order of names or functions. Each pass runs until it changes
nothing, and so does the pipeline as a whole. After every change the graph is verified, and its
interface must be the old one; whoever breaks either is named.

TINYGRAPH_DEBUG=1 reports a line per pass on stderr, 2 also the diff of the dump;
TINYGRAPH_DUMP=dir writes the dump after each pass to a numbered file.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from tinygraph import config
from tinygraph.errors import ShapeError, UsageError, VerifyError
from tinygraph.ir import Graph
from tinygraph.passes.analyze import analyze
from tinygraph.passes.compare import Referee
from tinygraph.passes.cse import cse
from tinygraph.passes.dead_code import dead_code
from tinygraph.passes.fold_batch_norm import fold_batch_norm
from tinygraph.passes.fold_constants import fold_constants
from tinygraph.passes.report import Totals
from tinygraph.passes.simplify import simplify
from tinygraph.text import diff, dump
from tinygraph.verify import verify

Pass = Callable[[Graph], Graph]
Passes = str | Sequence[str | Pass]

PASSES: dict[str, Pass] = {
    "fold_constants": fold_constants,
    "simplify": simplify,
    "cse": cse,
    "fold_batch_norm": fold_batch_norm,
    "dead_code": dead_code,
}
PIPELINES: dict[str, tuple[str, ...]] = {
    "none": (),
    "inference": ("fold_constants", "simplify", "cse", "fold_batch_norm", "dead_code"),
    "training": ("fold_constants", "simplify", "cse", "dead_code"),
}

_MOST_SWEEPS = 100  # a pass sees what its inputs have become, so that one sweep or two suffice


@dataclass(frozen=True)
class Step:
    """What one pass did.

    Attributes:
        name: of the pass.
        before: the graph it was given.
        after: the graph it made; the same object if it changed nothing.
        seconds: how long it took.
    """

    name: str
    before: Graph
    after: Graph
    seconds: float

    @cached_property
    def before_totals(self) -> Totals:
        """MACs, FLOPs, parameters and bytes before; open dimensions count as 1."""
        return analyze(self.before).totals

    @cached_property
    def after_totals(self) -> Totals:
        """The same afterwards."""
        return self.before_totals if self.after is self.before else analyze(self.after).totals

    @property
    def summary(self) -> str:
        """How many ops and arrays of each sort are gone or new: "-53 batch_norm, +106 frozen"."""
        if self.after is self.before:
            return "no change"
        before, after = _census(self.before), _census(self.after)
        changes = {sort: after[sort] - before[sort] for sort in (before | after)}
        return ", ".join(f"{n:+d} {sort}" for sort, n in changes.items() if n) or "rewired"


def _census(graph: Graph) -> Counter[str]:
    return Counter([*(node.op.name for node in graph.nodes), *(value.kind for value in graph.data)])


def optimize(
    graph: Graph,
    passes: Passes = "inference",
    *,
    check: bool | Mapping[str, Any] = False,
    stop_after: int | None = None,
) -> Graph:
    """The graph after a pipeline of passes.

    Args:
        graph: it is left as it is.
        passes: "inference", "training", "none", or names (see PASSES) and functions from Graph to Graph. A
            function must return the very graph it was given when there is nothing to do.
        check: compare the answers before and after each pass with a float64 run of the
            original: on random inputs if True, or on these arrays by input name.
        stop_after: run only that many passes of the order: halving it finds the guilty one.

    Raises:
        UsageError: no pass or pipeline has that name.
        VerifyError: a pass broke the graph, its interface or its answers; it is named.
    """
    for step in islice(steps(graph, passes, check=check), stop_after):
        graph = step.after
    return graph


def explain(graph: Graph, passes: Passes = "inference") -> list[Step]:
    """What each pass does to a graph, in order; see optimize."""
    return list(steps(graph, passes))


def steps(graph: Graph, passes: Passes = "inference", *, check: bool | Mapping[str, Any] = False) -> Iterator[Step]:
    """Runs passes one by one; see optimize.

    Every pass gives a step in the first round. Rounds are repeated until one changes nothing;
    from the second on, only passes that changed the graph give a step.
    """
    order = _resolve(passes)
    referee = None if check is False else Referee(graph, None if check is True else check)
    log = _Log(graph)
    settled: dict[int, Graph] = {}
    for turn in range(_MOST_SWEEPS):
        start = graph
        for position, (name, function) in enumerate(order):
            if settled.get(position) is graph:
                continue
            began = time.perf_counter()
            after = settled[position] = _settle(name, function, graph)
            step = Step(name, graph, after, time.perf_counter() - began)
            if referee is not None and after is not graph:
                referee.compare(name, graph, after)
            if turn == 0 or after is not graph:
                log.write(step)
                yield step
            graph = after
        if graph is start:
            return
    raise VerifyError(
        f"the passes {', '.join(name for name, _ in order)} undo each other's work: they never come to rest"
    )


def _resolve(passes: Passes) -> list[tuple[str, Pass]]:
    if isinstance(passes, str):
        if passes not in PIPELINES:
            known = ", ".join(PIPELINES)
            raise UsageError(
                f"there is no pipeline {passes!r}; take one of {known}, or a list of passes: {', '.join(PASSES)}"
            )
        passes = PIPELINES[passes]
    unknown = [p for p in passes if not callable(p) and p not in PASSES]
    if unknown:
        raise UsageError(f"there is no pass {unknown[0]!r}; passes are {', '.join(PASSES)}")
    return [(getattr(p, "__name__", repr(p)), p) if callable(p) else (p, PASSES[p]) for p in passes]


def _settle(name: str, function: Pass, graph: Graph) -> Graph:
    """Runs a pass until it changes nothing, with a check after every change."""
    for _ in range(_MOST_SWEEPS):
        try:
            after = function(graph)
            if after is graph:
                return graph
            _same_interface(graph, verify(after))
        except (VerifyError, ShapeError) as error:
            raise VerifyError(f"the pass {name} broke the graph: {error}") from error
        graph = after
    raise VerifyError(
        f"the pass {name} still changes the graph after {_MOST_SWEEPS} sweeps; "
        "a pass returns the graph it was given when there is nothing to do"
    )


def _same_interface(before: Graph, after: Graph) -> None:
    def interface(graph: Graph) -> list[str]:
        inputs = [f"input {v}" for v in graph.inputs]
        return [graph.mode, *inputs, *(f"output {name!r}: {v.type}" for name, v in graph.outputs)]

    old, new = interface(before), interface(after)
    if old != new:
        raise VerifyError(f"the interface was {'; '.join(old)}, and is {'; '.join(new)}")


class _Log:
    """Reports and dumps, as the environment asks for."""

    def __init__(self, graph: Graph) -> None:
        self.config = config.read()
        self.count = 0
        self._dump("before", graph)

    def write(self, step: Step) -> None:
        self.count += 1
        self._dump(step.name, step.after)
        if self.config.debug >= 1:
            nodes = f"{len(step.before.nodes)} -> {len(step.after.nodes)} nodes"
            lines = [f"{step.name:<16} {nodes}, {step.seconds * 1e3:.1f} ms: {step.summary}"]
            lines += diff(step.before, step.after) if self.config.debug >= 2 and step.after is not step.before else []
            sys.stderr.write("".join(line + "\n" for line in lines))

    def _dump(self, name: str, graph: Graph) -> None:
        if self.config.dump is not None:
            self.config.dump.mkdir(parents=True, exist_ok=True)
            path = self.config.dump / f"{self.count:02d}-{re.sub(r'[^A-Za-z0-9_]+', '-', name)}.txt"
            path.write_text(dump(graph), encoding="utf-8")
