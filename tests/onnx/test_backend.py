"""The test suite of the onnx package against tinygraph's backend.

A case passes if the answers agree, or if it is one of those that are refused (see
tests/data/onnx_refused.json) and is refused. No case is let off for a wrong answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import tinygraph as tg
from tests.onnx.suite import Sample, in_slice, refused, samples
from tinygraph.onnx import backend

pytestmark = pytest.mark.skipif(
    not onnx.__version__.startswith("1.23."), reason="the list of what is refused is that of onnx 1.23"
)


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: f"{sample.kind}-{sample.name}")
def test_backend(sample: Sample, record_property: Callable[[str, Any], None]) -> None:
    record_property("kind", sample.kind)
    record_property("operator", sample.operator)
    if sample.name in refused():
        with pytest.raises((tg.UnsupportedOp, tg.ModelFormatError)):
            check(sample)
        record_property("outcome", "refused")
        return
    check(sample)
    record_property("outcome", "passed")


def check(sample: Sample) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite reads deprecated fields
        model, sets = sample.load()
    prepared = backend.prepare(model, passes="inference")
    for inputs, wanted in sets:
        outputs = prepared.run(inputs)
        assert len(outputs) == len(wanted)
        for got, want in zip(outputs, map(np.asarray, wanted), strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            np.testing.assert_allclose(got, want, rtol=sample.case.rtol, atol=sample.case.atol)


def test_backend_refuses_no_more_than_it_says() -> None:
    node = [sample for sample in samples() if sample.kind == "node"]
    inference = [sample for sample in node if in_slice(sample, "cnn_inference")]
    assert len(node) == 1884
    assert len(inference) == 998
    assert sum(sample.name not in refused() for sample in node) >= 1400
    assert sum(sample.name not in refused() for sample in inference) >= 950
    others = [sample for sample in samples() if sample.kind not in ("node", "simple")]
    assert not [sample.name for sample in others if sample.name in refused()]
    assert set(refused()) <= {sample.name for sample in samples()}
