"""Where a number that is not finite comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.ir import Array, Graph, Value
from tinygraph.runtime.evaluate import walk
from tinygraph.runtime.signature import Signature


def first_nonfinite(graph: Graph, inputs: Sequence[Any], state: Mapping[str, Array]) -> str | None:
    """Says which input, parameter or node is the first to hold an infinite number or NaN.

    Nodes are run one by one with their plain kernels.

    Args:
        graph: any graph.
        inputs: an array for each input, in order.
        state: arrays of parameters and buffers, by name; the others are the graph's own.

    Returns:
        A sentence, or None if all numbers are finite.
    """
    signature = Signature(graph.inputs)
    arrays = signature.arrays(inputs, {})
    bound = graph.bind(**dict(signature.bind(arrays)))
    live: dict[Value, Array] = dict(zip(bound.inputs, arrays, strict=True))
    read = {v for node in bound.nodes for v in node.inputs}
    live |= {v: state[v.name] if v.name in state else bound.array(v) for v in bound.data if v in read}
    for value, array in live.items():
        if value.kind != "const" and (found := _nonfinite(array)):
            return f"the {_KINDS[value.kind]} {value.name!r} already holds {found}"
    with np.errstate(all="ignore"):
        for node in walk(bound, live):
            for value in node.outputs:
                if found := _nonfinite(live[value]):
                    return f"{node.name} ({node.op.name}{node.where.phrase}) is the first node that made {found}"
    return None


_KINDS = {"input": "input", "param": "parameter", "frozen": "parameter", "buffer": "buffer"}


def _nonfinite(array: Array) -> str:
    """What is wrong with an array, as "3 NaN and 1 infinite of 10 numbers"; empty if all are finite."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return ""
    counts = {"NaN": int(np.isnan(array).sum()), "infinite": int(np.isinf(array).sum())}
    return f"{' and '.join(f'{n} {what}' for what, n in counts.items() if n)} of {array.size} numbers"
