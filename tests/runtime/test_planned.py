"""What a session says a call takes is what it takes, for networks."""

from __future__ import annotations

from typing import Any

import pytest

import tinygraph as tg
from tests.poison import random_inputs
from tests.test_memory import traced_peak

NETWORKS: list[tuple[str, tuple[int, ...]]] = [
    ("lenet5", (64, 1, 32, 32)),
    ("alexnet", (4, 3, 128, 128)),
    ("resnet18", (1, 3, 160, 160)),
    ("resnet50", (2, 3, 128, 128)),
    ("resnet20_cifar", (8, 3, 32, 32)),
]


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize(("name", "shape"), NETWORKS, ids=[name for name, _ in NETWORKS])
def test_a_call_takes_what_was_planned(name: str, shape: tuple[int, ...], precision: Any) -> None:
    graph = tg.trace(tg.models.create(name), tg.Spec(shape))
    run = tg.compile(graph, threads=2, precision=precision)
    arrays = list(random_inputs(graph).values())
    run(*arrays)
    (arena,) = run._arenas.spare
    planned = run.memory.activations + run.memory.workspace
    measured = arena.nbytes + traced_peak(run, *arrays)
    assert planned * 0.95 - 20_000 < measured < planned * 1.05 + 20_000
