"""Einsum: products of tensors, summed over the axes that letters name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, Dim, Symbol, TensorType
from tinygraph.kernels.matrix import MatrixProduct
from tinygraph.ops.arithmetic import where
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    alike,
    apply,
    from_onnx,
    register,
    same_dtype,
    type_of,
)
from tinygraph.ops.reduce import sum
from tinygraph.ops.shape import squeeze, transpose

__all__ = ["einsum"]


@register
class Einsum(Op):
    """y = the sum of the products a b over the letters that y lacks; axes of one letter run together.

    Attributes:
        equation: "bhid,bhjd->bhij". Each letter stands in two of the terms or in all three, once in
            each: what concerns one input alone is done before, by `einsum`.
    """

    name = "einsum"
    onnx = ("Einsum",)
    arity = (2, 2)
    traits = frozenset({"linear"})
    equation: str

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        dtype = same_dtype(a, b)
        if dtype.kind not in "iuf":
            raise ShapeError(f"wants numbers, got {dtype.name}")
        if not re.fullmatch(r"[a-zA-Z]*,[a-zA-Z]*->[a-zA-Z]*", self.equation):
            raise ShapeError(f"{self.equation!r} is no equation such as 'ij,jk->ik'")
        first, second, result = terms = self.terms
        letters = "".join(terms)
        if any(len(set(term)) < len(term) for term in terms) or any(letters.count(c) < 2 for c in letters):
            raise ShapeError(f"{self.equation!r}: a letter stands alone, or twice in one term")
        sizes: dict[str, Dim] = {}
        for term, x in ((first, a), (second, b)):
            if len(term) != x.ndim:
                raise ShapeError(f"the term {term!r} names {len(term)} axes, {x} has {x.ndim}")
            for c, d in zip(term, x.shape, strict=True):
                if sizes.setdefault(c, d) != d:
                    raise ShapeError(f"{self.equation!r}: {c} is {sizes[c]} and {d}")
        return TensorType(tuple(sizes[c] for c in result), dtype)

    @property
    def terms(self) -> list[str]:
        """The letters of a, b and y."""
        return self.equation.replace("->", ",").split(",")

    def macs(self, inputs: Types, outputs: Types) -> int:
        """The product of the sizes that are summed over, per output element."""
        first, _, result = self.terms
        return outputs[0].size * prod(d for c, d in zip(first, inputs[0].dims, strict=True) if c not in result)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 macs."""
        return 2 * self.macs(inputs, outputs)

    def kernel(self, a: Array, b: Array) -> Array:
        first, second, result = self.terms
        sizes = dict(zip(first + second, a.shape + b.shape, strict=True))
        left, right = self._matrices(a, b)
        stack, rows, columns, _ = self._groups
        made = stack + rows + columns
        return (left @ right).reshape([sizes[c] for c in made]).transpose([made.index(c) for c in result])

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        stack, rows, columns, summed = self._groups
        first, second, result = self.terms
        floats = all(t.is_static and t.dtype.kind == "f" for t in types)
        if not floats or result != stack + rows + columns:
            return None  # the product would have to be copied into another order
        sizes = dict(zip(first + second, types[0].dims + types[1].dims, strict=True))
        depth, height, width = (prod(sizes[c] for c in letters) for letters in (summed, rows, columns))
        stacks = [sizes[c] for c in stack]
        routine = MatrixProduct((*stacks, height, depth), (*stacks, depth, width), workers)

        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            left, right = self._matrices(*inputs)
            routine.run(left, right, outputs[0].reshape((*stacks, height, width)))

        return Prepared(run, 0, "gemm")

    @property
    def _groups(self) -> tuple[str, str, str, str]:
        """The letters of stacks of matrices: of the stack, of a's rows, of b's columns, and those that are summed."""
        first, second, result = self.terms
        stack = "".join(c for c in first if c in second and c in result)
        rows = "".join(c for c in first if c not in second)
        columns = "".join(c for c in second if c not in first)
        return stack, rows, columns, "".join(c for c in first if c not in result)

    def _matrices(self, a: Array, b: Array) -> tuple[Array, Array]:
        """The inputs as stacks of matrices [*, m, k] and [*, k, n]."""
        first, second, _ = self.terms
        stack, rows, columns, summed = self._groups
        return _stacked(a, first, stack, rows, summed), _stacked(b, second, stack, summed, columns)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (a, b), g = inputs, cotangents[0]
        first, second, result = self.terms
        return [
            apply(Einsum(f"{result},{second}->{first}"), g, b),
            apply(Einsum(f"{result},{first}->{second}"), g, a),
        ]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("Einsum", inputs, equation=self.equation)


def _stacked(x: Array, term: str, stack: str, up: str, across: str) -> Array:
    """The axes of `up` made one, and those of `across`, behind those of the stack."""
    sizes = dict(zip(term, x.shape, strict=True))
    shape = [*(sizes[c] for c in stack), prod(sizes[c] for c in up), prod(sizes[c] for c in across)]
    return x.transpose([term.index(c) for c in stack + up + across]).reshape(shape)


def einsum(equation: str, *tensors: Tensor) -> Tensor:
    """Products of the tensors' elements, summed over the axes that the result lacks.

    Several tensors are multiplied from left to right, two at a time; what is summed over in one
    tensor alone is summed first, so that a letter costs nothing where it does not stand.

    Args:
        equation: as NumPy's: "ij,jk->ik"; "..." for further axes, which broadcast; without "->" the
            result has the letters that stand once, in alphabetical order. A letter that stands twice
            in a term takes the diagonal.
        tensors: one for each term, numbers of one dtype.

    Raises:
        ShapeError: the equation is none, or does not fit the tensors.

    Source: ONNX Einsum.
    """
    tensors = tuple(alike(*tensors))
    terms, result = _parsed(equation, [type_of(t).ndim for t in tensors])
    if not all(c in "".join(terms) for c in result) or len(set(result)) < len(result):
        raise ShapeError(f"{equation!r}: each letter of the result must stand in an input, and once in the result")
    sizes = _sizes(equation, terms, tensors)
    parts = [_alone(t, term, sizes) for t, term in zip(tensors, terms, strict=True)]
    x, term = parts[0]
    for i, (other, letters) in enumerate(parts[1:], 2):
        wanted = result + "".join(later for _, later in parts[i:])
        x, term = _summed(x, term, letters + wanted)
        other, letters = _summed(other, letters, term + wanted)
        kept = "".join(c for c in dict.fromkeys(term + letters) if c in wanted) if i < len(parts) else result
        x, term = apply(Einsum(f"{term},{letters}->{kept}"), x, other), kept
    x, term = _summed(x, term, result)
    return x if term == result else transpose(x, [term.index(c) for c in result])


def _parsed(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of the terms and of the result, with letters of its own for the axes of an ellipsis."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not all(re.fullmatch(r"[a-zA-Z]*(\.\.\.)?[a-zA-Z]*", term) for term in (*terms, right)):
        raise ShapeError(f"einsum: {equation!r} is no equation such as '...ij,jk->...ik'")
    if len(terms) != len(ranks):
        raise ShapeError(f"einsum: {equation!r} wants {len(terms)} tensors, got {len(ranks)}")
    free = [c for c in ascii_letters if c not in equation]
    further = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    if any(n < 0 or (n and "..." not in term) for term, n in zip(terms, further, strict=True)):
        raise ShapeError(f"einsum: {equation!r} does not fit tensors of {', '.join(map(str, ranks))} dimensions")
    dots = "".join(free[: max(further)])
    if not arrow:
        once = sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1)
        right = "..." * ("..." in left) + "".join(once)
    letters = [t.replace("...", dots[len(dots) - n :]) for t, n in zip(terms, further, strict=True)]
    return letters, right.replace("...", dots)


def _sizes(equation: str, terms: Sequence[str], tensors: Sequence[Tensor]) -> dict[str, Dim]:
    """The size of each letter; 1 broadcasts, as in NumPy."""
    sizes: dict[str, Dim] = {}
    for term, tensor in zip(terms, tensors, strict=True):
        for c, d in zip(term, type_of(tensor).shape, strict=True):
            known = sizes.get(c, 1)
            if known not in (1, d) and d != 1:
                raise ShapeError(f"einsum: {equation!r} gives one letter the sizes {known} and {d}")
            sizes[c] = d if known == 1 else known
    return sizes


def _alone(x: Tensor, term: str, sizes: dict[str, Dim]) -> tuple[Tensor, str]:
    """The tensor with each letter once, and without axes of size 1 that others make longer."""
    shape = type_of(x).shape
    gone = [i for i, c in enumerate(term) if shape[i] != sizes[c]]
    x = squeeze(x, gone) if gone else x
    term = "".join(c for i, c in enumerate(term) if i not in gone)
    while len(set(term)) < len(term):
        second = next(i for i, c in enumerate(term) if c in term[:i])
        first, size = term.index(term[second]), sizes[term[second]]
        if isinstance(size, Symbol):
            raise ShapeError(f"einsum: cannot take the diagonal of the open dimension {size}: bind it first")
        mask = np.eye(size, dtype=bool).reshape([size if i in (first, second) else 1 for i in range(len(term))])
        x = sum(where(mask, x, 0), second)
        term = term[:second] + term[second + 1 :]
    return x, term


def _summed(x: Tensor, term: str, wanted: str) -> tuple[Tensor, str]:
    """The sum over the letters that nobody wants any more."""
    axes = [i for i, c in enumerate(term) if c not in wanted]
    return (sum(x, axes) if axes else x), "".join(c for c in term if c in wanted)


@from_onnx("Einsum")
def _einsum(node: Any, *tensors: Tensor) -> Tensor:
    for type in map(type_of, tensors):  # a diagonal is taken with a mask of both its axes
        repeated = [d for i, d in enumerate(type.shape) if isinstance(d, int) and d in type.shape[:i]]
        node.afford(max(repeated, default=0) ** 2)
    return einsum(node.get("equation"), *tensors)
