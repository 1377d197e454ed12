"""Answers of the built-in networks against those of the reference implementations.

Weights and input are hashes of their names, the same on both sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.models.references import BUILT_IN, goldens
from tinygraph.tools.goldens import facts, fill

REFERENCES = [reference for reference in goldens() if reference in BUILT_IN]


def check(answer: np.ndarray, wanted: dict[str, Any]) -> None:
    """Every fact about the answer, within a relative L2 error of 1e-4."""
    got = facts(answer)
    scale = wanted["l2"]
    assert got["shape"] == wanted["shape"]
    assert np.linalg.norm(np.subtract(got["first8"], wanted["first8"])) < 1e-4 * np.linalg.norm(wanted["first8"])
    assert abs(got["l2"] - scale) < 1e-4 * scale
    assert abs(got["sum"] - wanted["sum"]) < 1e-4 * scale * np.sqrt(answer.size)
    assert abs(got["max"] - wanted["max"]) < 1e-4 * abs(wanted["max"])
    assert got["argmax"] == wanted["argmax"]


@pytest.mark.parametrize("reference", REFERENCES)
def test_answers_as_it_stands_and_optimized(reference: str) -> None:
    golden = goldens()[reference]
    net = tg.models.create(BUILT_IN[reference])
    net.load_state_dict({name: fill(name, v.shape, golden["gain"]) for name, v in net.named_variables()})
    x = fill("input", golden["input"])
    plain, optimized = (tg.compile(net, tg.Spec(golden["input"]), passes=p)(x) for p in ("none", "inference"))
    check(plain, golden["outputs"][0])
    check(optimized, golden["outputs"][0])
    assert np.linalg.norm(optimized - plain) < 1e-4 * np.linalg.norm(plain)


def test_no_reference_is_forgotten() -> None:
    torchvision = {"alexnet", "vgg16", "vgg16_bn", "resnet18", "resnet34", "resnet50"}
    wanted = {f"torchvision/{name}" for name in torchvision} | {"akamaster/resnet20", "akamaster/resnet56"}
    assert wanted <= set(REFERENCES)


def test_a_wrong_answer_is_noticed() -> None:
    answer = fill("input", (1, 1000))
    check(answer, facts(answer))
    with pytest.raises(AssertionError):
        check(answer * np.float32(1.001), facts(answer))
    with pytest.raises(AssertionError):
        check(np.roll(answer, 1), facts(answer))
