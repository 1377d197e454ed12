"""Labels as rows with a single 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import ModelFormatError, ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.ops.arithmetic import where
from tinygraph.ops.base import (
    Exporter,
    Op,
    Prepared,
    Tensor,
    Types,
    apply,
    from_onnx,
    no_flops,
    no_macs,
    normal_axis,
    not_differentiable,
    register,
    type_of,
)
from tinygraph.ops.elementwise import cast
from tinygraph.ops.index import getitem

__all__ = ["one_hot"]


@register
class OneHot(Op):
    """1 at the place that the label names along a new axis, 0 elsewhere.

    A negative label counts from the end; one that names no class makes all zeros.
    """

    name = "one_hot"
    onnx = ("OneHot", "Reshape")
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("labels are whole numbers")
    classes: int
    dtype: str = "float32"
    axis: int = -1

    def infer(self, labels: TensorType) -> TensorType:
        if labels.dtype.kind not in "iu":
            raise ShapeError(f"labels must be integers, got {labels.dtype.name}")
        if self.classes < 0:
            raise ShapeError(f"there are no {self.classes} classes")
        axis = normal_axis(self.axis, labels.ndim + 1)
        shape = (*labels.shape[:axis], self.classes, *labels.shape[axis:])
        return TensorType(shape, np.dtype(self.dtype))

    def kernel(self, labels: Array) -> Array:
        hits: Array = self._places(labels) == self._classes(labels.ndim)
        return hits.astype(self.dtype)

    def lower(self, types: Types, constants: Any, workers: int) -> Prepared | None:
        if not types[0].is_static or np.dtype(self.dtype).kind not in "bf":
            return None
        classes = self._classes(types[0].ndim)

        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            np.equal(self._places(inputs[0]), classes, out=outputs[0])

        return Prepared(run, 0, "equal")

    def _places(self, labels: Array) -> Array:
        """The place of each 1, with an axis of size 1 for the classes."""
        labels = labels.astype(np.int64)  # a narrow dtype may not hold the number of classes
        return np.expand_dims(np.where(labels < 0, labels + self.classes, labels), self.axis)

    def _classes(self, ndim: int) -> Array:
        """The number of each class along the new axis."""
        behind = ndim - normal_axis(self.axis, ndim + 1)
        return np.arange(self.classes).reshape(-1, *(1,) * behind)

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        depth, values = export.const(np.array(self.classes, np.int64)), export.const(np.array([0, 1], self.dtype))
        if types[0].ndim:
            return export.node("OneHot", [*inputs, depth, values], axis=self.axis)
        # ONNX knows no single label.
        labels = export.node("Reshape", [*inputs, export.const(np.array([1], np.int64))])
        row = export.node("OneHot", [labels, depth, values])
        return export.node("Reshape", [row, export.const(np.array([-1], np.int64))])


def one_hot(labels: Tensor, classes: int, dtype: Any = np.float32, axis: int = -1) -> Tensor:
    """Labels as rows with a single 1.

    Args:
        labels: integers of any shape. A negative one counts from the end, as in ONNX; one
            outside makes a row of zeros.
        classes: length of the new axis.
        dtype: of the result.
        axis: where the new axis stands in the result; the last by default.

    Raises:
        ShapeError: labels are not integers, or there is no such axis.

    Source: ONNX OneHot.
    """
    return apply(OneHot(int(classes), np.dtype(dtype).name, int(axis)), labels)


@from_onnx("OneHot")
def _one_hot(node: Any, labels: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    classes = np.ravel(node.demand(1, "depth"))
    if classes.size != 1 or type_of(values).shape != (2,):
        raise ModelFormatError(f"wants one depth and two values, got {classes.size} and {type_of(values)}")
    if type_of(labels).dtype.kind == "f":
        labels = cast(labels, np.int64)
    levels, axis = node.constant(2), node.get("axis", -1)
    if levels is not None and np.array_equal(levels, [0, 1]):
        return one_hot(labels, classes[0], levels.dtype, axis)
    # A choice, not a sum of multiples: that would round, and wrap around in integers.
    return where(one_hot(labels, classes[0], np.bool_, axis), getitem(values, 1), getitem(values, 0))
