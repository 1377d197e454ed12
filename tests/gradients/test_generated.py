"""Gradients over generated shapes, against differences and against the complex step, to second order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.gradients.complex_step import REAL_ONLY, check_exactly
from tests.gradients.generated import GENERATED
from tests.ops.checks import check_gradients
from tests.ops.harness import Case, each, exp, real
from tests.ops.test_checks import wrong
from tests.ops.test_ops import ROWS
from tinygraph.errors import ShapeError
from tinygraph.ops.base import OPS, is_differentiable
from tinygraph.ops.elementwise import Exp
from tinygraph.ops.windows import extents

# The same rows every time.
few = settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def leaves_a_rest(row: Case) -> bool:
    """Whether the last window of a convolution ends before the padded input does."""
    spans = extents(row.inputs[1].shape[2:], row.op.dilation)
    room = [d + sum(p) - span for d, p, span in zip(row.inputs[0].shape[2:], row.op.padding, spans, strict=True)]
    return any(map(int.__mod__, room, row.op.stride))


def several(row: Case) -> bool:
    """Whether there are groups with more than one channel on both sides."""
    return row.op.groups > 1 and all(i.shape[1] > row.op.groups for i in row.inputs)


REACHED: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "conv": {
        "strides": lambda row: max(row.op.stride) > 1,
        "dilations": lambda row: max(row.op.dilation) > 1,
        "uneven padding": lambda row: any(front != behind for front, behind in row.op.padding),
        "a bias": lambda row: len(row.inputs) == 3,
        "three axes": lambda row: len(row.op.stride) == 3,
        "positions behind the last window": leaves_a_rest,
        "depthwise": lambda row: 1 < row.op.groups == row.inputs[0].shape[1],
    },
    "conv_weight_grad": {"groups of several channels": several},
    "max_pool": {
        "overlapping windows": lambda row: any(map(int.__gt__, row.op.kernel_size, row.op.stride)),
        "gaps between windows": lambda row: any(map(int.__lt__, row.op.kernel_size, row.op.stride)),
        "rounding up": lambda row: row.op.ceil_mode,
    },
    "avg_pool": {"padding that counts": lambda row: row.op.count_include_pad and np.any(row.op.padding)},
    "adaptive_avg_pool": {
        "windows that differ": lambda row: any(map(int.__mod__, row.inputs[0].shape[2:], row.op.output_size)),
        "more windows than elements": lambda row: any(map(int.__lt__, row.inputs[0].shape[2:], row.op.output_size)),
    },
    "pad": {"cropping": lambda row: np.min(row.op.pads) < 0, "reflection": lambda row: row.op.mode == "reflect"},
    "slice": {"steps backwards": lambda row: min(row.op.steps) < 0},
    "mul": {"broadcasting both ways": lambda row: 1 in row.inputs[0].shape and 1 in row.inputs[1].shape},
    "matmul": {"stacks": lambda row: max(len(i.shape) for i in row.inputs) > 2},
    "sum": {"several axes": lambda row: len(row.op.axes) > 1},
    "cross_entropy": {"ignored labels": lambda row: row.op.ignore_index in row.arrays()[1]},
}
"""What must be among the rows of an op."""


@pytest.mark.parametrize("name", GENERATED)
def test_generated_rows(name: str) -> None:
    rows: list[Case] = []

    @few
    @given(GENERATED[name])
    def check(row: Case) -> None:
        rows.append(row)
        assert row.op.name == name
        check_gradients(row)
        if name not in REAL_ONLY:
            check_exactly(row)

    check()
    missed = [what for what, holds in REACHED.get(name, {}).items() if not any(map(holds, rows))]
    assert not missed, f"no row of {name} has {', '.join(missed)}"


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if is_differentiable(op)])
def test_rows_by_the_complex_step(name: str) -> None:
    if name not in REAL_ONLY:
        for row in ROWS:
            if row.op.name == name:
                check_exactly(row)


@pytest.mark.parametrize("name", REAL_ONLY)
def test_no_kernel_is_taken_for_one_of_real_numbers_only(name: str) -> None:
    row = next(row for row in ROWS if row.op.name == name and row.smooth)
    with pytest.raises((AssertionError, ShapeError, TypeError, np.exceptions.ComplexWarning)):
        check_exactly(row)


def test_the_complex_step_sees_an_error_in_the_eleventh_digit() -> None:
    scaled = wrong(Exp, vjp=lambda self, inputs, outputs, c: [c[0] * outputs[0] * (1 + 1e-11)])
    row = Case(scaled(), [real(4)], each(lambda op, x: exp(x)))
    check_gradients(row)
    with pytest.raises(AssertionError, match="slope by x0"):
        check_exactly(row)
