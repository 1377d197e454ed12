"""The checkers are checked: each wrong rule below must be caught, and by the check that is meant for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.ops import test_ops
from tests.ops.checks import CHECKS
from tests.ops.counted import Tally
from tests.ops.harness import Case, N, distinct, each, exp, maximum, real
from tinygraph.errors import ShapeError
from tinygraph.ir import TensorType
from tinygraph.ops.activation import LeakyRelu
from tinygraph.ops.arithmetic import Add, Maximum, Mul
from tinygraph.ops.base import OPS, Prepared, family, per_output
from tinygraph.ops.elementwise import Exp, Relu
from tinygraph.ops.index import Concat
from tinygraph.ops.matmul import MatMul
from tinygraph.ops.reduce import Sum
from tinygraph.ops.shape import Reshape, Transpose

mul = each(lambda op, a, b: a * b)
PAIR = [real(N, 3), real(3)]


def wrong(base: type, **rules: Any) -> Any:
    """The op with other rules in the place of its own."""
    return family(type(f"Wrong{base.__name__}", (base,), {"__doc__": base.__doc__, **rules}))


def caught(case: Case, check: str) -> str:
    """What the check says of the row; it must refuse it."""
    with pytest.raises((AssertionError, ShapeError, ValueError, RuntimeWarning)) as error:
        CHECKS[check](case)
    return str(error.value)


def test_right_rows_pass_everything() -> None:
    for check in CHECKS.values():
        check(Case(Mul(), PAIR, mul))


# ---- types ----


def test_a_wrong_shape_or_dtype_is_caught() -> None:
    square = [real(2, 3), real(3, 2)]
    flipped = wrong(MatMul, infer=lambda self, a, b: a.with_shape(a.shape))
    assert "the kernel makes" in caught(Case(flipped(), square, mul), "types")
    widened = wrong(Mul, kernel=lambda self, a, b: np.float64(a) * b)
    assert "the kernel makes" in caught(Case(widened(), PAIR, mul), "types")


def test_a_shape_rule_that_fits_one_batch_only_is_caught() -> None:
    def infer(self: Any, a: TensorType, b: TensorType) -> TensorType:
        return a.with_shape((2, *a.shape[1:]))

    caught(Case(wrong(Mul, infer=infer)(), PAIR, mul), "types")


# ---- kernels ----


def test_a_wrong_kernel_and_wrong_naive_loops_are_caught() -> None:
    assert "naive loops" in caught(Case(wrong(Mul, kernel=lambda self, a, b: a * b + 1e-9)(), PAIR, mul), "kernel")
    assert "naive loops" in caught(Case(Mul(), PAIR, each(lambda op, a, b: a * b * (1 + 1e-9))), "kernel")
    assert "shape" in caught(Case(Mul(), PAIR, lambda op, a, b: (a * b).T), "kernel")


def test_a_kernel_that_is_imprecise_in_float32_is_caught() -> None:
    def kernel(self: Any, x: Any) -> Any:
        return np.exp(x) if x.dtype == np.float64 else np.exp(x.astype(np.float16)).astype(x.dtype)

    naive = each(lambda op, x: exp(x))
    assert "float32" in caught(Case(wrong(Exp, kernel=kernel)(), [real(4)], naive), "kernel")


def test_a_kernel_that_trusts_the_memory_layout_is_caught() -> None:
    def kernel(self: Any, x: Any) -> Any:
        return np.exp(x.ravel(order="K")).reshape(x.shape)

    naive = each(lambda op, x: exp(x))
    assert "strided" in caught(Case(wrong(Exp, kernel=kernel)(), [real(2, 3)], naive), "kernel")


def test_a_kernel_that_writes_to_its_input_is_caught() -> None:
    def kernel(self: Any, x: Any) -> Any:
        return np.exp(x, out=x)

    assert "read-only" in caught(Case(wrong(Exp, kernel=kernel)(), [real(2, 3)], each(lambda op, x: exp(x))), "kernel")


# ---- prepared kernels ----


def prepared(run: Callable[[Any, Any, Any], None], only_with_constants: bool = False) -> Any:
    def lower(self: Any, types: Any, constants: Any, workers: int) -> Prepared | None:
        return None if only_with_constants and constants[-1] is None else Prepared(run, 16, "wrong")

    return wrong(Mul, lower=lower)()


def test_a_wrong_prepared_kernel_is_caught() -> None:
    def off(inputs: Any, outputs: Any, workspace: Any) -> None:
        outputs[0][...] = inputs[0] * inputs[1] * np.float32(1.001)

    def partial(inputs: Any, outputs: Any, workspace: Any) -> None:
        outputs[0][1:] = (inputs[0] * inputs[1])[1:]

    def leaves_garbage(inputs: Any, outputs: Any, workspace: Any) -> None:
        scratch = workspace[:4].view(np.float32)
        scratch += 1
        outputs[0][...] = inputs[0] * inputs[1] + scratch

    def overruns(inputs: Any, outputs: Any, workspace: Any) -> None:
        workspace[: 4 * 6 + 4].view(np.float32)[:6] = (inputs[0] * inputs[1]).ravel()

    def writes_to_inputs(inputs: Any, outputs: Any, workspace: Any) -> None:
        inputs[0][...] *= inputs[1]

    def trusts_the_layout(inputs: Any, outputs: Any, workspace: Any) -> None:
        np.multiply(inputs[0].ravel(order="K").reshape(2, 3), inputs[1], out=outputs[0])

    for run in (off, partial, leaves_garbage, overruns, writes_to_inputs, trusts_the_layout):
        caught(Case(prepared(run), PAIR, mul), "prepared")
    assert "1 inputs constant" in caught(Case(prepared(off, only_with_constants=True), PAIR, mul), "prepared")


# ---- gradients ----


def test_a_wrong_gradient_is_caught() -> None:
    swapped = wrong(Mul, vjp=lambda self, inputs, outputs, c: [c[0] * inputs[0], c[0] * inputs[1]])
    assert "adjoint" in caught(Case(swapped(), [real(N, 3), real(N, 3)], mul), "gradients")
    forgotten = wrong(Mul, vjp=lambda self, inputs, outputs, c: [c[0] * inputs[1], None])
    assert "slope by x1" in caught(Case(forgotten(), PAIR, mul), "gradients")
    negated = wrong(Maximum, vjp=lambda self, inputs, outputs, c: Maximum.vjp(self, inputs, outputs, c)[::-1])
    assert "slope" in caught(Case(negated(), [real(N, 3), real(3)], each(lambda op, a, b: maximum(a, b))), "gradients")


def test_a_gradient_that_only_all_ones_cotangents_would_pass_is_caught() -> None:
    averaged = wrong(Exp, vjp=lambda self, inputs, outputs, c: [outputs[0] * c[0].mean()])
    assert "slope" in caught(Case(averaged(), [real(4)], each(lambda op, x: exp(x))), "gradients")


def test_a_gradient_whose_own_gradient_is_wrong_is_caught() -> None:
    stopped = wrong(Exp, vjp=lambda self, inputs, outputs, c: [None])
    half_blind = wrong(Exp, vjp=lambda self, inputs, outputs, c: [c[0] * inputs[0].apply(stopped(), [inputs[0]])])
    assert "slope" in caught(Case(half_blind(), [real(4)], each(lambda op, x: exp(x))), "gradients")


def test_a_gradient_that_is_not_quite_the_adjoint_is_caught() -> None:
    scaled = wrong(Add, vjp=lambda self, inputs, outputs, c: [c[0] * (1 + 1e-9), c[0]])
    assert "adjoint" in caught(Case(scaled(), PAIR, each(lambda op, a, b: a + b)), "gradients")


def test_a_trait_linear_that_is_not_true_is_caught() -> None:
    bent = wrong(Relu, traits=frozenset({"linear"}))
    assert "adjoint" in caught(Case(bent(), [distinct(8)], each(lambda op, x: maximum(x, 0))), "gradients")


# ---- costs ----


def test_wrong_costs_are_caught() -> None:
    assert "FLOPs" in caught(Case(wrong(Mul, flops=per_output(2))(), PAIR, mul), "costs")
    by_input = wrong(Mul, flops=lambda self, inputs, outputs: inputs[1].size)
    assert "says 3 FLOPs, the loops did 6" in caught(Case(by_input(), PAIR, mul), "costs")
    numpy_integers = wrong(Mul, flops=lambda self, inputs, outputs: np.int64(6))
    assert "Python integers" in caught(Case(numpy_integers(), PAIR, mul), "costs")


def test_wrong_macs_are_caught() -> None:
    def matmul(op: Any, a: Any, b: Any) -> Any:
        y = np.empty((len(a), b.shape[1]), a.dtype)
        for i, j in np.ndindex(y.shape):
            y[i, j] = 0
            for k in range(len(b)):
                y[i, j] = y[i, j] + a[i, k] * b[k, j]
        return y

    matrices = [real(2, 3), real(3, 4)]
    CHECKS["costs"](Case(MatMul(), matrices, matmul))
    halved = wrong(MatMul, macs=lambda self, inputs, outputs: 12, flops=lambda self, inputs, outputs: 48)
    assert "says 12 MACs, the loops did 24" in caught(Case(halved(), matrices, matmul), "costs")


def test_counting_numbers_count() -> None:
    tally = Tally()
    a, b = tally.counting(np.array([2.0, 3.0]))
    assert float(a * b + 1.0) == 7.0
    assert (tally.flops, tally.macs) == (2, 1)
    assert float(0 + a) == 2.0
    assert (tally.flops, tally.macs) == (3, 1)
    assert float(exp(a)) == np.exp(2.0)
    assert tally.flops == 7
    assert float(exp(a, 1) - maximum(a, b)) == np.exp(2.0) - 3.0
    assert tally.flops == 10
    assert a < b
    assert tally.flops == 11
    assert float(a) < float(b)
    assert tally.flops == 11


# ---- round trips ----


def test_an_attribute_that_the_text_loses_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = wrong(Transpose)
    monkeypatch.setitem(OPS, "transpose", listed)
    transposed = [real(2, 3)]
    CHECKS["text"](Case(listed((1, 0)), transposed, mul))
    caught(Case(listed([1, 0]), transposed, mul), "text")


def test_a_wrong_onnx_form_is_caught() -> None:
    naive = each(lambda op, a, b: a * b)
    added = wrong(Mul, onnx=("Add",))
    assert "onnx.reference" in caught(Case(added(), PAIR, naive), "onnx")
    unnamed = wrong(Mul, onnx=("Div",), to_onnx=lambda self, export, inputs, types: export.node("Mul", inputs))
    assert "does not name" in caught(Case(unnamed(), PAIR, naive), "onnx")
    forgetful = wrong(LeakyRelu, to_onnx=lambda self, export, inputs, types: export.node("LeakyRelu", inputs))
    assert "onnx.reference" in caught(Case(forgetful(0.5), [real(N, 3)], naive), "onnx")
    frozen_batch = wrong(
        Reshape,
        to_onnx=lambda self, export, inputs, types: export.node(
            "Reshape", [*inputs, export.const(np.array([2, 6], np.int64))]
        ),
    )
    caught(Case(frozen_batch((N, 6)), [real(N, 2, 3)], naive), "onnx")


def test_rows_name_what_they_are_about() -> None:
    assert str(Case(Concat(1), [real(2, 3)], mul)) == "concat"
    assert str(Case(Sum((0,)), [real(2, 3)], mul, "two words")) == "sum-two_words"


def test_an_op_without_a_row_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    test_ops.test_every_op_has_a_row()
    monkeypatch.setitem(OPS, "forgotten", wrong(Relu))
    with pytest.raises(AssertionError, match=r"no row in tests/ops/cases for: forgotten\b"):
        test_ops.test_every_op_has_a_row()
