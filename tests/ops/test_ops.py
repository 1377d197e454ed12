"""Every row of cases/*.py through every check; and every registered op has a row."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import numpy as np
import pytest

from tests.ops import cases
from tests.ops.checks import CHECKS, graph_of, written
from tests.ops.harness import Case
from tinygraph.ops.base import OPS, Op

ROOMS = [importlib.import_module(f"{cases.__name__}.{m.name}") for m in pkgutil.iter_modules(cases.__path__)]
ROWS: list[Case] = [case for room in ROOMS for case in room.CASES]


def test_every_op_has_a_row() -> None:
    untested = set(OPS) - {row.op.name for row in ROWS}
    assert not untested, f"no row in tests/ops/cases for: {', '.join(sorted(untested))}"


def test_rows_of_one_op_have_different_labels() -> None:
    names = [str(row) for row in ROWS]
    assert not {name for name in names if names.count(name) > 1}


def test_every_onnx_operator_that_an_op_names_is_written_by_a_row() -> None:
    named = {(name, operator) for name, op in OPS.items() for operator in op.onnx}
    rows = [row for row in ROWS if row.op.onnx]
    graphs = [(row.op.name, graph_of(row, dtype)) for row in rows for dtype in (np.float32, np.float16)]
    found = {(name, operator) for name, graph in graphs for operator in written(graph)}
    assert named == found


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Case, check: object) -> None:
    check(row)


@pytest.mark.parametrize("op", {row.op.name: row.op for row in ROWS}.values(), ids=str)
def test_an_op_is_frozen(op: Op) -> None:
    for name in ("new", *vars(op)):
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            setattr(op, name, 1)
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            delattr(op, name)
    assert dataclasses.replace(op) == op
    assert hash(dataclasses.replace(op)) == hash(op)
