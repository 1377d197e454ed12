"""Rows of ops/einsum.py."""

from __future__ import annotations

import numpy as np

from tests.ops.harness import Array, Case, N, integers, real
from tinygraph.ops.einsum import Einsum


def einsum(op: Einsum, a: Array, b: Array) -> Array:
    first, second, result = op.terms
    sizes = dict(zip(first + second, a.shape + b.shape, strict=True))
    summed = [c for c in first if c not in result]
    y = np.empty([sizes[c] for c in result], a.dtype)
    for out in np.ndindex(y.shape):
        total = 0
        for inner in np.ndindex(*(sizes[c] for c in summed)):
            at = dict(zip([*result, *summed], out + inner, strict=True))
            total = total + a[tuple(at[c] for c in first)] * b[tuple(at[c] for c in second)]
        y[out] = total
    return y


CASES = [
    Case(Einsum("ij,jk->ik"), [real(N, 3), real(3, 4)], einsum),
    Case(Einsum("bhid,bhjd->bhij"), [real(N, 2, 3, 2), real(N, 2, 2, 2)], einsum, "attention"),
    Case(Einsum("ijk,kjl->il"), [real(2, 3, 2), real(2, 3, 4)], einsum, "two letters summed"),
    Case(Einsum("i,j->ji"), [real(3), real(N)], einsum, "outer"),
    Case(Einsum("i,i->"), [real(3), real(3)], einsum, "inner"),
    Case(Einsum("ij,ij->ji"), [real(N, 3), real(N, 3)], einsum, "elementwise"),
    Case(Einsum(",ij->ij"), [real(), real(2, 3)], einsum, "scalar"),
    Case(Einsum("ij,jk->ik"), [real(2, 0), real(0, 3)], einsum, "of no numbers"),
    Case(Einsum("bij,bjk->bik"), [integers(2, 2, 3), integers(2, 3, 2)], einsum, "integers"),
]
