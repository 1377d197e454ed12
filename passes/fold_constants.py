"""Constant folding: what is the same in every run is computed now."""

from __future__ import annotations

import warnings
from collections.abc import Container, Sequence

import numpy as np

from tinygraph.ir import Array, Graph, Kind, Node, Symbol, Value
from tinygraph.rewrite import Replacement, Rewriter, rewrite

BUDGET = 16 * 2**20  # bytes
OPERATIONS = 2 * 10**9  # a few seconds of work
_SMALL = 64  # bytes: a shape, a scalar
_QUICK = 1000  # operations that nobody notices


def fold_constants(graph: Graph, budget: int = BUDGET, operations: int = OPERATIONS) -> Graph:
    """Replaces nodes whose inputs all have numbers by their results.

    It knows no op: it runs `kernel`, or asks an op for results that are sizes of its inputs. Results
    of constants alone are constants; results of parameters or buffers are of kind frozen. What a
    kernel makes of 1/0 or log(-1) is kept, as it would come out of a run.

    Preconditions:
        - No op is random.
        - In a training graph only constants are folded: parameters and buffers change.
        - The result takes no more bytes than the inputs that nobody else reads and that go with
          the node; or constants and frozen parameters stay within the budget; or it is as
          small as a shape. This is known from the types, before anything is computed.
        - What there is to compute takes no more operations than allowed, all together (`Op.work`). If it
          takes more, only the arithmetic of shapes is folded: nodes of a thousand operations at most.
        - The kernel takes no more memory on the way than the budget (`Op.scratch`), and does not raise.

    Args:
        graph: it is left as it is.
        budget: bytes that constants and frozen parameters may take together before they are
            no longer allowed to grow.
        operations: that all nodes together may take.
    """
    fixed: set[Kind] = {"const"} if graph.mode == "training" else {"const", "param", "frozen", "buffer"}
    spent = sum(v.type.nbytes for v in graph.data if v.kind in ("const", "frozen"))
    most = operations if _work(graph, fixed, budget) <= operations else min(operations, _QUICK)

    def rule(node: Node, rw: Rewriter) -> Replacement:
        nonlocal spent
        sizes = node.op.sizes(node.input_types)
        if sizes is not None and not any(isinstance(d, Symbol) for d in sizes):
            (y,) = node.outputs
            return rw.declare("const", f"{y.name}.folded", np.array(sizes, y.type.dtype).reshape(y.type.dims))
        inputs = [rw[v] for v in node.inputs]
        if "random" in node.op.traits or not all(v.kind in fixed for v in inputs):
            return None
        if not all(t.is_static for t in (*node.input_types, *node.output_types)):
            return None
        if _cost(node) > most or node.op.scratch(node.input_types, node.output_types) > budget:
            return None
        growth = sum(t.nbytes for t in node.output_types) - _freed(node, rw)
        if growth > _SMALL and spent + growth > budget:
            return None
        arrays = _run(node, inputs, rw)
        if arrays is None:
            return None
        spent += max(growth, 0)
        kind: Kind = "const" if all(v.kind == "const" for v in inputs) else "frozen"
        return [rw.declare(kind, f"{v.name}.folded", a) for v, a in zip(node.outputs, arrays, strict=True)]

    return rewrite(graph, rule)


def _work(graph: Graph, kinds: Container[Kind], budget: int) -> int:
    """Operations of all nodes that could be folded, as far as their results might be kept."""
    fixed = {v for v in graph.data if v.kind in kinds}
    work = 0
    for node in graph.nodes:
        types = (*node.input_types, *node.output_types)
        if "random" in node.op.traits or not fixed.issuperset(node.inputs) or not all(t.is_static for t in types):
            continue
        if sum(t.nbytes for t in node.output_types) <= budget + sum(t.nbytes for t in node.input_types):
            fixed.update(node.outputs)
            work += _cost(node)
    return work


def _cost(node: Node) -> int:
    """Operations of a node; a byte that it takes on the way is one, too."""
    types = node.input_types, node.output_types
    return node.op.work(*types) + node.op.scratch(*types)


def _freed(node: Node, rw: Rewriter) -> int:
    """Bytes of the inputs that this node alone reads."""
    inputs = set(node.inputs) - rw.index.outputs
    return sum(v.type.nbytes for v in inputs if all(user is node for user in rw.index.users(v)))


def _run(node: Node, inputs: Sequence[Value], rw: Rewriter) -> list[Array] | None:
    """Runs the kernel; None if it fails, as it then will in a run, with a message that names the node."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = node.op.kernel(*(rw.array(v) for v in inputs))
    except Exception:
        return None
    arrays = [np.asarray(a) for a in (result if isinstance(result, tuple) else (result,))]
    fits = [(a.shape, a.dtype) for a in arrays] == [(t.shape, t.dtype) for t in node.output_types]
    return arrays if fits else None
