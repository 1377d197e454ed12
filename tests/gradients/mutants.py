"""Ops whose gradient rule makes one mistake: every mistake of a list, for every cotangent that a rule returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.ops.checks import check_gradients
from tests.ops.harness import Case
from tests.ops.test_checks import wrong
from tinygraph import ops
from tinygraph.ops.base import Op

Mistake = Callable[[list[Any], int], Any]
"""mistake(cotangents, i) -> what is returned in the place of cotangents[i]; the same one if there is nothing to do."""


def _reversed(cotangents: list[Any], i: int) -> Any:
    c = cotangents[i]
    if not c.ndim or c.shape[-1] == 1:
        return c
    whole = [None] * (c.ndim - 1)
    return ops.slice(c, [*whole, None], [*whole, None], [*whole, -1])


def _transposed(cotangents: list[Any], i: int) -> Any:
    c = cotangents[i]
    if c.ndim < 2 or c.shape[-1] == 1 or c.shape[-1] != c.shape[-2]:
        return c
    return ops.transpose(c, (*range(c.ndim - 2), c.ndim - 1, c.ndim - 2))


def _of_another_input(cotangents: list[Any], i: int) -> Any:
    others = [c for c in cotangents if c is not None and c is not cotangents[i] and c.type == cotangents[i].type]
    return others[0] if others else cotangents[i]


def _negated(cotangents: list[Any], i: int) -> Any:
    return -cotangents[i]


MISTAKES: dict[str, Mistake] = {
    "negated": _negated,
    "doubled": lambda cotangents, i: cotangents[i] * 2,
    "a thousandth too large": lambda cotangents, i: cotangents[i] * 1.001,
    "reversed": _reversed,
    "transposed": _transposed,
    "that of another input": _of_another_input,
    "dropped": lambda cotangents, i: None,
}


class Mutant:
    """An op whose rule makes a mistake in the cotangent of one input.

    Attributes:
        op: what is wrong.
        differs: whether the rule has returned something else than the right one so far.
    """

    def __init__(self, op: Op, position: int, mistake: Mistake) -> None:
        right = type(op).vjp
        self.differs = False

        def vjp(op: Op, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
            found = list(right(op, inputs, outputs, cotangents))
            if position < len(found) and found[position] is not None:
                changed = mistake(found, position)
                self.differs |= changed is not found[position]
                found[position] = changed
            return found

        self.op: Op = wrong(type(op), vjp=vjp)(**vars(op))


def survivors(rows: Sequence[Case]) -> Iterator[str]:
    """The mistakes in the rule of an op that none of its rows brings to light, as "mistake, number of the input".

    A mistake that changes no cotangent in any row (turning round an axis of size 1) is none.
    """
    for position in range(max(len(row.inputs) for row in rows)):
        for name, mistake in MISTAKES.items():
            differs = False
            for row in rows:
                mutant = Mutant(row.op, position, mistake)
                if rejected(Case(mutant.op, row.inputs, row.naive, row.label)):
                    break
                differs |= mutant.differs
            else:
                if differs:
                    yield f"{name}, {position}"
                elif mistake is _negated:
                    break  # no row has a cotangent for this input


def rejected(row: Case) -> bool:
    """Whether the check of gradients refuses the row."""
    try:
        check_gradients(row)
    except AssertionError:
        return True
    return False
