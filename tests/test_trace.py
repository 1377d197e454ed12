"""Tracing keeps what Python did, and says so where a static graph cannot hold it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.errors import ShapeError, TraceError, UsageError
from tinygraph.ir import Graph
from tinygraph.nn import functional as F
from tinygraph.runtime.evaluate import evaluate
from tinygraph.tensor import Tensor
from tinygraph.trace import current

HERE = r"tests/test_trace\.py:\d+"


def trace(fn: Callable[..., Any], *shapes: Any, mode: Any = "inference") -> Graph:
    graph = tg.verify(tg.trace(fn, *(tg.Spec(shape) for shape in shapes), mode=mode))
    assert current() is None
    return graph


def ops_of(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def names_of(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes]


# ---- operators ---------------------------------------------------------------------------------

A, B = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), np.array([[4.0, 3.0], [2.0, 0.5]], np.float32)

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a - b,
    "a * b": lambda a, b: a * b,
    "a / b": lambda a, b: a / b,
    "a @ b": lambda a, b: a @ b,
    "-a": lambda a, b: -a + b,
    "a ** 2": lambda a, b: a**2 + b,
    "a ** 0.5": lambda a, b: a**0.5 + b,
    "a < b": lambda a, b: a < b,
    "a <= b": lambda a, b: a <= b,
    "a > b": lambda a, b: a > b,
    "a >= b": lambda a, b: a >= b,
    "a == b": lambda a, b: a == b,
    "a != b": lambda a, b: a != b,
    "a[0]": lambda a, b: a[0] + b[..., None, 1],
    "number first": lambda a, b: 1 + 2 * a - (3 - b) / (4 / a),
    "array first": lambda a, b: np.ones((2, 2), np.float32) + A * a - (B - b) / (A / a),
    "array first, matrix product": lambda a, b: A @ a + b,
    "array first, compared": lambda a, b: a > A,
    "NumPy number first": lambda a, b: np.float32(2) * a + np.float64(0.5) - np.int64(1) * b,
    "a.T": lambda a, b: a.T + b,
    "methods": lambda a, b: (
        a.reshape(4).sum() + b.transpose(1, 0).mean(0).max() + a.reshape((4, 1)).max(0, keepdims=True)
    ),
    "a.astype": lambda a, b: a.astype("int32").astype(np.float32) + b,
}


@pytest.mark.parametrize("fn", OPERATORS.values(), ids=OPERATORS.keys())
def test_operators_do_what_they_do_on_arrays(fn: Callable[[Any, Any], Any]) -> None:
    graph = trace(fn, (2, 2), (2, 2))
    found = evaluate(graph, {v.name: x for v, x in zip(graph.inputs, (A, B), strict=True)})["output"]
    want = fn(A, B)
    assert found.shape == want.shape
    np.testing.assert_allclose(found, want, rtol=1e-6)


def test_an_array_on_the_left_makes_no_array_of_objects() -> None:
    graph = trace(lambda t: np.ones(2, np.float32) + t, (2,))
    assert ops_of(graph) == ["add"]
    assert next(iter(graph.data)).type.shape == (2,)


def test_plus_equals_makes_a_new_tensor() -> None:
    def fn(t: Any) -> Any:
        old = t
        t += 1
        assert t is not old
        return t * old

    found = evaluate(trace(fn, (2,)), {"t": np.array([2, 3], np.float32)})
    np.testing.assert_array_equal(found["output"], [6, 12])


def test_a_number_takes_the_dtype_of_the_tensor() -> None:
    graph = tg.trace(lambda t: t * 2 + 0.5, tg.Spec((1,), np.float16))
    assert {v.type.dtype for v in graph.values()} == {np.dtype(np.float16)}
    with pytest.raises(ShapeError, match="dtypes differ"):
        tg.trace(lambda t: t + 0.5, tg.Spec((1,), np.int64))


# ---- what a static graph cannot hold -----------------------------------------------------------


def _if(t: Any) -> Any:
    return t if t > 0 else -t


def _while(t: Any) -> Any:
    while t:
        t = t - 1
    return t


def _item(t: Any) -> Any:
    t[0] = 1
    return t


def _in(t: Any) -> Any:
    return t if 3 in t else -t


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "if": (_if, r"`if t`.*where\(condition, a, b\).*%compare: bool\[\]"),
    "while": (_while, r"`while t`.*%t: f32\[\]"),
    "and": (lambda t: t and 1, r"`and`"),
    "not": (lambda t: not t, r"`not`"),
    "float": (float, r"float\(t\)"),
    "int": (int, r"int\(t\)"),
    "complex": (complex, r"complex\(t\)"),
    "index": (lambda t: [1, 2][t], r"as an index"),
    "range": (range, r"as an index"),
    "asarray": (np.asarray, r"np\.asarray\(t\)"),
    "array of tensors": (lambda t: np.array([t, t]), r"np\.asarray\(t\)"),
    "a NumPy function": (lambda t: np.sum(t), r"np\.sum\(t\).*use tinygraph\.nn\.functional"),
    "len of a scalar": (len, r"scalar tensor has no len"),
    "a power": (lambda t: t**3, r"t \*\* 3: only powers 2 and 0\.5"),
    "setitem": (_item, r"t\[\.\.\.\] = v.*never changed in place.*%t"),
}


@pytest.mark.parametrize(("fn", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals_say_what_and_where(fn: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        trace(fn, ())
    assert current() is None
    if "needs the numbers" in str(caught.value) or "in place" in str(caught.value):
        assert re.search(HERE, str(caught.value))


def test_the_op_that_made_the_tensor_is_named() -> None:
    with pytest.raises(TraceError, match=rf"%relu: f32\[\].*{HERE}"):
        trace(lambda t: float(F.relu(t)), ())


def test_universal_functions_refuse_tensors() -> None:
    with pytest.raises(TypeError, match="Tensor"):
        trace(lambda t: np.exp(t), (2,))


def test_containment_is_a_comparison() -> None:
    with pytest.raises(TraceError, match="`if t`"):
        trace(_in, (2,))


def test_tensors_are_walked_row_by_row_if_the_number_of_rows_is_known() -> None:
    def fn(t: Any) -> Any:
        rows = list(t)
        assert len(t) == len(rows) == 3
        return rows[0] + rows[2]

    found = evaluate(trace(fn, (3, 2)), {"t": np.arange(6, dtype=np.float32).reshape(3, 2)})
    np.testing.assert_array_equal(found["output"], [4, 6])
    for walk in (len, list):
        with pytest.raises(TraceError, match="open N, it has no number while tracing"):
            trace(walk, ("N", 2))


def test_none_and_strings_are_no_numbers() -> None:
    for other in (None, "1", object()):
        with pytest.raises((TraceError, ShapeError), match="neither a tensor nor"):
            trace(lambda t, other=other: t + other, (1,))
        with pytest.raises((TraceError, ShapeError), match="neither a tensor nor"):
            trace(lambda t, other=other: t == other, (1,))


def test_a_function_must_return_tensors() -> None:
    with pytest.raises(TraceError, match="returned None"):
        trace(lambda t: None, (1,))
    with pytest.raises(TraceError, match="a str is neither a tensor nor an array"):
        trace(lambda t: (t, "x"), (1,))


# ---- leaked and mixed tensors ------------------------------------------------------------------


def test_a_tensor_does_not_outlive_its_trace() -> None:
    leaked: list[Any] = []
    trace(lambda t: leaked.append(t) or t + 1, (1,))
    with pytest.raises(TraceError, match="after its trace had ended"):
        leaked[0] + 1
    with pytest.raises(TraceError, match="after its trace had ended"):
        nn.ReLU()(leaked[0])
    with pytest.raises(TraceError, match="after its trace had ended"):
        trace(lambda t: t + leaked[0], (1,))


def test_a_leaked_tensor_is_not_taken_as_an_output() -> None:
    leaked: list[Any] = []
    trace(lambda t: leaked.append(t) or t + 1, (1,))
    with pytest.raises(TraceError, match="after its trace had ended"):
        trace(lambda t: leaked[0], (1,))


def test_two_traces_do_not_mix() -> None:
    def outer(t: Any) -> Any:
        tg.trace(lambda s: s + t, tg.Spec((1,)))
        return t

    with pytest.raises(TraceError, match="belongs to another trace"):
        trace(outer, (1,))


def test_traces_nest() -> None:
    inner: list[Graph] = []

    def outer(t: Any) -> Any:
        before = current()
        inner.append(tg.trace(lambda s: s * 2, tg.Spec((3,))))
        assert current() is before
        return t + 1

    assert ops_of(trace(outer, (1,))) == ["add"]
    assert ops_of(inner[0]) == ["mul"]


def test_an_exception_leaves_no_trace_behind() -> None:
    def fail(t: Any) -> Any:
        raise KeyError("mine")

    class Failing(nn.Module):
        def forward(self, x: Any) -> Any:
            return fail(x)

    for fn in (fail, Failing()):
        with pytest.raises(KeyError, match="mine"):
            tg.trace(fn, tg.Spec((1,)))
        assert current() is None
    leaked: list[Any] = []
    with pytest.raises(KeyError):
        tg.trace(lambda t: leaked.append(t) or fail(t), tg.Spec((1,)))
    with pytest.raises(TraceError, match="after its trace had ended"):
        leaked[0] + 1


def test_each_thread_has_its_own_trace() -> None:
    seen: list[Any] = []

    def fn(t: Any) -> Any:
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
        return t + 1

    trace(fn, (1,))
    assert seen == [None]


# ---- names, paths, places ----------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.act = nn.ReLU()

    def forward(self, x: Any) -> Any:
        y = self.act(self.conv(x))
        return self.act(self.conv(y)) + x


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, x: Any) -> Any:
        return self.blocks(x)


def test_a_layer_names_its_node_and_a_second_call_gets_a_number() -> None:
    graph = trace(Tower(), (1, 2, 4, 4))
    first = ["conv", "act", "conv.1", "act.1", "add"]
    assert names_of(graph) == [f"blocks.{i}.{name}" for i in (0, 1) for name in first]


def test_a_third_call_gets_the_next_number() -> None:
    layer = nn.Sequential({"act": nn.ReLU()})
    assert names_of(trace(lambda x: layer(layer(layer(x))), (1,))) == ["act", "act.1", "act.2"]


def test_nodes_know_their_module_and_their_line() -> None:
    graph = trace(Tower(), (1, 2, 4, 4))
    paths = [node.where.module for node in graph.nodes]
    assert paths[:5] == ["blocks.0.conv", "blocks.0.act", "blocks.0.conv", "blocks.0.act", "blocks.0"]
    line = Block.forward.__code__.co_firstlineno
    sources = [node.where.source for node in graph.nodes]
    assert sources[:2] == [f"tests/test_trace.py:{line + 1}"] * 2
    assert sources[2:5] == [f"tests/test_trace.py:{line + 2}"] * 3


def test_a_module_called_twice_has_its_parameters_once() -> None:
    graph = trace(Block(), (1, 2, 4, 4))
    assert [v.name for v in graph.data] == ["conv.weight", "conv.bias"]
    convs = [node for node in graph.nodes if node.op.name == "conv"]
    assert convs[0].inputs[1] is convs[1].inputs[1]


def test_tied_weights_are_one_value() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Linear(3, 3, bias=False)
            self.decode = nn.Linear(3, 3, bias=False)
            self.decode.weight = self.__dict__["_modules"]["encode"]._variables["weight"]

        def forward(self, x: Any) -> Any:
            return self.decode(self.encode(x))

    net = Tied()
    graph = trace(net, (1, 3))
    assert [v.name for v in graph.data] == ["encode.weight"]
    assert graph.nodes[0].inputs[1] is graph.nodes[1].inputs[1]
    assert sorted(net.state_dict()) == ["decode.weight", "encode.weight"]


def test_a_module_under_two_names_is_one_module() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(2, 2)
            self.b = self.a

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x))

    graph = trace(Shared(), (1, 2))
    assert names_of(graph) == ["a", "a.1"]
    assert [v.name for v in graph.data] == ["a.weight", "a.bias"]


def test_parameters_that_nobody_reads_are_kept() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(2, 2), nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            return self.used(x)

    kept = [v.name for v in trace(Half(), (1, 2)).data]
    assert kept == ["used.weight", "used.bias", "unused.weight", "unused.bias"]


def test_modules_inside_a_function() -> None:
    layer = nn.Linear(2, 2)
    graph = trace(lambda x: layer(layer(x)), (1, 2))
    assert len(graph.data) == 2
    assert ops_of(graph) == ["linear", "linear"]


def test_inputs_take_the_names_of_the_arguments() -> None:
    def fn(image: Any, mask: Any, *more: Any) -> Any:
        return image + mask + more[0]

    assert [v.name for v in trace(fn, (1,), (1,), (1,)).inputs] == ["image", "mask", "input.2"]
    named = tg.trace(fn, tg.Spec((1,), name="a"), tg.Spec((1,)), tg.Spec((1,), name="mask"))
    assert [v.name for v in named.inputs] == ["a", "mask", "mask.1"]


def test_outputs_take_the_names_of_the_structure() -> None:
    def outputs(fn: Callable[..., Any]) -> list[str]:
        return [name for name, _ in trace(fn, (1,)).outputs]

    assert outputs(lambda x: x + 1) == ["output"]
    assert outputs(lambda x: (x, x + 1)) == ["output.0", "output.1"]
    assert outputs(lambda x: [x + 1]) == ["output.0"]
    assert outputs(lambda x: {"logits": x + 1, 3: x}) == ["logits", "3"]


def test_unused_inputs_and_inputs_that_are_outputs() -> None:
    graph = trace(lambda a, unused, b: (a, b + 1), (1,), (2,), (1,))
    assert [v.name for v in graph.inputs] == ["a", "unused", "b"]
    assert graph.outputs[0][1] is graph.inputs[0]


def test_what_no_output_needs_is_dropped() -> None:
    def fn(x: Any) -> Any:
        F.relu(x)
        return F.tanh(x)

    assert ops_of(trace(fn, (1,))) == ["tanh"]


def test_shape_errors_name_the_module_and_the_line() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 6))
    with pytest.raises(ShapeError, match=rf"linear at 1 {HERE}: .*inputs: f32\[1,4\], f32\[6,5\]"):
        trace(net, (1, 3))


# ---- training ----------------------------------------------------------------------------------


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(2)

    def forward(self, x: Any) -> Any:
        assert self.training == (current() is not None and current().mode == "training")  # type: ignore[union-attr]
        return self.bn(self.bn(x))


def test_buffers_of_a_module_called_twice_are_chained() -> None:
    graph = trace(Normed(), (4, 2), mode="training")
    assert graph.mode == "training"
    names = [name for name, _ in graph.outputs]
    assert len(names) == len(set(names))
    assert {"bn.running_mean", "bn.running_var"} < set(names)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 2))
    found = evaluate(graph, {"x": x}, np.float64)
    first = 0.1 * x.mean(0)
    second_input = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    np.testing.assert_allclose(found["bn.running_mean"], 0.9 * first + 0.1 * second_input.mean(0), atol=1e-12)
    var = 0.9 * (0.9 + 0.1 * x.var(0, ddof=1)) + 0.1 * second_input.var(0, ddof=1)
    np.testing.assert_allclose(found["bn.running_var"], var)


def test_inference_updates_no_buffer() -> None:
    assert [name for name, _ in trace(Normed(), (4, 2)).outputs] == ["output"]


def test_dropout_has_one_key_and_a_stream_each() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
    graph = trace(net, (4, 2), mode="training")
    assert [v.name for v in graph.inputs][1:] == ["random_key"]
    streams = [node.op.stream for node in graph.nodes if node.op.name == "dropout"]  # type: ignore[attr-defined]
    assert len(streams) == len(set(streams)) == 2
    assert [v.name for v in trace(net, (4, 2)).inputs] == [graph.inputs[0].name]


def test_a_buffer_is_updated_only_in_a_trace() -> None:
    with pytest.raises(TraceError, match="only while a trace runs"):
        nn.BatchNorm1d(2).update("running_mean", np.zeros(2, np.float32))


# ---- the tensor itself -------------------------------------------------------------------------


def test_a_tensor_tells_its_type() -> None:
    def fn(t: Any) -> Any:
        assert isinstance(t, Tensor)
        assert (np.shape(t), np.ndim(t)) == (t.shape, t.ndim)
        assert (t.shape, t.dtype, t.ndim) == (("N", 3), np.dtype(np.float32), 2)
        assert repr(t) == "Tensor(%t: f32[N,3])"
        with pytest.raises(ShapeError, match="the dimension N"):
            _ = t.size
        assert t[:, 0].reshape(-1).shape == ("N",)
        return t

    trace(fn, ("N", 3))


def test_tensors_are_keys_by_identity() -> None:
    def fn(a: Any, b: Any) -> Any:
        assert len({a: 1, b: 2}) == 2
        return a

    trace(fn, (1,), (1,))


def test_inputs_and_specs_must_match() -> None:
    net = nn.Linear(3, 2)
    with pytest.raises(UsageError, match=r"Linear\(x\) does not take 0 inputs \(missing a required argument: 'x'\)"):
        tg.trace(net)
    with pytest.raises(UsageError, match="does not take 2 inputs"):
        tg.trace(net, tg.Spec((1, 3)), tg.Spec((1, 3)))
    with pytest.raises(UsageError, match=r"got \(1, 3\)"):
        tg.trace(net, (1, 3))


def test_errors_in_front_of_an_op_name_the_module_too() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv2d(3, 4, 3)))
    with pytest.raises(ShapeError, match=r"^in 1\.0: ") as error:
        tg.trace(net, tg.Spec((1, 3, 8)))
    assert str(error.value).count("1.0") == 1
    with pytest.raises(ShapeError, match=r"^conv at 1\.0 .*the input has 5"):
        tg.trace(net, tg.Spec((1, 5, 8, 8)))
