"""The fuzzer for a few seconds, the same files each time; and that it finds what it looks for."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.onnx import fuzz
from tests.onnx.files import model, node
from tests.onnx.mutations import Mutator, smaller
from tests.onnx.seeds import handmade
from tinygraph.ops.elementwise import Relu

FILES = 40


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    before = signal.signal(signal.SIGPROF, fuzz.too_slow)
    yield
    signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize("part", range(4))
def test_changed_files_lead_to_nothing_that_must_not_happen(part: int) -> None:
    ways = {fuzz.attempt(content, n) for n, content in islice(fuzz.contents(part, list(handmade())), FILES)}
    assert {"ran", "ModelFormatError"} <= ways


def test_the_models_made_by_hand_are_read() -> None:
    assert all(tg.load(content).nodes for content in handmade())


RELU = model([node("Relu", "x", "y")], {"x": [2]}, {"y": [2]}).SerializeToString()


def broken(x: Any) -> Any:
    raise AttributeError("a bug")


def slow(x: Any) -> Any:
    while True:
        x = x + 1


def warning(x: Any) -> Any:
    warnings.warn("careful", stacklevel=1)
    return x


@pytest.mark.parametrize(
    ("kernel", "what"),
    [
        (broken, "AttributeError"),
        (slow, "too long"),
        (warning, "a warning"),
        (lambda x: x.astype(np.float64), "another type"),
        (lambda x: x + np.zeros(10**8, np.int8)[:2], "more memory"),
    ],
)
def test_what_must_not_happen_is_found(kernel: Any, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Relu, "kernel", lambda self, x: kernel(x))
    monkeypatch.setattr(Relu, "lower", lambda *_: None)
    monkeypatch.setattr(fuzz, "SECONDS", 0.5)
    monkeypatch.setattr(fuzz, "SLACK", 0)
    assert any(what in str(fuzz.shows(RELU, number)) for number in range(12))


def test_an_input_without_numbers_that_numpy_cannot_count_is_left_alone() -> None:
    proto = model([node("Relu", "x", "y")], {"x": [2], "unread": [2**62, 0]}, {"y": None})
    assert fuzz.attempt(proto.SerializeToString(), 0) == "compiled"


def test_changes_depend_on_the_seed_alone() -> None:
    seeds = list(handmade())
    first, again, other = ([c for _, c in islice(fuzz.contents(s, seeds), 20)] for s in (1, 1, 2))
    assert first == again != other


def test_a_file_is_made_smaller_as_long_as_it_shows_the_same() -> None:
    content = next(handmade())
    assert len(smaller(content, lambda other: b"Reshape" in other)) < 40
    assert smaller(b"no model", lambda other: True) == b"no model"


def test_most_changed_files_still_can_be_parsed() -> None:
    from random import Random

    mutator = Mutator(Random(0), list(handmade()))
    parsed = 0
    for content in [mutator.mutate(c) for c in handmade() for _ in range(10)]:
        try:
            tg.load(content, budget=fuzz.BUDGET)
            parsed += 1
        except tg.TinygraphError:
            continue
    assert parsed > 10
