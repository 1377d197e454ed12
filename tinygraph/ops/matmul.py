"""Matrix products: the linear layer and matmul."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, ShapeError, UnsupportedOp
from tinygraph.ir import Array, Dim, Shape, TensorType
from tinygraph.kernels.matrix import MatrixProduct
from tinygraph.ops.arithmetic import add, mul
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    one_onnx_node,
    register,
    same_dtype,
    type_of,
)
from tinygraph.ops.reduce import sum
from tinygraph.ops.shape import broadcast, expand_dims, reshape, squeeze, transpose

__all__ = ["linear", "matmul"]


@register
class Linear(Op):
    """y = x w^T + b. x [..., in], w [out, in], b [out] -> y [..., out]."""

    name = "linear"
    onnx = ("Gemm", "MatMul", "Transpose", "Add")
    arity = (2, 3)
    traits = frozenset({"linear"})

    def infer(self, x: TensorType, w: TensorType, *bias: TensorType) -> TensorType:
        floating(x, w, *bias)
        if x.ndim < 1 or w.ndim != 2:
            raise ShapeError(f"wants an input [..., in] and a weight [out, in], got {x} and {w}")
        units, features = w.dims
        if x.shape[-1] != features:
            raise ShapeError(f"the weight reads {features} features, the input has {x.shape[-1]}")
        if bias and bias[0].shape != (units,):
            raise ShapeError(f"the bias is {bias[0]}, want one number for each of {units} units")
        return x.with_shape((*x.shape[:-1], units))

    def macs(self, inputs: Types, outputs: Types) -> int:
        """w.shape[1] per output element."""
        return outputs[0].size * inputs[1].dims[1]

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 macs, and 1 per output element for the bias."""
        return 2 * self.macs(inputs, outputs) + (outputs[0].size if len(inputs) > 2 else 0)

    def kernel(self, x: Array, w: Array, *bias: Array) -> Array:
        y = x @ w.T
        return y + bias[0] if bias else y

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        units, features = types[1].dims
        if not types[0].is_static:
            return None
        rows = prod(types[0].dims[:-1])
        routine = MatrixProduct((rows, features), (features, units), workers)

        def run(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
            x, w, *bias = inputs
            y = outputs[0].reshape(rows, units)
            routine.run(x.reshape(rows, features), w.T, y)
            if bias:
                y += bias[0]

        return Prepared(run, 0, "gemm")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x, w, *bias = inputs
        g = cotangents[0]
        return [matmul(g, w), weight_grad(x, g), *(_sum_leading(g, 1) for _ in bias)]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        x, w, *bias = inputs
        if types[0].ndim == 2:
            return export.node("Gemm", inputs, transB=1)
        y = export.node("MatMul", [x, export.node("Transpose", [w], perm=[1, 0])])
        return export.node("Add", [y, *bias]) if bias else y


def weight_grad(x: Tensor, g: Tensor) -> Tensor:
    """g^T x [out, in], summed over all leading axes of x [..., in] and g [..., out]."""
    type = type_of(x)
    if type.ndim != 2 and type.is_static:
        rows = prod(type.dims[:-1])
        x, g = (reshape(t, (rows, type_of(t).dims[-1])) for t in (x, g))
    return _sum_leading(matmul(_transposed(g), x), 2)


def _sum_leading(t: Tensor, keep: int) -> Tensor:
    """The sum over all axes but the last ones."""
    leading = tuple(range(type_of(t).ndim - keep))
    return sum(t, leading) if leading else t


@register
class MatMul(Op):
    """y = a b, of the last two axes; the axes before them are broadcast. [..., m, k] [..., k, n] -> [..., m, n]."""

    name = "matmul"
    onnx = ("MatMul",)
    to_onnx = one_onnx_node
    arity = (2, 2)
    traits = frozenset({"linear"})

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        dtype = same_dtype(a, b)
        if dtype.kind not in "iuf":
            raise ShapeError(f"wants numbers, got {dtype.name}")
        if a.ndim < 2 or b.ndim < 2:
            raise ShapeError(f"wants two matrices or stacks of them, got {a} and {b}")
        if a.shape[-1] != b.shape[-2]:
            raise ShapeError(f"rows of {a.shape[-1]} meet columns of {b.shape[-2]}; they must be as long")
        return a.with_shape((*_stack(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))

    def macs(self, inputs: Types, outputs: Types) -> int:
        """a.shape[-1] per output element."""
        return outputs[0].size * inputs[0].dims[-1]

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 macs."""
        return 2 * self.macs(inputs, outputs)

    def kernel(self, a: Array, b: Array) -> Array:
        return a @ b

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        if not all(t.is_static and t.dtype.kind == "f" for t in types):
            return None
        routine = MatrixProduct(types[0].dims, types[1].dims, workers)
        return Prepared(lambda inputs, outputs, _: routine.run(inputs[0], inputs[1], outputs[0]), 0, "gemm")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        a, b = inputs
        g = cotangents[0]
        return [matmul(g, _transposed(b)), matmul(_transposed(a), g)]


def _stack(a: Shape, b: Shape) -> Shape:
    """The two shapes broadcast, as NumPy does it; an open dim meets itself or 1."""
    length = max(len(a), len(b))
    pairs = zip((1,) * (length - len(a)) + a, (1,) * (length - len(b)) + b, strict=True)
    return tuple(_meet(*pair) for pair in pairs)


def _meet(a: Dim, b: Dim) -> Dim:
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    raise ShapeError(f"stacks of {a} and {b} matrices do not broadcast; want equal sizes, or 1")


def _transposed(a: Tensor) -> Tensor:
    """Each matrix of a stack transposed."""
    last = type_of(a).ndim - 1
    return transpose(a, (*range(last - 1), last, last - 1))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A fully connected layer: y = x weight^T + bias.

    Args:
        x: [..., in], floating.
        weight: [out, in], of the same dtype.
        bias: [out], or None.

    Returns:
        [..., out], of x's dtype.

    Raises:
        ShapeError: shapes or dtypes do not fit together.

    Source: ONNX Gemm, with more leading axes.
    """
    return apply(Linear(), x, weight) if bias is None else apply(Linear(), x, weight, bias)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product, as NumPy's: stacks of matrices are broadcast, vectors are a row or a column.

    Args:
        a: [..., m, k] or [k], numbers.
        b: [..., k, n] or [k], of the same dtype.

    Returns:
        [..., m, n], without the axis that a vector stood for.

    Raises:
        ShapeError: shapes or dtypes do not fit together.

    Source: ONNX MatMul.
    """
    row, column = type_of(a).ndim == 1, type_of(b).ndim == 1
    y = apply(MatMul(), expand_dims(a, 0) if row else a, expand_dims(b, 1) if column else b)
    y = squeeze(y, -1) if column else y
    return squeeze(y, -1 if column else -2) if row else y


@from_onnx("MatMul")
def _matmul(node: Any, a: Tensor, b: Tensor) -> Tensor:
    return matmul(a, b)


@from_onnx("Gemm")
def _gemm(node: Any, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """Alpha a' b' + beta c; a linear layer if the scales are 1 and c is a vector."""
    for matrix in (a, b):
        if type_of(matrix).ndim != 2:
            raise ModelFormatError(f"Gemm multiplies two matrices, got {type_of(matrix)}")
    dtype = type_of(a).dtype
    alpha, beta = (_factor(node, name, dtype) for name in ("alpha", "beta"))
    a = _transposed(a) if node.get("transA", 0) else a
    transposed = bool(node.get("transB", 0))
    if alpha == 1 and dtype.kind == "f" and (c is None or (beta == 1 and type_of(c).ndim == 1)):
        w = b if transposed else _transposed(b)
        if c is None or type_of(c).shape == type_of(w).shape[:1]:
            return linear(a, w, c)
    y = matmul(a, _transposed(b) if transposed else b)
    y = y if alpha == 1 else mul(y, alpha)
    if c is None or beta == 0:
        return y
    if broadcast(type_of(y).shape, type_of(c).shape) != type_of(y).shape:
        raise ModelFormatError(f"Gemm adds {type_of(c)} to {type_of(y)}, which it does not fit into")
    return add(y, c if beta == 1 else mul(c, beta))


def _factor(node: Any, name: str, dtype: np.dtype[Any]) -> float | int:
    """Alpha or beta of a Gemm; a whole number beside integers."""
    factor: float = node.get(name, 1.0)
    if dtype.kind == "f":
        return factor
    if factor % 1:
        raise UnsupportedOp(f"of integers with {name} = {factor}, which is no whole number")
    return int(factor)
