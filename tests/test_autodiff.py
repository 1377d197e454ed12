"""Gradients are graphs: the right numbers, the right interface, and no more nodes than needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.growth import assert_linear
from tinygraph import nn, ops
from tinygraph.autodiff import gradients, vjp_graph
from tinygraph.errors import NotDifferentiable, ShapeError, UsageError
from tinygraph.ir import Array, Graph, TensorType
from tinygraph.ops.base import Op, apply, family, no_flops, no_macs, not_differentiable, not_in_onnx
from tinygraph.runtime.evaluate import evaluate

STEP = 1e-6


def spec(*shape: Any, dtype: Any = np.float64) -> tg.Spec:
    return tg.Spec(shape, dtype)


def draw(graph: Graph, seed: int = 0, **dims: int) -> dict[str, Array]:
    """Normally distributed inputs for a graph of float64."""
    rng = np.random.default_rng(seed)
    return {v.name: rng.standard_normal(v.type.bind(dims).dims) for v in graph.inputs}


def numeric(graph: Graph, arrays: Mapping[str, Array], cotangents: Mapping[str, Array], name: str) -> Array:
    """The gradient by one input, from central differences."""
    result = np.zeros(arrays[name].shape)
    for i in np.ndindex(result.shape):
        ends = []
        for sign in (1, -1):
            moved = arrays[name].copy()
            moved[i] += sign * STEP
            outputs = evaluate(graph, {**arrays, name: moved})
            ends.append(sum(float(np.sum(outputs[o] * c)) for o, c in cotangents.items()))
        result[i] = (ends[0] - ends[1]) / (2 * STEP)
    return result


def check(fn: Callable[..., Any], *specs: tg.Spec, **dims: int) -> Graph:
    """Compares the vjp of a function with finite differences; returns the gradient graph."""
    graph = tg.trace(fn, *specs)
    names = [v.name for v in graph.inputs]
    derived = tg.verify(vjp_graph(graph, wrt=names))
    arrays = draw(graph, **dims)
    rng = np.random.default_rng(1)
    outputs = evaluate(graph, arrays)
    cotangents = {name: rng.standard_normal(y.shape) for name, y in outputs.items()}
    found = evaluate(derived, {**arrays, **{f"cotangent.{o}": c for o, c in cotangents.items()}})
    for name, y in outputs.items():
        np.testing.assert_array_equal(found[name], y)
    for name in names:
        want = numeric(graph, arrays, cotangents, name)
        np.testing.assert_allclose(found[f"grad.{name}"], want, rtol=1e-6, atol=1e-7, err_msg=name)
    return derived


def op_names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


# ---- ops of this file only ---------------------------------------------------------------------


class Plain(Op):
    """An op that is not filed anywhere."""

    arity = (1, 1)
    macs = no_macs
    flops = no_flops
    to_onnx = not_in_onnx("it is a test")

    def infer(self, x: TensorType) -> TensorType:
        return x

    def kernel(self, x: Array) -> Array:
        return x.copy()


@family
class Opaque(Plain):
    name = "opaque"
    vjp = not_differentiable("nobody looked inside")


@family
class WrongRule(Plain):
    """y = 2x, whose rule forgets the 2, or returns a wrong shape."""

    name = "wrong_rule"
    shape: str = "right"

    def kernel(self, x: Array) -> Array:
        return 2 * x

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        g = cotangents[0]
        return [
            {"right": g, "larger": ops.concat([g, g], 0), "smaller": ops.sum(g), "other": ops.cast(g, "float16")}[
                self.shape
            ]
        ]


@family
class Split(Plain):
    """(x, 2x, x as an integer): several outputs, one of which has no gradient."""

    name = "split"
    labels = ("one", "two", "int")

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return x, x, x.with_dtype(np.int64)

    def kernel(self, x: Array) -> tuple[Array, ...]:
        return x.copy(), 2 * x, x.astype(np.int64)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        one, two, integer = cotangents
        assert integer is None
        terms = [t * k for t, k in ((one, 1.0), (two, 2.0)) if t is not None]
        return [sum(terms[1:], terms[0])]


# ---- numbers -----------------------------------------------------------------------------------


SHAPES = [
    ((2, 3, 4), (2, 3, 4)),
    ((2, 3, 4), (4,)),
    ((2, 3, 4), (3, 1)),
    ((2, 3, 4), (1, 1, 4)),
    ((2, 3, 4), ()),
    ((2, 1, 4), (3, 1)),
    ((1,), (3,)),
    ((2, 3, 2, 2), (3, 1, 1)),
    ((1, 1), (2, 1, 1, 3)),
]


@pytest.mark.parametrize(("a", "b"), SHAPES)
@pytest.mark.parametrize("op", [ops.add, ops.mul, ops.div], ids=["add", "mul", "div"])
def test_cotangents_of_broadcast_inputs_are_summed(op: Any, a: Any, b: Any) -> None:
    check(op, spec(*a), spec(*b))
    check(op, spec(*b), spec(*a))


def test_open_dimensions_broadcast_too() -> None:
    derived = check(lambda a, b, c: a * b + c, spec("N", 3), spec(3), spec(1, 3), N=2)
    assert dict(derived.outputs)["grad.a"].type.shape == ("N", 3)


def test_unbroadcasting_takes_one_sum() -> None:
    graph = tg.trace(lambda x, b: x + b, spec(2, 3, 4, 4), spec(3, 1, 1))
    derived = vjp_graph(graph, wrt=["b"])
    assert op_names(derived) == ["add", "sum", "reshape"]


def test_a_value_read_many_times_accumulates() -> None:
    check(lambda x: (x * x + ops.exp(x)) * x - x, spec(3))


def test_add_of_a_value_to_itself() -> None:
    check(lambda x: x + x, spec(2, 2))


def test_several_outputs_each_have_a_cotangent() -> None:
    check(lambda x, y: {"p": x * y, "q": ops.exp(x), "r": ops.sum(y)}, spec(2, 3), spec(3))


def test_one_value_under_two_output_names() -> None:
    def fn(x: Any) -> Any:
        y = ops.exp(x)
        return {"a": y, "b": y, "c": x}

    check(fn, spec(3))


def test_convolution_network() -> None:
    def fn(x: Any, w: Any, b: Any, v: Any) -> Any:
        h = ops.tanh(ops.conv2d(x, w, b, stride=2, padding=1))
        return ops.linear(ops.flatten(h), v)

    check(fn, spec(2, 2, 5, 5), spec(3, 2, 3, 3), spec(3), spec(2, 27))


def test_the_comparison_with_differences_rejects_a_wrong_rule() -> None:
    with pytest.raises(AssertionError, match="x"):
        check(lambda x: apply(WrongRule(), x), spec(2))


def test_gradient_of_a_scalar() -> None:
    graph = tg.trace(lambda x, w: ops.sum(x * x * w), spec(3), spec(3))
    derived = tg.verify(gradients(graph, wrt=["w", "x"]))
    assert [v.name for v in derived.inputs] == ["x", "w"]
    assert [name for name, _ in derived.outputs] == ["output", "grad.w", "grad.x"]
    arrays = draw(graph)
    found = evaluate(derived, arrays)
    np.testing.assert_allclose(found["grad.w"], arrays["x"] ** 2)
    np.testing.assert_allclose(found["grad.x"], 2 * arrays["x"] * arrays["w"])


# ---- higher orders -----------------------------------------------------------------------------


def test_second_and_third_derivative() -> None:
    graph = tg.trace(lambda x: ops.sum(x * x * x * x), spec(2))
    x, v, u = np.array([0.5, -2.0]), np.array([1.0, 3.0]), np.array([-1.0, 0.25])
    first = gradients(graph, wrt=["x"])
    second = tg.verify(vjp_graph(first, wrt=["x"], outputs=["grad.x"]))
    found = evaluate(second, {"x": x, "cotangent.grad.x": v})
    np.testing.assert_allclose(found["grad.x"], 4 * x**3)
    np.testing.assert_allclose(found["grad.x.1"], 12 * x**2 * v)
    third = tg.verify(vjp_graph(second, wrt=["x"], outputs=["grad.x.1"]))
    found = evaluate(third, {"x": x, "cotangent.grad.x": v, "cotangent.grad.x.1": u})
    np.testing.assert_allclose(found["grad.x.2"], 24 * x * v * u)


def test_vjp_of_the_vjp_by_its_cotangent_pushes_forward() -> None:
    graph = tg.trace(lambda x: ops.exp(x) * ops.sum(x), spec(3))
    pull = vjp_graph(graph, wrt=["x"])
    push = tg.verify(vjp_graph(pull, wrt=["cotangent.output"], outputs=["grad.x"]))
    x, direction = draw(graph)["x"], np.array([0.3, -1.0, 2.0])
    given = {"x": x, "cotangent.output": np.zeros(3), "cotangent.grad.x": direction}
    ends = [evaluate(graph, {"x": x + s * STEP * direction})["output"] for s in (1, -1)]
    want = (ends[0] - ends[1]) / (2 * STEP)
    np.testing.assert_allclose(evaluate(push, given)["grad.cotangent.output"], want, rtol=1e-6)


# ---- which values ------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3)
        self.bn = nn.BatchNorm2d(2)
        self.conv2 = nn.Conv2d(2, 2, 3)
        self.fixed = nn.Parameter((2,), dtype=np.float32, trainable=False)
        self.unused = nn.Parameter((5, 7))

    def forward(self, x: Any) -> Any:
        y = ops.relu(self.bn(self.conv1(x)))
        return ops.mean(ops.mean(self.conv2(y), (2, 3)) + self.fixed)


def net_graph(mode: Any = "inference") -> Graph:
    return tg.trace(Net(), tg.Spec((2, 1, 8, 8)), mode=mode)


def grads(graph: Graph) -> list[str]:
    return [name for name, _ in graph.outputs if name.startswith("grad.")]


def test_by_default_every_trainable_parameter() -> None:
    derived = tg.verify(gradients(net_graph()))
    trainable = ["conv1.weight", "conv1.bias", "bn.weight", "bn.bias", "conv2.weight", "conv2.bias", "unused"]
    assert sorted(grads(derived)) == sorted(f"grad.{name}" for name in trainable)


def test_no_gradient_of_the_input_is_computed_unasked() -> None:
    derived = gradients(net_graph())
    assert op_names(derived).count("conv_transpose") == 1  # through conv2, not through conv1
    wanted = gradients(net_graph(), wrt=["x"])
    assert op_names(wanted).count("conv_transpose") == 2
    assert "conv_weight_grad" not in op_names(wanted)


def test_without_influence_the_gradient_is_zero_and_takes_no_memory() -> None:
    derived = gradients(net_graph(), wrt=["unused", "conv2.weight"])
    value = dict(derived.outputs)["grad.unused"]
    assert value.type == TensorType((5, 7))
    x = np.ones((2, 1, 8, 8), np.float32)
    found = evaluate(derived, {"x": x})["grad.unused"]
    np.testing.assert_array_equal(found, np.zeros((5, 7)))
    assert all(derived.array(v).size < 35 for v in derived.data if v.kind == "const")


def test_without_influence_and_with_an_open_dimension() -> None:
    graph = tg.trace(lambda x, y: ops.sum(y), spec("N", 2), spec("N"))
    derived = tg.verify(gradients(graph, wrt=["x"]))
    found = evaluate(derived, {"x": np.ones((3, 2)), "y": np.ones(3)})["grad.x"]
    np.testing.assert_array_equal(found, np.zeros((3, 2)))


def test_by_buffers_frozen_constants_and_computed_values() -> None:
    graph = net_graph()
    bn = next(node.name for node in graph.nodes if node.op.name == "batch_norm")
    derived = tg.verify(gradients(graph, wrt=["fixed", "bn.running_mean", bn]))
    assert grads(derived) == ["grad.fixed", "grad.bn.running_mean", f"grad.{bn}"]
    x = np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(np.float32)
    found = evaluate(derived, {"x": x}, np.float64)
    np.testing.assert_allclose(found["grad.fixed"], [0.5, 0.5])
    # bn = gamma (x - mean) / sqrt(var + eps) + beta, with gamma = var = 1
    by_mean = -found[f"grad.{bn}"].sum((0, 2, 3)) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(found["grad.bn.running_mean"], by_mean)

    graph = tg.trace(lambda x: ops.sum(x * np.array([2.0, 3.0])), spec(2))
    const = next(v.name for v in graph.data)
    found = evaluate(gradients(graph, wrt=[const]), {"x": np.array([5.0, 7.0])})
    np.testing.assert_array_equal(found[f"grad.{const}"], [5, 7])


def test_by_a_computed_value_and_by_what_it_is_computed_from() -> None:
    graph = tg.trace(lambda x: ops.sum(ops.exp(x) * x), spec(2))
    exp = graph.nodes[0].name
    x = np.array([0.5, 2.0])
    found = evaluate(gradients(graph, wrt=[exp, "x"]), {"x": x})
    np.testing.assert_allclose(found[f"grad.{exp}"], x)
    np.testing.assert_allclose(found["grad.x"], np.exp(x) * (1 + x))


def test_by_the_output_itself() -> None:
    graph = tg.trace(lambda x: ops.sum(x), spec(2))
    name = graph.nodes[0].name
    assert evaluate(gradients(graph, wrt=[name]), {"x": np.ones(2)})[f"grad.{name}"] == 1.0


def test_only_chosen_outputs_get_cotangents() -> None:
    graph = tg.trace(lambda x: {"a": x * x, "b": ops.exp(x)}, spec(2))
    derived = vjp_graph(graph, wrt=["x"], outputs=["b"])
    assert [v.name for v in derived.inputs] == ["x", "cotangent.b"]
    assert [name for name, _ in derived.outputs] == ["a", "b", "grad.x"]


def test_next_values_of_buffers_are_not_taken_for_the_loss() -> None:
    graph = net_graph("training")
    assert len(graph.outputs) > 1
    derived = tg.verify(gradients(graph))
    assert derived.mode == "training"
    assert [name for name, _ in derived.outputs][: len(graph.outputs)] == [name for name, _ in graph.outputs]


def test_names_that_are_taken_get_a_number() -> None:
    def fn(x: Any) -> Any:
        return {"grad.x": ops.exp(x), "y": x * x}

    graph = tg.trace(fn, tg.Spec((2,), np.float64, name="x"))
    derived = tg.verify(vjp_graph(graph, wrt=["x"], outputs=["y"]))
    assert [name for name, _ in derived.outputs] == ["grad.x", "y", "grad.x.1"]
    found = evaluate(derived, {"x": np.array([1.0, 3.0]), "cotangent.y": np.ones(2)})
    np.testing.assert_array_equal(found["grad.x.1"], [2, 6])


# ---- which nodes -------------------------------------------------------------------------------


def test_integer_outputs_and_unread_outputs_have_no_cotangent() -> None:
    def both(x: Any) -> Any:
        one, two, integer = apply(Split(), x)
        return {"y": one * two, "i": integer}

    def second_only(x: Any) -> Any:
        return apply(Split(), x)[1]

    graph = tg.trace(both, spec(2))
    derived = vjp_graph(graph, wrt=["x"])
    assert [v.name for v in derived.inputs] == ["x", "cotangent.y"]
    found = evaluate(derived, {"x": np.array([1.0, 3.0]), "cotangent.y": np.ones(2)})
    np.testing.assert_array_equal(found["grad.x"], [4, 12])
    found = evaluate(gradients(tg.trace(lambda x: ops.sum(second_only(x)), spec(2)), wrt=["x"]), {"x": np.ones(2)})
    np.testing.assert_array_equal(found["grad.x"], [2, 2])


def test_ops_off_the_path_are_not_asked() -> None:
    def fn(x: Any, y: Any) -> Any:
        hidden = apply(Opaque(), y)  # not differentiable, but not by x either
        return {"loss": ops.sum(x * hidden), "seen": apply(Opaque(), x)}

    graph = tg.trace(fn, spec(2), spec(2))
    found = evaluate(gradients(graph, "loss", ["x"]), {"x": np.ones(2), "y": np.array([3.0, 4.0])})
    np.testing.assert_array_equal(found["grad.x"], [3, 4])


def test_what_makes_a_source_or_an_independent_output_is_not_asked() -> None:
    def fn(x: Any) -> Any:
        hidden = apply(Opaque(), x)
        return {"y": ops.exp(hidden), "hidden": hidden}

    graph = tg.trace(fn, spec(2))
    derived = vjp_graph(graph, wrt=["opaque"])
    given = {"x": np.zeros(2), "cotangent.y": np.ones(2), "cotangent.hidden": np.array([2.0, 3.0])}
    np.testing.assert_array_equal(evaluate(derived, given)["grad.opaque"], [3, 4])


def test_integers_on_the_way_stop_the_gradient() -> None:
    graph = tg.trace(lambda x: ops.sum(ops.cast(ops.cast(x, np.int64), np.float64) * x), spec(2))
    found = evaluate(gradients(graph, wrt=["x"]), {"x": np.array([1.5, 2.5])})
    np.testing.assert_array_equal(found["grad.x"], [1, 2])


def test_nodes_stand_where_their_forward_node_stands() -> None:
    graph = net_graph()
    derived = gradients(graph)
    known = {node.where for node in graph.nodes}
    forward = {node.name for node in graph.nodes}
    backward = [node for node in derived.nodes if node.name not in forward]
    assert {node.where for node in backward if str(node.where)} <= known
    weight = next(node for node in backward if node.op.name == "conv_weight_grad")
    assert weight.name.startswith(weight.where.module)
    assert weight.where.source.startswith("tests/test_autodiff.py:")


def test_the_graph_that_comes_in_is_left_alone() -> None:
    graph = net_graph()
    before = str(graph)
    first = gradients(graph)
    assert str(graph) == before
    assert str(first) == str(gradients(graph))
    assert first.nodes[: len(graph.nodes)] == graph.nodes


# ---- refusals ----------------------------------------------------------------------------------


def test_integers_are_not_differentiable() -> None:
    graph = tg.trace(lambda x, i: ops.sum(x * ops.cast(i, np.float64)), spec(2), spec(2, dtype=np.int64))
    with pytest.raises(NotDifferentiable, match=r"%i: i64\[2\] holds no floating-point numbers"):
        gradients(graph, wrt=["x", "i"])
    graph = tg.trace(lambda x: {"i": ops.cast(x, np.int64), "y": x}, spec(2))
    with pytest.raises(NotDifferentiable, match="%cast"):
        vjp_graph(graph, wrt=["x"], outputs=["i"])


def test_an_op_without_a_gradient_is_named_with_its_place() -> None:
    class Inner(nn.Module):
        def forward(self, x: Any) -> Any:
            return apply(Opaque(), x)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def forward(self, x: Any) -> Any:
            return ops.sum(self.inner(x))

    graph = tg.trace(Outer(), spec(2))
    pattern = r"opaque has no gradient: nobody looked inside.*'inner\.opaque' at inner tests/test_autodiff\.py:\d+"
    with pytest.raises(NotDifferentiable, match=pattern):
        gradients(graph, wrt=["x"])


@pytest.mark.parametrize("shape", ["larger", "smaller", "other"])
def test_a_rule_that_returns_another_type_is_named(shape: str) -> None:
    graph = tg.trace(lambda x: ops.sum(apply(WrongRule(shape), x)), spec(3))
    with pytest.raises(ShapeError, match=r"gradient rule of .*wrong_rule.* for an input of type f64\[3\]"):
        gradients(graph, wrt=["x"])


def refused(message: str, fn: Callable[..., Graph], *args: Any, **named: Any) -> None:
    with pytest.raises(UsageError, match=message):
        fn(*args, **named)


def test_unclear_questions_are_refused() -> None:
    scalar = tg.trace(lambda x: ops.sum(x), spec(2))
    vector = tg.trace(lambda x: x * x, spec(2))
    two = tg.trace(lambda x: {"a": ops.sum(x), "b": ops.mean(x)}, spec(2))
    refused("no trainable parameters", gradients, scalar)
    refused("no value named 'w', 'v'", gradients, scalar, wrt=["x", "w", "v"])
    refused("not a scalar", gradients, vector, wrt=["x"])
    refused("2 outputs .a, b.: say which", gradients, two, wrt=["x"])
    refused("no output 'c'; it has 'a', 'b'", gradients, two, "c", ["x"])
    refused("no output 'c'", vjp_graph, two, ["x"], ["c"])


# ---- size --------------------------------------------------------------------------------------


def chain(length: int) -> Graph:
    def fn(x: Any) -> Any:
        for _ in range(length):
            x = ops.exp(x)
        return ops.sum(x)

    return tg.trace(fn, spec(2))


def test_a_long_chain_takes_linear_time() -> None:
    small, large = chain(5_000), chain(20_000)
    assert_linear(lambda graph: gradients(graph, wrt=["x"]), small, large)
    assert len(gradients(large, wrt=["x"]).nodes) > 40_000
