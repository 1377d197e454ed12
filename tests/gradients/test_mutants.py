"""No mistake in a gradient rule goes unnoticed: rules are made wrong, one at a time, and the check must refuse each."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gradients.mutants import MISTAKES, Mutant, rejected, survivors
from tests.ops.harness import Case
from tests.ops.test_checks import wrong
from tests.ops.test_ops import ROWS
from tinygraph.ops.base import OPS, Op, is_differentiable

DIFFERENTIABLE = [name for name, op in OPS.items() if is_differentiable(op)]


def rows_of(name: str) -> list[Case]:
    """The rows of an op whose slopes are compared."""
    return [row for row in ROWS if row.op.name == name and row.smooth]


def row(name: str) -> Case:
    """The row of that name."""
    return next(row for row in ROWS if str(row) == name)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_every_mistake_is_rejected(name: str) -> None:
    assert not list(survivors(rows_of(name)))


def test_what_one_row_does_not_see_is_told() -> None:
    # The cotangent of a sum over everything is the same everywhere, so that its order does not matter.
    assert list(survivors([row("sum-everything")])) == ["reversed, 0"]
    assert list(survivors([row("neg-0-d")])) == []
    assert list(survivors([row("neg-empty")])) == [
        "negated, 0",
        "doubled, 0",
        "a thousandth too large, 0",
        "dropped, 0",
    ]


def test_inputs_without_a_cotangent_have_no_mutants() -> None:
    where = row("where")
    assert not rejected(where)
    mutant = Mutant(where.op, 0, MISTAKES["negated"])
    assert not rejected(Case(mutant.op, where.inputs, where.naive))
    assert not mutant.differs


@pytest.mark.parametrize("output", [0, 1, 2])
def test_a_rule_that_forgets_an_output_is_rejected(output: int) -> None:
    row = rows_of("batch_norm_train")[0]
    right: Any = type(row.op).vjp

    def vjp(op: Op, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return right(op, inputs, outputs, [None if i == output else c for i, c in enumerate(cotangents)])

    assert rejected(Case(wrong(type(row.op), vjp=vjp)(**vars(row.op)), row.inputs, row.naive))
