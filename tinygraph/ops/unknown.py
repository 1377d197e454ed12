"""What stands in a graph for an operator of a file that tinygraph does not know."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import UnsupportedOp
from tinygraph.ir import Array, Dim, TensorType
from tinygraph.ops.base import Op, Types, family, not_differentiable, not_in_onnx


@family
class Unknown(Op):
    """One result of an operator that tinygraph cannot compute or price, but whose shape is known.

    It is not in the registry: such a graph can be drawn and counted as far as it goes, and not run.

    Attributes:
        operator: its name.
        shape: of the result.
        dtype: of the result.
    """

    name = "unknown"
    arity = (0, None)
    traits = frozenset({"unknown"})
    vjp = not_differentiable("it is not known what it computes")
    to_onnx = not_in_onnx("it is not known what it computes")
    operator: str
    shape: tuple[Dim, ...]
    dtype: str

    def infer(self, *inputs: TensorType) -> TensorType:
        return TensorType(self.shape, np.dtype(self.dtype))

    def macs(self, inputs: Types, outputs: Types) -> int:
        """Not known."""
        return 0

    def flops(self, inputs: Types, outputs: Types) -> int:
        """Not known."""
        return 0

    def kernel(self, *inputs: Array) -> Any:
        raise UnsupportedOp(f"{self.operator} is not supported, so that this graph cannot run")
