"""The transpose of resizing."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygraph.ir import Array, TensorType
from tinygraph.kernels.resize import scatter
from tinygraph.ops.base import Types, apply, floating, gradient_not_in_onnx, register
from tinygraph.ops.resize import Resampling, Resize, computing

__all__: list[str] = []


@register
class ResizeGrad(Resampling):
    """dx[j] = sum of weight[i, k] g[i] where index[i, k] = j, axis by axis: the transpose of resize."""

    name = "resize_grad"
    to_onnx = gradient_not_in_onnx

    def infer(self, g: TensorType) -> TensorType:
        floating(g)
        return self.checked(g)

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 per tap, nearest 1, of each element of g that is not outside, for each axis, from the first on."""
        dims, total = list(inputs[0].dims), 0
        tables = self.tables(self.size, self.picked(dims))
        for axis, size, table in zip(self.axes, self.size, tables, strict=True):
            dims[axis] = table.inside
            total += (1 if self.mode == "nearest" else 2) * table.index.shape[1] * prod(dims)
            dims[axis] = size
        return total

    def kernel(self, g: Array) -> Array:
        dx = g.astype(computing(g.dtype), copy=False)
        tables = self.tables(self.size, self.picked(g.shape))
        for axis, size, table in zip(self.axes, self.size, tables, strict=True):
            dx = scatter(dx, axis, table, size)
        return np.ascontiguousarray(dx, g.dtype)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        size = tuple(self.picked(inputs[0].shape))
        return [apply(Resize(**self.attributes, size=size), cotangents[0])]
