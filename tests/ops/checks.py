"""What is checked of every row. Each check gets a Case and raises AssertionError if the op is wrong.

The reference is always float64. Graphs run node by node through the plain kernels, so that nothing
but the op itself, autodiff, the text form or the ONNX form is under test.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.ops.counted import Tally
from tests.ops.harness import BATCH, Array, Case
from tinygraph.autodiff import vjp_graph
from tinygraph.build import infer
from tinygraph.errors import NotDifferentiable, UnsupportedOp
from tinygraph.ir import Graph, Symbol, TensorType
from tinygraph.ops.base import Op, is_differentiable, no_macs
from tinygraph.text import equal
from tinygraph.trace import Trace

STEP = 1e-5  # of finite differences; central ones err by its square


def graph_of(case: Case, dtype: Any = np.float64) -> Graph:
    """A graph of inputs x0, x1, ..., one node, and its outputs."""
    tracer = Trace()
    inputs = [tracer.input(f"x{i}", type) for i, type in enumerate(case.types(dtype))]
    with tracer.running():
        return tracer.finish(tracer.emit(case.op, inputs))


def _bound(graph: Graph) -> Graph:
    return graph.bind(N=BATCH) if graph.symbols else graph


def execute(graph: Graph, arrays: Sequence[Array]) -> list[Array]:
    """The outputs of a graph, computed node by node with plain kernels."""
    values = {value: graph.array(value) for value in graph.data}
    values |= dict(zip(graph.inputs, arrays, strict=True))
    for node in graph.nodes:
        values |= dict(zip(node.outputs, apply(node.op, [values[v] for v in node.inputs]), strict=True))
    return [values[v] for _, v in graph.outputs]


def apply(op: Op, arrays: Sequence[Array]) -> list[Array]:
    """The outputs of a kernel."""
    with np.errstate(all="ignore"):
        return _listed(op.kernel(*arrays))


def _listed(result: Any) -> list[Array]:
    return [np.asarray(r) for r in (result if isinstance(result, tuple) else (result,))]


def close(actual: Sequence[Array], wanted: Sequence[Array], tolerance: float, what: str) -> None:
    """Equal shapes, and numbers within the tolerance, relative to the largest finite one."""
    assert len(actual) == len(wanted), f"{what}: {len(actual)} outputs, want {len(wanted)}"
    for got, want in zip(actual, wanted, strict=True):
        assert got.shape == want.shape, f"{what}: shape {got.shape}, want {want.shape}"
        finite = np.abs(want[np.isfinite(want)]) if want.dtype.kind == "f" else np.array([])
        scale = max(1.0, float(finite.max(initial=0.0))) if want.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale, equal_nan=True, err_msg=what)


# ---- types and kernels -------------------------------------------------------------------------


def check_types(case: Case) -> None:
    """The inferred type is that of the real array: in each float dtype, and whatever N is."""
    batches = [(np.float64, batch) for batch in (1, BATCH, 3)]
    for dtype, batch in (*batches, (np.float32, BATCH), (np.float16, BATCH)):
        op, arrays = case.op.bind({"N": batch}), case.arrays(dtype, batch)
        made = tuple(TensorType(y.shape, y.dtype) for y in apply(op, arrays))
        inferred = infer(op, [TensorType(a.shape, a.dtype) for a in arrays])
        assert inferred == made, f"infers {inferred}, the kernel makes {made}"
        opened = infer(case.op, case.types(dtype))
        assert tuple(t.bind({"N": batch}) for t in opened) == made, f"infers {opened}, the kernel makes {made}"


def check_kernel(case: Case) -> None:
    """The kernel computes what the naive loops do, from any memory layout."""
    op = case.op.bind({"N": BATCH})
    arrays = case.arrays()
    with np.errstate(all="ignore"):
        wanted = _listed(case.naive(op, *arrays))
    close(apply(op, arrays), wanted, 1e-12, "float64 kernel against naive loops")
    close(apply(op, [_scattered(a) for a in arrays]), wanted, 1e-12, "kernel on strided inputs")
    rounded = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in case.arrays(np.float32)]
    with np.errstate(all="ignore"):
        wanted = _listed(case.naive(op, *rounded))
    close(apply(op, case.arrays(np.float32)), wanted, case.tolerance, "float32 kernel against naive loops")


def _scattered(array: Array) -> Array:
    """The same numbers with gaps between them and axes in another order in memory."""
    room = np.empty(tuple(2 * d for d in reversed(array.shape)), array.dtype)
    view = room[(..., *(slice(1, None, 2) for _ in array.shape))].T
    view[...] = array
    view.flags.writeable = False
    return view


def check_prepared(case: Case) -> None:
    """What `lower` prepares computes what the kernel does, from constants or not, from any layout, time and again."""
    op = case.op.bind({"N": BATCH})
    arrays = case.arrays(np.float32)
    types = [TensorType(a.shape, a.dtype) for a in arrays]
    wanted = apply(op, [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays])
    for known, workers in product({0, len(arrays) - 1}, (1, 2)):
        constants = [None if i < len(arrays) - known else a for i, a in enumerate(arrays)]
        prepared = op.lower(types, constants, workers)
        strided = [_scattered(a) if c is None else a for a, c in zip(arrays, constants, strict=True)]
        for garbage, inputs in ((0x7F, arrays), (0xFF, strided)) if prepared else ():
            outputs = [np.full(t.nbytes, garbage, np.uint8).view(t.dtype).reshape(t.dims) for t in infer(op, types)]
            workspace = np.full(prepared.workspace + 64, garbage, np.uint8)
            with np.errstate(all="ignore"):
                prepared.run(inputs, outputs, _aligned(workspace, prepared.workspace))
            what = f"prepared kernel {prepared.algorithm!r}, {known} inputs constant, {workers} workers"
            close(outputs, wanted, case.tolerance, what)


def _aligned(memory: Array, size: int) -> Array:
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


# ---- gradients ---------------------------------------------------------------------------------


Slope = Callable[[Graph, list[Array], int, Array, Mapping[str, Array]], float]


def by_differences(
    graph: Graph, arrays: list[Array], position: int, direction: Array, weights: Mapping[str, Array]
) -> float:
    """The slope of the weighted outputs as one input moves in a direction: a central difference."""
    ahead, behind = [*arrays], [*arrays]
    ahead[position] = arrays[position] + STEP * direction
    behind[position] = arrays[position] - STEP * direction
    return float(weighted(graph, ahead, weights) - weighted(graph, behind, weights)) / (2 * STEP)


def weighted(graph: Graph, arrays: Sequence[Array], weights: Mapping[str, Array]) -> Any:
    """The sum of the outputs, each number times its cotangent."""
    outputs = zip(graph.outputs, execute(graph, arrays), strict=True)
    return sum(np.sum(y * weights[name]) for (name, _), y in outputs if name in weights)


def check_gradients(case: Case, slope: Slope = by_differences, tolerance: float = 2e-6) -> None:
    """Gradients are the slopes that finite differences find, to second order; linear maps have exact adjoints."""
    graph = _bound(graph_of(case))
    arrays = case.arrays()
    held = {f"x{i}" for i, given in enumerate(case.inputs) if given.held}
    sources = [v.name for v in graph.inputs if v.type.dtype.kind == "f" and v.name not in held]
    floating = [name for name, v in graph.outputs if v.type.dtype.kind == "f"]
    if not is_differentiable(type(case.op)):
        with pytest.raises(NotDifferentiable):
            case.op.vjp([], [], [])
        return
    if not (case.smooth and sources and floating):
        return
    rng = np.random.default_rng(0)
    if "linear" in case.op.traits and sources[0] == "x0":
        _check_adjoint(graph, arrays, rng)
    for _ in range(2):
        slopes = vjp_graph(graph, sources, floating)
        cotangents = [rng.standard_normal(v.type.dims) for v in slopes.inputs[len(arrays) :]]
        gradients = execute(slopes, [*arrays, *cotangents])[-len(sources) :]
        weights = dict(zip(floating, cotangents, strict=True))
        for name, gradient in zip(sources, gradients, strict=True):
            position = [v.name for v in graph.inputs].index(name)
            assert gradient.shape == arrays[position].shape, f"the gradient by {name} has the shape {gradient.shape}"
            for _ in range(2):
                direction = rng.standard_normal(gradient.shape)
                wanted = slope(graph, arrays, position, direction, weights)
                found = float(np.sum(gradient * direction))
                assert abs(found - wanted) <= tolerance * max(1.0, abs(wanted)), (
                    f"the slope by {name} is {wanted}, the gradient says {found}"
                )
        # The next round differentiates the gradients, also by the cotangents they depend on.
        graph, arrays = slopes, [*arrays, *cotangents]
        sources = [v.name for v in graph.inputs if v.type.dtype.kind == "f" and v.name not in held]
        floating = [name for name, _ in graph.outputs[-len(gradients) :]]


def _check_adjoint(graph: Graph, arrays: list[Array], rng: Any) -> None:
    """<J v, u> = <v, J^T u> for an op that is linear, up to a constant, in its first input."""
    slopes = vjp_graph(graph, ["x0"])
    v = rng.standard_normal(arrays[0].shape)
    images = execute(graph, [v, *arrays[1:]])
    offsets = execute(graph, [np.zeros_like(v), *arrays[1:]])
    cotangents = [rng.standard_normal(y.shape) for y in images]
    back = execute(slopes, [*arrays, *cotangents])[-1]
    forward = sum(np.sum((y - c) * u) for y, c, u in zip(images, offsets, cotangents, strict=True))
    assert abs(forward - np.sum(v * back)) <= 1e-12 * max(1.0, abs(forward)), "the gradient is not the adjoint"


# ---- costs -------------------------------------------------------------------------------------


def check_costs(case: Case) -> None:
    """FLOPs, and MACs of ops that have them, are what the naive loops did."""
    op = case.op.bind({"N": BATCH})
    tally = Tally()
    arrays = case.arrays()
    counting = [tally.counting(a) if i.numbers else a for i, a in zip(case.inputs, arrays, strict=True)]
    with np.errstate(all="ignore"):
        case.naive(op, *counting)
    inputs = [TensorType(a.shape, a.dtype) for a in arrays]
    outputs = infer(op, inputs)
    flops, macs = op.flops(inputs, outputs), op.macs(inputs, outputs)
    assert type(flops) is int, "FLOPs are counted in Python integers"
    assert type(macs) is int, "MACs are counted in Python integers"
    assert flops == tally.flops, f"says {flops} FLOPs, the loops did {tally.flops}"
    wanted = 0 if type(op).macs is no_macs else tally.macs
    assert macs == wanted, f"says {macs} MACs, the loops did {wanted}"


# ---- round trips -------------------------------------------------------------------------------


def check_text(case: Case) -> None:
    """The dump of the op parses back to the same, with N open and with N bound."""
    traced = graph_of(case)
    for graph in (traced, _bound(traced)):
        again = tg.parse(str(graph))
        assert equal(graph, again), f"{graph}\nbecomes\n{again}"
        assert [node.op for node in again.nodes] == [node.op for node in graph.nodes]


def written(graph: Graph) -> set[str]:
    """The ONNX operators that a graph is saved as."""
    import onnx

    file = io.BytesIO()
    tg.save(graph, file)
    return {node.op_type for node in onnx.load_from_string(file.getvalue()).graph.node}


def check_onnx(case: Case) -> None:
    """As ONNX the op computes the same: in onnx.reference, and loaded again."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    graph = graph_of(case, np.float32)
    file = io.BytesIO()
    if hasattr(type(case.op).to_onnx, "refuses"):
        with pytest.raises(UnsupportedOp):
            tg.save(graph, file)
        return
    tg.save(graph, file)
    arrays = case.arrays(np.float32)
    wanted = execute(_bound(graph), arrays)
    model = onnx.load_from_string(file.getvalue())
    assert {node.op_type for node in model.graph.node} <= set(case.op.onnx), (
        "writes operators that `onnx` does not name"
    )
    onnx.checker.check_model(model, full_check=case.reference)
    if case.reference:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, {f"x{i}": a for i, a in enumerate(arrays)})
        close([np.asarray(r) for r in results], wanted, case.tolerance, "onnx.reference")
    loaded = tg.load(file.getvalue())
    assert [(v.name, v.type) for v in loaded.inputs] == [(v.name, v.type) for v in graph.inputs]
    assert [n for n, _ in loaded.outputs] == [n for n, _ in graph.outputs]
    opened = {d for v in loaded.inputs for d in v.type.shape if isinstance(d, Symbol)}
    for (_, made), (_, v) in zip(loaded.outputs, graph.outputs, strict=True):
        sizes = zip(made.type.shape, v.type.shape, strict=True)
        # A size that is found when the model runs has no number in a file.
        told = (d if isinstance(d, int) or d in opened else known for d, known in sizes)
        assert made.type.with_shape(told) == v.type
    close(execute(_bound(loaded), arrays), wanted, case.tolerance, "loaded from ONNX again")


CHECKS = {
    "types": check_types,
    "kernel": check_kernel,
    "prepared": check_prepared,
    "gradients": check_gradients,
    "costs": check_costs,
    "text": check_text,
    "onnx": check_onnx,
}
