"""Steps that are chained into one program give the numbers that they give one by one, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.poison import random_inputs
from tinygraph.runtime.recording import Recording

NETWORKS = [("resnet20_cifar", (2, 3, 32, 32)), ("resnet50", (1, 3, 65, 97)), ("vgg11_bn", (1, 3, 64, 64))]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize(("name", "shape"), NETWORKS, ids=[name for name, _ in NETWORKS])
def test_chained_steps(name: str, shape: tuple[int, ...], precision: Any, threads: int) -> None:
    graph = tg.trace(tg.models.create(name), tg.Spec(shape))
    session = tg.compile(graph, threads=threads, precision=precision)
    inputs = list(random_inputs(graph).values())
    recording = Recording()
    (alone,) = session._run(inputs, {}, recording)
    for _ in range(3):
        np.testing.assert_array_equal(session(*inputs), alone)
    (plan,), (arena,) = session._plans.values(), session._arenas.spare
    frame = arena.frames[plan]
    assert len(recording.spans) == len(frame.calls) > 2 * len(frame.chained)
