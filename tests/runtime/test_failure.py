"""What a kernel raises comes out as an error of ours that names the node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import ops
from tinygraph.ops.elementwise import Relu
from tinygraph.runtime.evaluate import evaluate
from tinygraph.tensor import Tensor

X = np.ones(2, np.float32)


def graph() -> tg.Graph:
    return tg.trace(lambda x: ops.relu(x), tg.Spec((2,), name="x"))


RUNS: list[Callable[[], Any]] = [
    lambda: tg.compile(graph(), passes="none")(X),
    lambda: evaluate(graph(), {"x": X}),
]


def failing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def kernel(self: Relu, x: Any) -> Any:
        raise error

    monkeypatch.setattr(Relu, "kernel", kernel)
    monkeypatch.setattr(Relu, "lower", lambda *_: None)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", [IndexError, KeyError, ValueError, TypeError, ZeroDivisionError, OverflowError])
def test_numbers_that_a_kernel_cannot_take(
    kind: type[Exception], run: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = kind("index 7 is out of bounds")
    failing(error, monkeypatch)
    with pytest.raises(tg.UsageError, match=r"relu 'relu' at .*test_failure.py.* cannot compute .*index 7") as raised:
        run()
    assert raised.value.__cause__ is error
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("run", RUNS)
def test_errors_of_ours_get_the_name_of_the_node(run: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    failing(tg.ShapeError("3 of 2"), monkeypatch)
    with pytest.raises(tg.ShapeError, match=r"^relu 'relu' at .*: 3 of 2$"):
        run()


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", [MemoryError, AssertionError, RuntimeError, KeyboardInterrupt])
def test_everything_else_goes_through(
    kind: type[Exception], run: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = kind("something else")
    failing(error, monkeypatch)
    with pytest.raises(kind) as raised:
        run()
    assert raised.value is error
    if isinstance(error, Exception):
        assert any("relu" in note for note in error.__notes__)


def test_an_index_out_of_range_in_a_real_graph() -> None:
    def pick(x: Tensor, at: Tensor) -> Tensor:
        return ops.gather(x, at)

    made = tg.trace(pick, tg.Spec((3,)), tg.Spec((2,), dtype="int64"))
    with pytest.raises(tg.TinygraphError, match="gather"):
        tg.compile(made)(np.ones(3, np.float32), np.array([0, 9]))
