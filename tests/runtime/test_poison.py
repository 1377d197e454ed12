"""What memory held before a call does not matter: networks, every op, random graphs and training, in rubbish."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import tinygraph as tg
from tests.onnx.test_torch_exports import EXPORTERS, NETWORKS, example, load
from tests.ops.harness import BATCH, Case
from tests.ops.test_ops import ROWS
from tests.passes.random_graphs import graphs
from tests.poison import RUBBISH, call_poisoned, fresh_memory, poison, random_inputs
from tests.runtime.test_calls import Net, X, Y
from tests.sessions import F32, session
from tinygraph.ir import Array, Graph, TensorType
from tinygraph.nn import functional as F
from tinygraph.ops.base import Op, Prepared, apply, family, no_flops, no_macs, not_differentiable, not_in_onnx
from tinygraph.tensor import Tensor
from tinygraph.trace import Trace

# ---- the check itself --------------------------------------------------------------------------


@family
class Careless(Op):
    """x + 1, and what `flaw` says."""

    name = "careless"
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("it is a test")
    to_onnx = not_in_onnx("it is a test")
    flaw: str = ""

    def infer(self, x: TensorType) -> TensorType:
        return x

    def kernel(self, x: Array) -> Array:
        return x + 1

    def lower(self, types: Any, constants: Any, workers: int) -> Prepared:
        seen: list[Array] = []

        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            (x,), (y,) = inputs, outputs
            before = y[:1].copy()
            np.add(x, 1, y)
            if self.flaw == "reads its output":
                y[:1] += before * 0
            if self.flaw == "reads its workspace":
                y[:1] += workspace[:4].view(F32)
            if self.flaw == "writes its input":
                x[:1] = 5
            if self.flaw == "writes its input by force":
                x.flags.writeable = True
                x[:1] = 5
            for earlier in seen if self.flaw == "keeps its output" else ():
                earlier[:1] = 7
            seen.append(y)

        return Prepared(run, 64, "careless")


FLAWS = "reads its output", "reads its workspace", "writes its input", "writes its input by force", "keeps its output"


@pytest.mark.parametrize("flaw", FLAWS)
def test_flaws_are_found(flaw: str) -> None:
    run = session(lambda x: apply(Careless(flaw), x), (3,))
    with pytest.raises((AssertionError, ValueError)):
        call_poisoned(run, {"x": np.ones(3, F32)})


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    run = session(lambda x: apply(Careless(), x), (3,))
    np.testing.assert_array_equal(call_poisoned(run, {"x": np.ones(3, F32)})["output"], [2, 2, 2])


# ---- networks ----------------------------------------------------------------------------------

SMALL: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("mlp3", (), {}),
    ("digits_cnn", (), {}),
    ("cnn_39x31", (), {}),
    ("lenet5", (), {}),
    ("lenet_caffe", (), {}),
    ("lenet5_1998", (), {}),
    ("alexnet", (2, 3, 64, 64), {"num_classes": 10}),
    ("resnet18", (1, 3, 64, 64), {}),
    ("resnet18", (3, 3, 33, 47), {}),
    ("resnet50", (2, 3, 64, 64), {}),
    ("resnet20_cifar", (4, 3, 32, 32), {}),
]


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize(("name", "shape", "arguments"), SMALL, ids=[f"{n}-{s}" for n, s, _ in SMALL])
def test_networks(name: str, shape: tuple[int, ...], arguments: dict[str, Any], precision: Any) -> None:
    net = tg.models.create(name, **arguments)
    graph = tg.trace(net, *([tg.Spec(shape)] if shape else tg.models.inputs(name)))
    call_poisoned(tg.compile(graph, threads=2, precision=precision), random_inputs(graph))


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_from_files(name: str, exporter: str) -> None:
    graph = load(name, exporter)
    run = tg.compile(graph, threads=2)
    for n in (2, 1, 2):
        call_poisoned(run, {graph.inputs[0].name: example(name)[0][:n]})


# ---- every op ----------------------------------------------------------------------------------


def inside(case: Case, constants: bool) -> Graph:
    """A graph in which the op reads from the arena and writes to it.

    Args:
        case: a row.
        constants: whether all inputs but the first are.
    """
    trace = Trace()
    op, types = case.op, case.types(F32)
    if constants or all(type.is_static for type in types):  # nothing would tell what N is
        op, types = op.bind({"N": BATCH}), [type.bind({"N": BATCH}) for type in types]
    tensors: list[Any] = [trace.input(f"x{i}", type) for i, type in enumerate(types)]
    if constants:
        tensors[1:] = case.arrays(F32)[1:]
    with trace.running():
        made = trace.emit(op, [_passed(t) for t in tensors])
        results = made if isinstance(made, tuple) else (made,)
        return trace.finish({f"{name}{i}": f(t) for i, t in enumerate(results) for name, f in PASSED.items()})


def _passed(x: Any) -> Any:
    """The same numbers in other memory."""
    return (x * 2) * 0.5 if isinstance(x, Tensor) and x.type.dtype.kind == "f" else x


PASSED = {"y": lambda x: x, "z": _passed}


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_ops(row: Case) -> None:
    for constants in (False, True)[: len(row.inputs)]:
        graph = inside(row, constants)
        run = tg.compile(graph, passes="none", threads=2)
        call_poisoned(run, dict(zip((v.name for v in graph.inputs), row.arrays(F32), strict=False)))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(graph=graphs())
def test_random_graphs(graph: Graph) -> None:
    run = tg.compile(graph, passes="none", threads=2)
    call_poisoned(run, random_inputs(graph, N=2, M=1))


# ---- state -------------------------------------------------------------------------------------


def test_training() -> None:
    def step() -> Any:
        net = Net()
        net.reseed(0)
        return tg.train_step(
            net, tg.optim.Adam(), F.cross_entropy, [tg.Spec(X.shape), tg.Spec(Y.shape, np.int64)], threads=2
        )

    clean, poisoned = step(), step()
    for byte in RUBBISH:
        with fresh_memory(byte):
            assert clean(X, Y) == poisoned(X, Y)
        for run in poisoned._sessions:
            poison(run, byte)
