"""Sessions: right answers, nobody else's memory touched, and memory known beforehand."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

import tinygraph as tg
from tests.growth import assert_linear
from tinygraph import nn, ops
from tinygraph.errors import ShapeError, TraceError, UsageError
from tinygraph.ir import Array, Builder, Graph, TensorType
from tinygraph.ops.base import Op, Prepared, apply, no_flops, no_macs, not_differentiable, not_in_onnx
from tinygraph.runtime.evaluate import evaluate
from tinygraph.runtime.lifetimes import lifetimes, owners, peak
from tinygraph.runtime.plan import Memory
from tinygraph.runtime.session import Session
from tinygraph.runtime.threads import available, limit

F32 = np.float32


def session(fn: Callable[..., Any], *shapes: Any, dtype: Any = F32) -> Session:
    """A session of a function as it stands."""
    return tg.compile(fn, *(tg.Spec(shape, dtype) for shape in shapes), passes="none")


def arange(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype=F32).reshape(shape)


class SmallNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        y = ops.relu(self.bn(self.conv1(x)))
        y = ops.max_pool(ops.relu(self.conv2(y) + y), 2)
        return self.fc(ops.mean(y, (2, 3)))


@pytest.fixture(scope="module")
def net() -> Graph:
    module = SmallNet()
    module.reseed(3)
    return tg.trace(module, tg.Spec(("N", 2, 8, 8)))


# ---- calling -----------------------------------------------------------------------------------


def test_arrays_in_order_or_by_name() -> None:
    sub = session(lambda a, b: a - b, (2,), (2,))
    a, b = np.array([5, 7], F32), np.array([1, 2], F32)
    for result in (sub(a, b), sub(a=a, b=b), sub(b=b, a=a), sub(a, b=b)):
        np.testing.assert_array_equal(result, [4, 5])


def test_input_names_that_are_no_identifiers() -> None:
    graph = tg.trace(lambda *xs: xs[0] - xs[1], tg.Spec((2,), name="self"), tg.Spec((2,), name="a b"))
    run = tg.compile(graph, passes="none")
    np.testing.assert_array_equal(run(**{"self": arange(2), "a b": np.ones(2, F32)}), [-1, 0])


def test_one_output_is_an_array_and_several_are_a_dict() -> None:
    assert isinstance(session(lambda x: x + 1, (2,))(arange(2)), np.ndarray)
    several = session(lambda x: {"b": x + 1, "a": x + 2}, (2,))(arange(2))
    assert list(several) == ["b", "a"]


def test_a_scalar_result_is_an_array() -> None:
    result = session(lambda x: ops.sum(x), (3,))(arange(3))
    assert type(result) is np.ndarray
    assert result.shape == ()
    assert result == 3


def test_modules_and_functions_are_traced() -> None:
    layer = nn.Linear(3, 2)
    x = arange(4, 3)
    result = tg.compile(layer, TensorType(("N", 3)), passes="none")(x)
    np.testing.assert_allclose(result, x @ layer.weight.array().T + layer.bias.array(), rtol=1e-5)


def test_the_same_answers_as_plain_kernels(net: Graph) -> None:
    x = np.random.default_rng(0).standard_normal((2, 2, 8, 8)).astype(F32)
    want = evaluate(net, {"x": x}, np.float64)["output"]
    for run in (tg.compile(net, passes="none"), tg.compile(net)):
        np.testing.assert_allclose(run(x), want, rtol=1e-4, atol=1e-5)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "Fortran order": np.asfortranarray,
    "channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "reversed": lambda x: np.ascontiguousarray(x[:, ::-1, ::-1])[:, ::-1, ::-1],
    "every other": lambda x: np.repeat(x, 2, 3)[..., ::2],
    "not aligned": lambda x: np.frombuffer(b"." + x.tobytes(), F32, x.size, 1).reshape(x.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_the_layout_of_an_input_does_not_matter(net: Graph, layout: Callable[[Array], Array]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 2, 8, 8)).astype(F32)
    run = tg.compile(net)
    np.testing.assert_array_equal(layout(x), x)
    np.testing.assert_allclose(run(layout(x)), run(x), rtol=1e-5, atol=1e-6)


def test_unused_inputs_keep_their_place() -> None:
    run = session(lambda a, unused, b: a + b, (2,), (3,), (2,))
    np.testing.assert_array_equal(run(arange(2), arange(3), arange(2)), [0, 2])
    with pytest.raises(UsageError, match="missing: unused"):
        run(a=arange(2), b=arange(2))


def test_a_graph_without_inputs() -> None:
    build = Builder()
    graph = build.finish([("y", build.emit(ops.elementwise.Relu(), [build.const(np.array([1, -2], F32))])[0])])
    run = tg.compile(graph, passes="none")
    np.testing.assert_array_equal(run(), [1, 0])
    with pytest.raises(UsageError, match="got 1 arrays; there are no inputs"):
        run(arange(2))


def test_passes_none_runs_the_graph_itself(net: Graph) -> None:
    assert tg.compile(net, passes="none").graph is net


def test_repr_names_inputs_and_outputs(net: Graph) -> None:
    assert "%x: f32[N,2,8,8] -> output" in repr(tg.compile(net, passes="none"))


# ---- refusals ----------------------------------------------------------------------------------


def refused(error: type[Exception], message: str, run: Callable[..., Any], *args: Any, **named: Any) -> None:
    with pytest.raises(error, match=message):
        run(*args, **named)


def test_wrong_counts_and_names() -> None:
    run = session(lambda a, b: a + b, (2,), (2,))
    x = arange(2)
    refused(UsageError, r"missing: b; the inputs are %a: f32\[2\], %b: f32\[2\]", run, x)
    refused(UsageError, "got 3 arrays", run, x, x, x)
    refused(UsageError, "there is no input 'c'", run, x, x, c=x)
    refused(UsageError, "'a' was given twice", run, x, a=x, b=x)


def test_wrong_shapes() -> None:
    run = session(lambda a, b: a + b, (2, 3), (3,))
    refused(ShapeError, r"'a' is f32\[2,4\], want f32\[2,3\]", run, arange(2, 4), arange(3))
    refused(ShapeError, r"'a' is f32\[3\], want f32\[2,3\]", run, arange(3), arange(3))
    refused(ShapeError, r"'b' is f32\[1\], want f32\[3\]", run, arange(2, 3), arange(1))


def test_wrong_dtypes_are_not_cast_silently() -> None:
    run = session(lambda x: x + 1, (2,))
    refused(UsageError, r"'x' is float64, want float32; .*np.asarray\(..., 'float32'\)", run, np.ones(2))
    refused(UsageError, "int64", run, np.ones(2, np.int64))
    refused(UsageError, "float64", session(lambda x: x + 1, ()), np.float64(1))
    refused(UsageError, "float16", run, np.ones(2, np.float16))
    swapped = np.ones(2, np.dtype(F32).newbyteorder())
    refused(UsageError, "'x' is [<>]f4, want float32", run, swapped)


def test_python_numbers_are_taken_where_nothing_is_lost() -> None:
    run = session(lambda x: x + 1, (2,))
    np.testing.assert_array_equal(run([1, 2]), [2, 3])
    np.testing.assert_array_equal(run((0.5, float("inf"))), [1.5, np.inf])
    np.testing.assert_array_equal(run([True, float("nan")]), [2, np.nan])
    np.testing.assert_array_equal(session(lambda x: x + 1, ())(3), 4)
    refused(UsageError, "float64", run, [0.1, 0.2])
    refused(UsageError, "int64", run, [2**24 + 1, 0])
    refused(UsageError, "no array|object", run, [[1], [2, 3]])
    refused(UsageError, "<U1|str", run, ["a", "b"])
    integers = session(lambda x: ops.cast(x, F32), (2,), dtype=np.int64)
    np.testing.assert_array_equal(integers([1, 2]), [1, 2])
    refused(UsageError, "float64", integers, [1.0, 2.0])


def test_symbolic_tensors_are_no_arrays() -> None:
    run = session(lambda x: x + 1, (2,))
    with pytest.raises(TraceError):
        tg.trace(lambda x: run(x), tg.Spec((2,)))


def test_specs_belong_to_modules_only(net: Graph) -> None:
    refused(UsageError, "specs", tg.compile, net, tg.Spec((1, 2, 8, 8)))


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_thread_counts_that_make_no_sense(net: Graph, threads: Any) -> None:
    refused(UsageError, "threads", tg.compile, net, passes="none", threads=threads)


@dataclass(frozen=True)
class Failing(Op):
    """Fails when it runs."""

    name = "failing"
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("it fails")
    to_onnx = not_in_onnx("it fails")
    label: str = ""

    def infer(self, x: TensorType) -> TensorType:
        return x

    def kernel(self, x: Array) -> Array:
        raise MemoryError("out of it")


def test_errors_of_kernels_name_the_node_and_the_place() -> None:
    class Inner(nn.Module):
        def forward(self, x: Any) -> Any:
            return apply(Failing(), x)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def forward(self, x: Any) -> Any:
            return self.inner(x) + 1

    graph = tg.trace(Outer(), tg.Spec((2,)))
    pattern = r"out of it\n.*%inner\.failing: f32\[2\] = failing\(.*at inner tests/test_session\.py:\d+"
    for run in (tg.compile(graph, passes="none"), lambda x: evaluate(graph, {"x": x})):
        with pytest.raises(MemoryError, match=pattern):
            run(arange(2))


# ---- whose memory ------------------------------------------------------------------------------


ALIASES: dict[str, Callable[[Any], Any]] = {
    "identity": lambda x: x,
    "view of the input": lambda x: ops.reshape(x, (4,)),
    "transposed input": lambda x: ops.transpose(x),
    "broadcast input": lambda x: ops.broadcast_to(x, (3, 2, 2)),
    "slice of the input": lambda x: x[1:],
    "input twice": lambda x: {"a": x, "b": x},
    "computed twice": lambda x: _twice(x + 1),
    "view and base": lambda x: _view_and_base(x + 1),
    "two views": lambda x: _two_views(x + 1),
    "broadcast result": lambda x: ops.broadcast_to(ops.sum(x), (2, 2)),
    "constant": lambda x: {"c": ops.relu(x * 0 + np.array([1, 2], F32)), "d": x + np.ones(2, F32)},
}


def _twice(y: Any) -> Any:
    return {"a": y, "b": y}


def _view_and_base(y: Any) -> Any:
    return {"a": y, "b": ops.reshape(y, (4,)), "c": ops.transpose(y)}


def _two_views(y: Any) -> Any:
    return {"a": ops.reshape(y, (4,)), "b": ops.transpose(y), "c": y[0]}


@pytest.mark.parametrize("fn", ALIASES.values(), ids=ALIASES.keys())
def test_results_belong_to_the_caller(fn: Callable[[Any], Any]) -> None:
    run = session(fn, (2, 2))
    x = arange(2, 2)
    first = as_dict(run(x))
    want = {name: y.copy() for name, y in first.items()}
    for name, y in first.items():
        assert y.flags.writeable
        assert not np.shares_memory(y, x)
        others = [z for other, z in first.items() if other != name]
        assert not any(np.shares_memory(y, z) for z in others)
    for y in first.values():
        y[...] = -99
    np.testing.assert_array_equal(x, arange(2, 2))
    for name, y in as_dict(run(x)).items():
        np.testing.assert_array_equal(y, want[name])


def as_dict(result: Any) -> dict[str, Array]:
    return result if isinstance(result, dict) else {"output": result}


def parameter_graph() -> Graph:
    """Outputs that are a parameter, a view of one, and a constant."""
    build = Builder()
    build.input("x", TensorType((1,)))
    weight = build.declare("param", "w", arange(2, 2))
    const = build.const(np.array([5, 6], F32))
    (view,) = build.emit(ops.shape.Transpose((1, 0)), [weight])
    return build.finish([("w", weight), ("view", view), ("const", const)])


def test_weights_do_not_leak() -> None:
    graph = tg.verify(parameter_graph())
    run = tg.compile(graph, passes="none")
    for y in run(arange(1)).values():
        y[...] = -99
    again = run(arange(1))
    np.testing.assert_array_equal(again["w"], arange(2, 2))
    np.testing.assert_array_equal(again["view"], arange(2, 2).T)
    np.testing.assert_array_equal(again["const"], [5, 6])


def test_a_small_part_does_not_keep_the_whole_alive() -> None:
    result = session(lambda x: (x + 1)[0], (1000, 2))(arange(1000, 2))
    assert result.base is None


def test_inputs_are_never_written(net: Graph) -> None:
    x = np.random.default_rng(0).standard_normal((2, 2, 8, 8)).astype(F32)
    kept = x.copy()
    tg.compile(net)(x)
    np.testing.assert_array_equal(x, kept)
    x.flags.writeable = False
    tg.compile(net)(x)


def test_results_are_not_overwritten_by_the_next_call(net: Graph) -> None:
    run = tg.compile(net)
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 2, 2, 8, 8)).astype(F32)
    y = run(first)
    kept = y.copy()
    run(second)
    np.testing.assert_array_equal(y, kept)


def test_nothing_is_read_before_it_is_written(net: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh memory is filled with NaN everywhere, and scratch memory between calls."""
    x = np.random.default_rng(0).standard_normal((2, 2, 8, 8)).astype(F32)
    want = evaluate(net, {"x": x})["output"]
    empty = np.empty

    def poisoned(shape: Any, dtype: Any = float, **kwargs: Any) -> Array:
        array = empty(shape, dtype, **kwargs)
        array.fill(
            np.nan if array.dtype.kind == "f" else 255 if array.dtype.kind in "ui" and array.itemsize == 1 else 0
        )
        return array

    for run in (tg.compile(net, passes="none"), tg.compile(net)):
        monkeypatch.setattr(np, "empty", poisoned)
        for _ in range(2):
            np.testing.assert_allclose(run(x), want, rtol=1e-4, atol=1e-5)
            for plan in run._plans.values():
                for workspace in plan._spare:
                    workspace.fill(255)
        monkeypatch.undo()


# ---- open dimensions ---------------------------------------------------------------------------


def test_open_dimensions_are_bound_at_each_call() -> None:
    run = session(lambda a, b: ops.sum(a * b, 1), ("N", "M"), ("M",))
    for n, m in ((1, 2), (3, 2), (1, 2), (0, 4)):
        np.testing.assert_array_equal(run(arange(n, m), arange(m)), arange(n, m) @ arange(m))


def test_open_dimensions_must_agree() -> None:
    run = session(lambda a, b: ops.sum(a) + ops.sum(b), ("N", 2), ("N",))
    refused(ShapeError, r"'b' is f32\[3\], but N is 2 already", run, arange(2, 2), arange(3))
    refused(ShapeError, r"'a' is f32\[2,3\], want f32\[N,2\]", run, arange(2, 3), arange(2))
    refused(ShapeError, r"'a' is f32\[2\], want f32\[N,2\]", run, arange(2), arange(2))


def test_only_the_plans_used_last_are_kept() -> None:
    run = session(lambda x: x + 1, ("N",))
    for n in range(1, 20):
        run(arange(n))
        run(arange(1))
    kept = [dict(binding)["N"] for binding in run._plans]
    assert len(kept) == 8
    assert kept[-2:] == [19, 1]


def test_a_plan_is_made_once() -> None:
    run = session(lambda x: x + 1, ("N",))
    run(arange(3))
    (plan,) = run._plans.values()
    run(arange(3))
    assert list(run._plans.values()) == [plan]


@dataclass(frozen=True)
class Counting:
    """A recipe that counts how often it is asked."""

    calls: list[int] = field(default_factory=list)

    @property
    def type(self) -> TensorType:
        return TensorType((2,))

    def array(self) -> Array:
        self.calls.append(1)
        array = arange(2)
        array.flags.writeable = False
        return array


def test_recipes_are_followed_once_and_only_if_read() -> None:
    build = Builder()
    x = build.input("x", TensorType(("N", 2)))
    read, unread = Counting(), Counting()
    w = build.declare("param", "w", read)
    build.declare("param", "v", unread)
    graph = build.finish([("y", build.emit(ops.arithmetic.Add(), [x, w])[0])])
    run = tg.compile(graph, passes="none")
    for n in (1, 2, 3, 1):
        np.testing.assert_array_equal(run(np.zeros((n, 2), F32)), np.tile(arange(2), (n, 1)))
    assert len(read.calls) == 1
    assert not unread.calls


# ---- lifetimes and memory ----------------------------------------------------------------------


def names(values: Any) -> set[str]:
    return {v.name for v in values}


def test_a_value_dies_with_its_last_reader() -> None:
    def fn(x: Any, y: Any) -> Any:
        a = ops.exp(x)
        b = a + a
        return (b + a) * x

    graph = tg.trace(fn, tg.Spec((2,)), tg.Spec((2,)))
    assert [names(v) for v in lifetimes(graph)] == [set(), set(), {"add", "exp"}, {"add.1", "x"}]


def test_outputs_live_on_and_unread_results_die_at_once() -> None:
    def fn(x: Any) -> Any:
        y, mean, _ = ops.batch_norm_train(x, np.ones(2, F32), np.zeros(2, F32))
        return {"y": y, "m": ops.exp(mean)}

    graph = tg.trace(fn, tg.Spec((3, 2)))
    assert [names(v) for v in lifetimes(graph)] == [
        {"batch_norm_train.var", "x", *names(graph.data)},
        {"batch_norm_train.mean"},
    ]


def test_views_lie_in_the_memory_of_their_base() -> None:
    def fn(x: Any) -> Any:
        a = ops.exp(x)
        t = ops.transpose(a)
        copied = ops.reshape(t, (6,))
        return ops.sum(ops.reshape(copied, (2, 3))) + ops.sum(ops.reshape(a, (6,)))

    graph = tg.trace(fn, tg.Spec((2, 3)))
    found = {v.name: o.name for v, o in owners(graph, {}).items()}
    assert found["transpose"] == "exp"
    assert found["reshape"] == "reshape"  # a transposed array cannot be reshaped without a copy
    assert found["reshape.1"] == "reshape"
    assert found["reshape.2"] == "exp"


def peak_of(fn: Callable[..., Any], *shape: int) -> int:
    graph = tg.trace(fn, tg.Spec(shape))
    return peak(graph, lifetimes(graph), {v: graph.array(v) for v in graph.data})


PEAKS: list[tuple[str, Callable[[Any], Any], int]] = [
    ("a chain keeps two arrays", lambda x: ops.exp(ops.exp(ops.exp(x))), 2),
    ("a skip keeps one more", lambda x: _skip(ops.exp(x)), 3),
    ("a view costs nothing", lambda x: ops.exp(ops.reshape(ops.exp(x), (10, 10))), 2),
    ("a view keeps its base alive", lambda x: _kept(ops.exp(x)), 3),
    ("an output that is the input is copied", lambda x: x, 1),
    ("a second name is a second array", lambda x: _twice(ops.exp(x)), 2),
    ("views of the input are copied at the end", lambda x: ops.reshape(x, (10, 10)), 1),
]


def _skip(a: Any) -> Any:
    return ops.exp(ops.exp(a)) + a


def _kept(a: Any) -> Any:
    view = ops.reshape(a, (10, 10))
    return ops.exp(ops.exp(ops.exp(view))) + view


@pytest.mark.parametrize(("label", "fn", "arrays"), PEAKS, ids=[label for label, _, _ in PEAKS])
def test_predicted_peaks(label: str, fn: Callable[..., Any], arrays: int) -> None:
    assert peak_of(fn, 100) == arrays * 400


def traced_peak(run: Callable[..., Any], *arrays: Array) -> int:
    """Most memory that a call really takes, weights and scratch memory aside."""
    run(*arrays)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        run(*arrays)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


MEASURED: list[Callable[[Any], Any]] = [
    lambda x: ops.exp(ops.exp(ops.exp(x))),
    lambda x: _skip(ops.exp(x)),
    lambda x: _kept_wide(ops.exp(x)),
    lambda x: ops.exp(ops.reshape(ops.transpose(ops.exp(x)), (4, -1))),
    lambda x: {"a": x, "b": ops.transpose(ops.exp(x)), "c": x[:100]},
    lambda x: ops.sum(ops.broadcast_to(ops.exp(x[:1, :1]), (200, 200))),
]


def _kept_wide(a: Any) -> Any:
    view = ops.reshape(a, (50, -1))
    return ops.exp(ops.exp(ops.exp(view))) + view


@pytest.mark.parametrize("fn", MEASURED)
def test_the_predicted_peak_is_what_a_call_takes(fn: Callable[..., Any]) -> None:
    run = session(fn, (200, 300))
    predicted = run.memory.activations
    measured = traced_peak(run, arange(200, 300))
    assert predicted - 1 <= measured < predicted * 1.01 + 20_000


def test_memory_of_a_network(net: Graph) -> None:
    run = tg.compile(net.bind(N=2), passes="none")
    weights = sum(v.type.nbytes for v in net.data if not v.name.endswith("num_batches_tracked"))
    assert run.memory.weights == weights
    assert run.memory.total == run.memory.activations + weights + run.memory.workspace
    biggest = 2 * 8 * 8 * 8 * 4
    assert 2 * biggest <= run.memory.activations <= 3 * biggest
    measured = traced_peak(run, np.ones((2, 2, 8, 8), F32))
    assert measured < run.memory.activations + 20_000


def test_weights_count_once() -> None:
    layer = nn.Linear(4, 4, bias=False)
    run = tg.compile(lambda x: ops.relu(layer(layer(x))), tg.Spec((1, 4)), passes="none")
    assert run.memory == Memory(2 * 16, 64, run.memory.workspace)


def test_memory_of_open_dimensions_is_not_known(net: Graph) -> None:
    with pytest.raises(UsageError, match=r"memory depends on N: compile graph.bind\(N=...\)"):
        _ = tg.compile(net, passes="none").memory


def test_planning_allocates_no_activations() -> None:
    graph = tg.trace(lambda x: ops.sum(ops.exp(ops.exp(x))), tg.Spec((2**40,)))
    assert tg.compile(graph, passes="none").memory.activations == 2 * 4 * 2**40


# ---- prepared kernels --------------------------------------------------------------------------


@dataclass(frozen=True)
class Scratchy(Op):
    """x + 1, by way of scratch memory."""

    name = "scratchy"
    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    vjp = not_differentiable("it is a test")
    to_onnx = not_in_onnx("it is a test")
    nbytes: int = 0

    def infer(self, x: TensorType) -> TensorType:
        return x

    def kernel(self, x: Array) -> Array:
        return x + 1

    def lower(self, types: Any, constants: Any, workers: int) -> Prepared:
        def run(inputs: Any, outputs: Any, workspace: Array) -> None:
            assert workspace.nbytes >= self.nbytes
            assert workspace.ctypes.data % 64 == 0
            scratch = workspace[: inputs[0].nbytes].view(inputs[0].dtype).reshape(inputs[0].shape)
            scratch[...] = inputs[0]
            time.sleep(0.001)
            np.add(scratch, 1, outputs[0])

        return Prepared(run, self.nbytes, f"scratch of {workers}")


def test_scratch_memory_is_shared_and_as_large_as_the_largest() -> None:
    run = session(lambda x: apply(Scratchy(5000), apply(Scratchy(9000), apply(Scratchy(800), x))), (10,))
    assert run.memory.workspace == 9000
    np.testing.assert_array_equal(run(arange(10)), arange(10) + 3)


def test_steps_tell_their_algorithm() -> None:
    run = tg.compile(lambda x: apply(Scratchy(800), ops.reshape(x, (5, 2))), tg.Spec((10,)), passes="none", threads=3)
    (plan,) = run._plans.values()
    assert [(step.node.op.name, step.algorithm) for step in plan.steps] == [
        ("reshape", "plain"),
        ("scratchy", "scratch of 3"),
    ]


# ---- threads -----------------------------------------------------------------------------------


def test_several_threads_call_one_session(net: Graph) -> None:
    run = tg.compile(net)
    scratchy = session(lambda x: apply(Scratchy(800), apply(Scratchy(800), x)), ("N",))
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal((n % 3 + 1, 2, 8, 8)).astype(F32) for n in range(40)]
    want = [run(x) for x in xs]
    barrier = threading.Barrier(8)

    def work(k: int) -> None:
        barrier.wait(10)
        for i in range(k, 40, 8):
            np.testing.assert_allclose(run(xs[i]), want[i], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(scratchy(np.full(i + 1, i, F32)), np.full(i + 1, i + 2))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def blas_threads() -> list[int]:
    controller = ThreadpoolController().select(user_api="blas")
    return [library.num_threads for library in controller.lib_controllers]


@pytest.fixture
def found() -> Iterator[list[int]]:
    before = blas_threads()
    if not before:
        pytest.skip("no BLAS whose threads could be set")
    yield before
    assert blas_threads() == before


@dataclass(frozen=True)
class Asking(Failing):
    """Tells how many threads BLAS has, then fails if it was told to."""

    name = "asking"

    def kernel(self, x: Array) -> Array:
        if self.label == "fail":
            raise ValueError(str(blas_threads()))
        return np.full_like(x, max(blas_threads()))


def test_threads_are_limited_during_a_call_and_put_back(found: list[int]) -> None:
    graph = tg.trace(lambda x: apply(Asking(), x), tg.Spec((1,)))
    assert tg.compile(graph, passes="none", threads=1)(arange(1)) == 1
    assert tg.compile(graph, passes="none")(arange(1)) == available()
    assert tg.compile(graph, passes="none").threads == available()


def test_threads_are_put_back_after_an_error(found: list[int]) -> None:
    graph = tg.trace(lambda x: apply(Asking("fail"), x), tg.Spec((1,)))
    with pytest.raises(ValueError, match=r"\[1"):
        tg.compile(graph, passes="none", threads=1)(arange(1))


def test_overlapping_limits(found: list[int]) -> None:
    outer, inner = limit(1), limit(2)
    with outer:
        with inner:
            assert set(blas_threads()) == {2}
        assert set(blas_threads()) == {1}
    outer.__enter__()
    inner.__enter__()
    outer.__exit__()
    assert set(blas_threads()) == {2}
    inner.__exit__()


# ---- evaluate ----------------------------------------------------------------------------------


def test_evaluate_in_another_dtype() -> None:
    def fn(x: Any) -> Any:
        return {"y": ops.cast(ops.cast(x, np.float16), F32) / np.array(3, F32), "i": ops.cast(x, np.int32)}

    graph = tg.trace(fn, tg.Spec((1,)))
    x = np.array([1 + 2**-20])
    found = evaluate(graph, {"x": x}, np.float64)
    assert found["y"].dtype == np.float64
    assert found["y"] == x / 3
    assert found["i"].dtype == np.int32
    exact = evaluate(graph, {"x": x.astype(F32)})
    assert exact["y"] == F32(1) / F32(3)


def test_evaluate_checks_its_inputs() -> None:
    graph = tg.trace(lambda x: x + 1, tg.Spec(("N", 2)))
    refused(UsageError, "missing: x", evaluate, graph, {})
    refused(UsageError, "no input 'y'", evaluate, graph, {"x": arange(1, 2), "y": arange(1)})
    refused(UsageError, "no input 'y'", evaluate, graph, {"x": arange(1, 2), "y": arange(1)}, np.float64)
    refused(UsageError, "float64", evaluate, graph, {"x": np.ones((1, 2))})
    refused(UsageError, "int32 is not a floating dtype", evaluate, graph, {"x": arange(1, 2)}, np.int32)
    refused(ShapeError, r"want f64\[N,2\]", evaluate, graph, {"x": arange(1, 3)}, np.float64)


@pytest.mark.parametrize("fn", ALIASES.values(), ids=ALIASES.keys())
def test_what_evaluate_returns_is_the_callers(fn: Callable[[Any], Any]) -> None:
    graph = tg.trace(fn, tg.Spec((2, 2)))
    x = arange(2, 2)
    first = evaluate(graph, {"x": x})
    want = as_dict(tg.compile(graph, passes="none")(x))
    for name, y in first.items():
        np.testing.assert_array_equal(y, want[name])
        y[...] = -99
    np.testing.assert_array_equal(x, arange(2, 2))


# ---- size --------------------------------------------------------------------------------------


def chain(length: int) -> Graph:
    def fn(x: Any) -> Any:
        for _ in range(length // 2):
            x = ops.reshape(ops.relu(x), (2,))
        return x

    return tg.trace(fn, tg.Spec((2,)))


def test_a_long_chain_is_planned_in_linear_time() -> None:
    small, large = chain(5_000), chain(20_000)
    assert_linear(Session, small, large)
    run = Session(large)
    assert run.memory.activations == 2 * 8
    np.testing.assert_array_equal(run(arange(2)), arange(2))
