"""Sessions: right answers, of whatever is handed in, and clear refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.growth import assert_linear
from tests.sessions import F32, Scratchy, arange, refused, session, small_net
from tinygraph import nn, ops
from tinygraph.build import Builder
from tinygraph.errors import ShapeError, TraceError, UsageError
from tinygraph.ir import Array, Graph, TensorType
from tinygraph.ops.base import Op, apply, family, no_flops, no_macs, not_differentiable, not_in_onnx
from tinygraph.runtime.evaluate import evaluate
from tinygraph.runtime.session import Session


@pytest.fixture(scope="module")
def net() -> Graph:
    return small_net()


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


@family
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


# ---- prepared kernels --------------------------------------------------------------------------


def test_scratch_memory_is_shared_and_as_large_as_the_largest() -> None:
    run = session(lambda x: apply(Scratchy(5000), apply(Scratchy(9000), apply(Scratchy(800), x))), (10,))
    assert 9000 <= run.memory.workspace < 9000 + 4 * 64
    np.testing.assert_array_equal(run(arange(10)), arange(10) + 3)


def test_steps_tell_their_algorithm() -> None:
    run = tg.compile(lambda x: apply(Scratchy(800), ops.reshape(x, (5, 2))), tg.Spec((10,)), passes="none", threads=3)
    (plan,) = run._plans.values()
    assert [(step.node.op.name, step.algorithm) for step in plan.steps] == [
        ("reshape", "plain"),
        ("scratchy", "scratch of 3"),
    ]


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
