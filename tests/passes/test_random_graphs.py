"""Random graphs through every pass alone, every pipeline, and every order of passes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from tests.passes.checks import apply
from tests.passes.random_graphs import graphs
from tinygraph.ir import Graph
from tinygraph.passes.analyze import analyze
from tinygraph.passes.pipeline import PASSES, PIPELINES, explain, optimize
from tinygraph.text import dump, equal, parse

ordinary = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("name", PASSES)
@ordinary
@given(graph=graphs())
def test_every_pass_alone(name: str, graph: Graph) -> None:
    apply(PASSES[name], graph)


@pytest.mark.parametrize("name", PASSES)
@ordinary
@given(graph=graphs("training"))
def test_every_pass_alone_on_training_graphs(name: str, graph: Graph) -> None:
    parameters = {v for v in graph.data if v.kind != "const"}
    assert parameters <= set(apply(PASSES[name], graph).data)


@pytest.mark.parametrize("name", PIPELINES)
@ordinary
@given(graph=graphs())
def test_every_pipeline(name: str, graph: Graph) -> None:
    after = optimize(graph, name, check=True)
    assert optimize(after, name) is after
    before, now = analyze(graph).totals, analyze(after).totals
    assert now.macs <= before.macs
    assert now.activation_bytes <= before.activation_bytes


@ordinary
@given(graph=graphs(), order=st.permutations(list(PASSES)))
def test_every_order(graph: Graph, order: list[str]) -> None:
    optimize(graph, order, check=True)


@ordinary
@given(graph=graphs())
def test_answers_depend_on_the_graph_alone(graph: Graph) -> None:
    assert dump(optimize(graph)) == dump(optimize(graph))
    arrays = {v.name: graph.array(v) for v in graph.data}
    assert equal(optimize(parse(dump(graph), arrays)), optimize(graph))


@pytest.mark.parametrize("name", PASSES)
def test_the_random_graphs_give_every_pass_something_to_do(name: str) -> None:
    def busy(graph: Graph) -> bool:
        return any(step.name == name and step.after is not step.before for step in explain(graph))

    quick = settings(ordinary, max_examples=300, phases=[Phase.generate])  # there is nothing to shrink
    assert busy(find(graphs(), busy, settings=quick))
