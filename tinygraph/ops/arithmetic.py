"""Elementwise functions of several tensors: sums, products, quotients, maxima, comparisons, choices.

Shapes broadcast as NumPy's do. Dtypes do not mix: `cast` is explicit; only plain numbers, and
arrays that meet a symbolic tensor, take the other's dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.kernels.elementwise import Choice, Elementwise
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    alike,
    apply,
    floating,
    from_onnx,
    no_macs,
    not_differentiable,
    one_onnx_node,
    per_output,
    register,
    same_dtype,
    type_of,
)
from tinygraph.ops.shape import broadcast

__all__ = ["add", "compare", "div", "maximum", "minimum", "mul", "sub", "where"]


def by_ufunc(ufunc: Callable[..., Any], types: Types, workers: int, *constants: Any) -> Prepared | None:
    """A prepared kernel: one call of a NumPy function that writes into the output, or one for each thread."""
    if not all(t.is_static for t in types):
        return None
    shapes = [t.dims for t in types]
    routine = Elementwise(ufunc, [*shapes, *((),) * len(constants)], np.broadcast_shapes(*shapes), workers)
    numbers = [np.asarray(c) for c in constants]

    def run(inputs: Any, outputs: Any, workspace: Array) -> None:
        routine.run([*inputs, *numbers], outputs[0])

    return Prepared(run, 0, ufunc.__name__)


class Binary(Op):
    """y[i] = f(a[i], b[i]) for numbers of one dtype, after broadcasting."""

    ufunc: ClassVar[np.ufunc]
    to_onnx = one_onnx_node
    arity = (2, 2)
    macs = no_macs
    flops = per_output(1)

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        dtype = same_dtype(a, b)
        if dtype.kind not in "iuf":
            raise ShapeError(f"wants numbers, got {dtype.name}")
        return TensorType(broadcast(a.shape, b.shape), dtype)

    def kernel(self, a: Array, b: Array) -> Array:
        y: Array = self.ufunc(a, b)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return by_ufunc(self.ufunc, types, workers)


@register
class Add(Binary):
    """a + b."""

    name = "add"
    onnx = ("Add",)
    ufunc = np.add
    traits = frozenset({"elementwise", "commutative", "linear"})

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0], cotangents[0]]


def add(a: Tensor, b: Tensor) -> Tensor:
    """The sum a + b, of the broadcast shape and one dtype. Source: ONNX Add."""
    return apply(Add(), *alike(a, b))


@register
class Sub(Binary):
    """a - b."""

    name = "sub"
    onnx = ("Sub",)
    ufunc = np.subtract
    traits = frozenset({"elementwise", "linear"})

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return [cotangents[0], -cotangents[0]]


def sub(a: Tensor, b: Tensor) -> Tensor:
    """The difference a - b, of the broadcast shape and one dtype. Source: ONNX Sub."""
    return apply(Sub(), *alike(a, b))


@register
class Mul(Binary):
    """a * b."""

    name = "mul"
    onnx = ("Mul",)
    ufunc = np.multiply
    traits = frozenset({"elementwise", "commutative", "linear"})

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        a, b = inputs
        return [cotangents[0] * b, cotangents[0] * a]


def mul(a: Tensor, b: Tensor) -> Tensor:
    """The product a * b, of the broadcast shape and one dtype. Source: ONNX Mul."""
    return apply(Mul(), *alike(a, b))


@register
class Div(Binary):
    """a / b; of integers the quotient towards zero, as ONNX has it."""

    name = "div"
    onnx = ("Div",)
    ufunc = np.divide
    traits = frozenset({"elementwise", "linear"})

    def kernel(self, a: Array, b: Array) -> Array:
        if a.dtype.kind not in "iu":
            return super().kernel(a, b)
        inexact = np.remainder(a, b) != 0
        y: Array = np.floor_divide(a, b) + (inexact & ((a < 0) != (b < 0)))
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return super().lower(types, constants, workers) if types[0].dtype.kind == "f" else None

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        slope = cotangents[0] / inputs[1]
        return [slope, -(slope * outputs[0])]


def div(a: Tensor, b: Tensor) -> Tensor:
    """The quotient a / b, of the broadcast shape and one floating dtype.

    Raises:
        ShapeError: integers; cast them to say which quotient is meant.

    Source: ONNX Div.
    """
    a, b = alike(a, b)
    floating(type_of(a), type_of(b))
    return apply(Div(), a, b)


@register
class Maximum(Binary):
    """The larger of a and b; NaN if either is. Equal ones share the gradient."""

    name = "maximum"
    onnx = ("Max",)
    ufunc = np.maximum
    traits = frozenset({"elementwise", "commutative"})

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        return _shared(cotangents[0], *inputs)


def maximum(a: Tensor, b: Tensor) -> Tensor:
    """The larger of a and b, of the broadcast shape and one dtype. Source: ONNX Max."""
    return apply(Maximum(), *alike(a, b))


@register
class Minimum(Binary):
    """The smaller of a and b; NaN if either is. Equal ones share the gradient."""

    name = "minimum"
    onnx = ("Min",)
    ufunc = np.minimum
    traits = frozenset({"elementwise", "commutative"})

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        a, b = inputs
        return _shared(cotangents[0], b, a)


def minimum(a: Tensor, b: Tensor) -> Tensor:
    """The smaller of a and b, of the broadcast shape and one dtype. Source: ONNX Min."""
    return apply(Minimum(), *alike(a, b))


def _shared(cotangent: Tensor, p: Tensor, q: Tensor) -> list[Tensor]:
    """The cotangent for the first result where p > q, for the second where p < q, half for each if equal."""
    half = where(compare(p, q, "=="), cotangent * 0.5, 0)
    return [where(compare(p, q, ">"), cotangent, half), where(compare(p, q, "<"), cotangent, half)]


Relation = Literal["<", "<=", ">", ">=", "==", "!="]
_UFUNCS: dict[str, np.ufunc] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
_ONNX = {"<": "Less", "<=": "LessOrEqual", ">": "Greater", ">=": "GreaterOrEqual", "==": "Equal"}


@register
class Compare(Op):
    """Whether a[i] stands in the relation to b[i], after broadcasting. Comparisons with NaN are False, != True."""

    name = "compare"
    onnx = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "Not")
    arity = (2, 2)
    traits = frozenset({"elementwise"})
    macs = no_macs
    flops = per_output(1)
    vjp = not_differentiable("its results are true and false")
    relation: Relation

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        if self.relation not in get_args(Relation):
            raise ShapeError(f"{self.relation!r} is not a relation: give one of {' '.join(get_args(Relation))}")
        same_dtype(a, b)
        return TensorType(broadcast(a.shape, b.shape), np.dtype(bool))

    def kernel(self, a: Array, b: Array) -> Array:
        y: Array = _UFUNCS[self.relation](a, b)
        return y

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        return by_ufunc(_UFUNCS[self.relation], types, workers)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        if self.relation == "!=":
            return export.node("Not", [export.node("Equal", inputs)])
        return export.node(_ONNX[self.relation], inputs)


def compare(a: Tensor, b: Tensor, relation: Relation) -> Tensor:
    """Whether `a relation b` holds, as booleans of the broadcast shape.

    Args:
        a: of any dtype.
        b: of the same dtype.
        relation: "<", "<=", ">", ">=", "==" or "!=".

    Raises:
        ShapeError: no such relation, or the inputs do not fit together.

    Source: ONNX Less, Greater, Equal and so on.
    """
    return apply(Compare(relation), *alike(a, b))


@register
class Where(Op):
    """a[i] where condition[i] holds, else b[i], after broadcasting."""

    name = "where"
    onnx = ("Where",)
    to_onnx = one_onnx_node
    arity = (3, 3)
    traits = frozenset({"elementwise"})
    macs = no_macs
    flops = per_output(1)

    def infer(self, condition: TensorType, a: TensorType, b: TensorType) -> TensorType:
        if condition.dtype.kind != "b":
            raise ShapeError(f"the condition must be bool, got {condition.dtype.name}: compare it with something")
        return TensorType(broadcast(condition.shape, a.shape, b.shape), same_dtype(a, b))

    def kernel(self, condition: Array, a: Array, b: Array) -> Array:
        return np.where(condition, a, b)

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        dtype = types[1].dtype
        if not all(t.is_static for t in types) or dtype.itemsize > 8:
            return None
        shapes = [t.dims for t in types]
        # -0.0 is no zero: its sign is a bit.
        zero = constants[2] is not None and not constants[2].tobytes().strip(b"\0")
        routine = Choice(shapes, np.broadcast_shapes(*shapes), dtype, zero, workers)

        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            condition, a, b = inputs
            routine.run(condition, a, b, outputs[0], workspace)

        return Prepared(run, routine.workspace, "choice")

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        # A choice and no product with 0: the branch not taken may have an infinite slope.
        return [None, where(inputs[0], cotangents[0], 0), where(inputs[0], 0, cotangents[0])]


def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Takes a where the condition holds, else b; the result has the broadcast shape.

    Args:
        condition: booleans; not differentiated.
        a: of any dtype.
        b: of the same dtype.

    Raises:
        ShapeError: the condition is not boolean, or the inputs do not fit together.

    Source: ONNX Where.
    """
    return apply(Where(), condition, *alike(a, b))


# ---- ONNX ------------------------------------------------------------------------------------


_BINARY: dict[str, Op] = {
    "Add": Add(),
    "Sub": Sub(),
    "Mul": Mul(),
    "Div": Div(),
    "Max": Maximum(),
    "Min": Minimum(),
    "Sum": Add(),
    "Less": Compare("<"),
    "LessOrEqual": Compare("<="),
    "Greater": Compare(">"),
    "GreaterOrEqual": Compare(">="),
    "Equal": Compare("=="),
}


@from_onnx(*_BINARY)
def _binary(node: Any, *tensors: Tensor) -> Tensor:
    """Max, Min and Sum take any number of inputs; for the others the file's checker counts them."""
    return reduce(lambda a, b: apply(_BINARY[node.op_type], a, b), tensors)


@from_onnx("Mean")
def _mean(node: Any, *tensors: Tensor) -> Tensor:
    return div(reduce(add, tensors), len(tensors))


@from_onnx("Where")
def _where(node: Any, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return where(condition, a, b)
