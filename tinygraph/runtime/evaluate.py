"""The reference executor: every op's plain kernel, node by node, in any floating dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tinygraph.errors import UsageError
from tinygraph.ir import Array, Graph, Node, Symbol, TensorType, Value
from tinygraph.ops.base import Op
from tinygraph.runtime.failure import explained
from tinygraph.runtime.lifetimes import lifetimes
from tinygraph.runtime.signature import Signature


def evaluate(graph: Graph, inputs: Mapping[str, Any], dtype: Any = None) -> dict[str, Array]:
    """Runs a graph as it stands: no passes, no prepared kernels. Slow and obviously right.

    A transformed graph is judged against `evaluate(original, inputs, np.float64)`.

    Args:
        graph: any graph; open dimensions get their numbers from the inputs.
        inputs: an array for each input, by name.
        dtype: a floating dtype to compute in: floating inputs, parameters and constants are
            cast to it, and ops that name a floating dtype name this one instead. By default
            everything keeps its own.

    Returns:
        The outputs by name; none of them shares memory with an input or a parameter.

    Raises:
        UsageError: the inputs' names or dtypes do not fit, or `dtype` is not floating.
        ShapeError: the inputs' shapes do not fit.
    """
    retype = _Retype(dtype)
    declared = {v.name: retype.type(v.type) for v in graph.inputs}
    if dtype is not None:
        inputs = {name: np.asarray(a, declared[name].dtype if name in declared else None) for name, a in inputs.items()}
    signature = Signature([replace(v, type=declared[v.name]) for v in graph.inputs])
    arrays = signature.arrays([], inputs)
    graph = graph.bind(**dict(signature.bind(arrays)))
    live = dict(zip(graph.inputs, arrays, strict=True))
    live |= {v: np.asarray(graph.array(v), retype.type(v.type).dtype) for v in graph.data}
    with np.errstate(all="ignore"):
        for _ in walk(graph, live, retype.op):
            pass
    return {name: np.array(live[v]) for name, v in graph.outputs}


def walk(graph: Graph, live: dict[Value, Array], op: Callable[[Op], Op] = lambda op: op) -> Iterator[Node]:
    """Runs the nodes one by one with their plain kernels.

    Args:
        graph: every dimension has a number.
        live: the arrays of inputs and data. Results are added to it, and what nobody needs any more goes.
        op: what is computed in the place of each op.

    Yields:
        Each node, when its results are there.
    """
    found: dict[str, int] = {}  # sizes that come out only now
    for node, dying in zip(graph.nodes, lifetimes(graph), strict=True):
        try:
            made = op(node.op.bind(found) if found else node.op).kernel(*[live[v] for v in node.inputs])
        except Exception as error:
            raise explained(node, error)  # noqa: B904  # which has its cause
        outputs = [np.asarray(a) for a in (made if isinstance(made, tuple) else (made,))]
        live |= zip(node.outputs, outputs, strict=True)
        for value, array in zip(node.outputs, outputs, strict=True):
            sizes = zip(value.type.shape, array.shape, strict=True)
            found |= {d.base: n // d.factor for d, n in sizes if isinstance(d, Symbol)}
        yield node
        for value in dying:
            del live[value]


class _Retype:
    """Puts one floating dtype in the place of all others; None keeps them."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = None if dtype is None else np.dtype(dtype)
        if self.dtype is not None and self.dtype.kind != "f":
            raise UsageError(f"{self.dtype} is not a floating dtype")

    def type(self, type: TensorType) -> TensorType:
        return type.with_dtype(self.dtype) if self.dtype and type.dtype.kind == "f" else type

    def op(self, op: Op) -> Op:
        """The op; a cast to a floating dtype becomes one to this dtype."""
        named = getattr(op, "dtype", None)
        if self.dtype is None or named is None or np.dtype(named).kind != "f":
            return op
        return replace(op, dtype=self.dtype.name)  # type: ignore[type-var]  # every op is a dataclass
