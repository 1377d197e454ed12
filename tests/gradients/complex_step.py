"""Slopes that are exact to the last digits: the imaginary part of a function of x + i h v, divided by h.

Unlike a difference it subtracts nothing, so h can be so small that h ** 2 vanishes beside 1. It asks
more of the kernel: that it computes with complex numbers what it does with real ones, which kernels
that take the modulus or the real part do not. Kinks do no harm as long as complex numbers are
compared by their real parts first, as NumPy compares them. Source: Squire and Trapp 1998.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.ops.checks import check_gradients, weighted
from tests.ops.harness import Array, Case
from tinygraph.ir import Graph

STEP = 1e-30

REAL_ONLY = {
    "cast": "it names a dtype, which is real",
    "abs": "it takes the modulus",
    "sigmoid": "it takes the modulus, so as not to overflow",
    "l1_norm": "the modulus of a complex number is real",
    "sign": "the sign of a complex number is its direction",
    "softplus": "NumPy has no logaddexp of complex numbers",
    "squared_norm": "it sums as float64",
    "erf": "its polynomials are of the modulus",
    "gelu": "it is made of erf",
    "swish": "it takes the modulus, so as not to overflow",
    "mish": "NumPy has no logaddexp of complex numbers",
    **dict.fromkeys(("floor", "ceil", "mod"), "NumPy has it for real numbers only"),
    **dict.fromkeys(
        ("grid_sample", "deform_conv", "tap_weight", "roi_align", "roi_align_grad"),
        "it asks which numbers a point is between",
    ),
    **dict.fromkeys(("max_unpool", "max_unpool_grad", "rnn", "gru", "lstm"), "a shape rule in it wants real numbers"),
    "lp_pool": "it takes the modulus",
}
"""Ops whose kernels do not take complex numbers, and why."""


def by_complex_step(
    graph: Graph, arrays: list[Array], position: int, direction: Array, weights: Mapping[str, Array]
) -> float:
    """The slope of the weighted outputs as one input moves in a direction."""
    moved = [a.astype(complex) if a.dtype.kind == "f" else a for a in arrays]  # kernels want one dtype for all
    moved[position] += 1j * STEP * direction
    return float(weighted(graph, moved, weights).imag) / STEP


def check_exactly(case: Case) -> None:
    """Gradients are the slopes that the complex step finds, to second order and to twelve digits."""
    try:
        check_gradients(case, by_complex_step, 1e-12)
    except Exception as error:
        error.add_note(f"if the kernel of {case.op.name} is for real numbers only, say so in {__name__}.REAL_ONLY")
        raise
