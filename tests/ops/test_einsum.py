"""Einsum in all the forms that NumPy has: one tensor and many, ellipses, diagonals, broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.ops.checks import execute
from tests.ops.test_onnx_forms import model
from tinygraph import ops
from tinygraph.errors import ShapeError

RNG = np.random.default_rng(0)


def real(*shape: int) -> Any:
    return RNG.standard_normal(shape)


FORMS = [
    ("ij->ji", [real(2, 3)]),
    ("ij", [real(2, 3)]),
    ("ji", [real(2, 3)]),
    ("ij->", [real(2, 3)]),
    ("...ij->...ji", [real(2, 3, 4)]),
    ("ii", [real(3, 3)]),
    ("ii->i", [real(3, 3)]),
    ("...ii->...i", [real(2, 3, 3)]),
    ("iij->ji", [real(3, 3, 2)]),
    ("iii->", [real(3, 3, 3)]),
    ("ij,jk", [real(2, 3), real(3, 4)]),
    (" i j , j k -> k i ", [real(2, 3), real(3, 4)]),
    ("ij,k->k", [real(2, 3), real(4)]),
    ("ii,jj->ij", [real(2, 2), real(3, 3)]),
    ("Ba,aC->CB", [real(2, 3), real(3, 4)]),
    ("aB,Bc", [real(2, 3), real(3, 4)]),
    ("...ij,...jk->...ik", [real(5, 2, 3), real(3, 4)]),
    ("...ij,...jk", [real(5, 1, 2, 3), real(7, 3, 4)]),
    ("i...,...->i...", [real(2, 3), real(4, 3)]),
    ("ij,ij->ij", [real(2, 3), real(1, 3)]),
    ("ij,jk,kl->il", [real(2, 3), real(3, 4), real(4, 5)]),
    ("ij,jk,kl,li->", [real(2, 3), real(3, 4), real(4, 5), real(5, 2)]),
    ("a,ab,abc->abc", [real(2), real(2, 3), real(2, 3, 4)]),
    (",i->i", [real(), real(3)]),
    (",->", [real(), real()]),
]


@pytest.mark.parametrize(("equation", "arrays"), FORMS)
def test_the_forms_of_numpy(equation: str, arrays: list[Any]) -> None:
    wanted = np.einsum(equation, *arrays)
    np.testing.assert_allclose(ops.einsum(equation, *arrays), wanted, rtol=1e-12, atol=1e-12)
    (found,) = execute(tg.load(model("Einsum", arrays, 13, equation=equation)), arrays[:1])
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_a_chain_costs_its_products_two_at_a_time() -> None:
    graph = tg.trace(lambda a, b, c: ops.einsum("ij,jk,kl->il", a, b, c), *map(tg.Spec, [(2, 3), (3, 4), (4, 5)]))
    assert tg.analyze(graph).totals.macs == 2 * 3 * 4 + 2 * 4 * 5


def test_a_letter_of_one_tensor_alone_is_summed_first() -> None:
    graph = tg.trace(lambda a, b: ops.einsum("ij,jk->k", a, b), tg.Spec((20, 3)), tg.Spec((3, 4)))
    assert [node.op.name for node in graph.nodes] == ["sum", "einsum"]
    assert tg.analyze(graph).totals.macs == 3 * 4


def test_an_open_batch_stays_open() -> None:
    graph = tg.trace(lambda a, b: ops.einsum("...ij,...kj->...ik", a, b), tg.Spec(("N", 2, 3)), tg.Spec((1, 4, 3)))
    assert str(graph.outputs[0][1].type) == "f32[N,2,4]"


@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ij,jk->ik", [(2, 3), (4, 5)], "the sizes 3 and 4"),
        ("ij->ij", [(2, 3, 4)], "does not fit tensors of 3 dimensions"),
        ("ij,jk", [(2, 3)], "wants 2 tensors, got 1"),
        ("ij->ik", [(2, 3)], "must stand in an input"),
        ("ij->ii", [(2, 3)], "once in the result"),
        ("i.j", [(2, 3)], "no equation"),
        ("ii", [(2, 3)], "the sizes 2 and 3"),
    ],
)
def test_what_does_not_fit_is_refused(equation: str, shapes: list[Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        ops.einsum(equation, *map(np.zeros, shapes))
