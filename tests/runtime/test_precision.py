"""precision="fast": kernels that round more, and only where they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import models
from tinygraph.errors import UsageError
from tinygraph.runtime.evaluate import evaluate


def algorithms(session: Any) -> set[str]:
    return {step.algorithm for step in session._plan(()).steps}


def test_a_network_answers_alike_with_kernels_that_round_more() -> None:
    graph = tg.trace(models.create("resnet20_cifar", seed=0), tg.Spec((2, 3, 32, 32)))
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    (wanted,) = evaluate(graph, {"x": x}, np.float64).values()
    errors = {}
    for precision in ("exact", "fast"):
        session = tg.compile(graph, precision=precision)
        assert any("winograd" in name for name in algorithms(session)) == (precision == "fast")
        errors[precision] = np.linalg.norm(session(x) - wanted) / np.linalg.norm(wanted)
    assert errors["exact"] < 1e-6
    assert errors["fast"] < 30 * errors["exact"]


def test_a_weight_that_is_no_constant_has_no_fast_kernel() -> None:
    def convolved(x: Any, w: Any) -> Any:
        return tg.nn.functional.conv2d(x, w, padding=1)

    graph = tg.trace(convolved, tg.Spec((1, 64, 56, 56)), tg.Spec((64, 64, 3, 3)))
    assert algorithms(tg.compile(graph, precision="fast")) == {"im2col"}


def test_another_precision_is_refused() -> None:
    graph = tg.trace(lambda x: x + 1, tg.Spec((2,)))
    with pytest.raises(UsageError, match="give 'exact' or 'fast'"):
        tg.compile(graph, precision="half")  # type: ignore[arg-type]
