"""Types, graphs, the builder, the index and the rewriter."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.growth import assert_linear
from tinygraph import ops
from tinygraph.build import Builder
from tinygraph.errors import ShapeError, UsageError
from tinygraph.ir import Graph, Node, Symbol, TensorType, Value, Where, frozen
from tinygraph.ops.arithmetic import Add
from tinygraph.ops.elementwise import Cast, Exp, Relu
from tinygraph.ops.matmul import Linear
from tinygraph.ops.norm import BatchNormTrain
from tinygraph.rewrite import Index, Rewriter, rewrite
from tinygraph.text import equal

X = TensorType((2, 3))


def graph_of(fn: Callable[..., Any], *shapes: Any) -> Graph:
    return tg.trace(fn, *(tg.Spec(shape) for shape in shapes))


# ---- types -------------------------------------------------------------------------------------


def test_a_type_tells_its_size() -> None:
    type = TensorType((2, 3, 4), "float16")
    assert (type.ndim, type.size, type.nbytes, type.dims) == (3, 24, 48, (2, 3, 4))
    assert type.is_static
    assert str(type) == "f16[2,3,4]"
    assert TensorType(()).size == 1
    assert TensorType((0, 5)).nbytes == 0


def test_sizes_are_python_ints_and_do_not_overflow() -> None:
    type = TensorType((np.int32(2**31 - 1), np.int64(2**40), 2**40), np.float64)
    assert all(isinstance(d, int) and not isinstance(d, np.integer) for d in type.shape)
    assert type.nbytes == (2**31 - 1) * 2**80 * 8


def test_equal_types_are_equal_keys() -> None:
    assert TensorType([2, 3]) == TensorType((np.int64(2), 3), "f4")  # type: ignore[arg-type]  # a list is taken
    assert len({TensorType((2,)), TensorType((2,), np.float32), TensorType((2,), np.float64)}) == 2


@pytest.mark.parametrize(
    "dim", [-1, 1.0, True, None, "", "two words", "3", "N+1", "True", "nan", Symbol("a b"), np.float32(2)]
)
def test_what_is_no_dimension(dim: Any) -> None:
    with pytest.raises(ShapeError, match="is not a dimension: give a whole number >= 0, or a name such as 'N'"):
        TensorType((2, dim))


def test_open_dimensions() -> None:
    type = TensorType(("N", 3, "N"))
    assert type.shape == (Symbol("N"), 3, Symbol("N"))
    assert not type.is_static
    assert str(type) == "f32[N,3,N]"
    assert repr(type.shape) == "(N, 3, N)"
    for ask in ("dims", "size", "nbytes"):
        with pytest.raises(ShapeError, match=r"the dimension N of f32\[N,3,N\] has no number yet: bind it first"):
            getattr(type, ask)
    assert type.bind({"N": 2, "M": 5}) == TensorType((2, 3, 2))
    with pytest.raises(ShapeError):
        type.bind({"N": -2})


def test_with_shape_and_with_dtype() -> None:
    assert X.with_shape((5,)) == TensorType((5,))
    assert X.with_dtype(bool) == TensorType((2, 3), np.bool_)
    assert str(X.with_dtype(bool)) == "bool[2,3]"


# ---- immutability ------------------------------------------------------------------------------


def test_nothing_can_be_assigned() -> None:
    graph = graph_of(lambda x: ops.relu(x), (2,))
    value, node = graph.inputs[0], graph.nodes[0]
    for thing, name in (
        (value, "name"),
        (node, "op"),
        (graph, "nodes"),
        (value.type, "shape"),
        (node.op, "extra"),
        (Where(), "module"),
    ):
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            setattr(thing, name, None)
    with pytest.raises(TypeError):
        graph.data[value] = np.ones(2)  # type: ignore[index]  # that is the point


def test_values_and_nodes_are_compared_by_identity() -> None:
    assert Value("x", X) != Value("x", X)
    assert len({Value("x", X), Value("x", X)}) == 2


def test_data_is_frozen() -> None:
    array = np.ones(3)
    kept = frozen(array)
    array[0] = 5
    assert kept[0] == 1
    assert not kept.flags.writeable
    assert frozen(kept) is kept


def test_a_read_only_view_of_something_writable_is_copied() -> None:
    array = np.ones(3)
    view = array[:2]
    view.flags.writeable = False
    kept = frozen(view)
    array[0] = 5
    assert kept[0] == 1


# ---- builder -----------------------------------------------------------------------------------


def test_names_are_made_unique() -> None:
    build = Builder()
    x = build.input("x", X)
    names = [build.emit(Relu(), [x], ["x"])[0].name for _ in range(3)]
    assert names == ["x.1", "x.2", "x.3"]
    assert build.emit(Relu(), [x])[0].name == "relu"
    assert build.fresh("x.2") == "x.2.1"
    assert build.input("x", X).name == "x.4"
    assert build.const(np.ones(1)).name == "const"
    assert build.const(np.ones(1)).name == "const.1"


def test_several_outputs_are_named_by_their_labels() -> None:
    build = Builder()
    x, a, b = build.input("x", X), build.input("a", TensorType((3,))), build.input("b", TensorType((3,)))
    assert [v.name for v in build.emit(BatchNormTrain(), [x, a, b], ["bn"])] == ["bn", "bn.mean", "bn.var"]
    named = build.emit(BatchNormTrain(), [x, a, b], ["y", "m", "v"])
    assert [v.name for v in named] == ["y", "m", "v"]


def test_types_are_inferred_and_refusals_say_where() -> None:
    build = Builder()
    x, y = build.input("x", X), build.input("y", TensorType((4,)))
    (z,) = build.emit(Add(), [x, x])
    assert z.type == X
    with pytest.raises(ShapeError, match=r"add at net\.head a\.py:3: .*inputs: f32\[2,3\], f32\[4\]"):
        build.emit(Add(), [x, y], where=Where("net.head", "a.py:3"))
    with pytest.raises(ShapeError, match="add: takes 2 inputs, got 1"):
        build.emit(Add(), [x])
    with pytest.raises(ShapeError, match="takes 2 to 3 inputs, got 1"):
        build.emit(Linear(), [x])


def test_dead_nodes_and_constants_vanish_but_parameters_stay() -> None:
    build = Builder()
    x = build.input("x", X)
    unused = build.input("unused", X)
    param = build.declare("param", "w", np.ones(3, np.float32))
    buffer = build.declare("buffer", "m", np.ones(3, np.float32))
    const = build.const(np.ones(3, np.float32))
    (dead,) = build.emit(Add(), [x, const])
    build.emit(Relu(), [dead])
    (y,) = build.emit(Relu(), [x])
    graph = build.finish([("y", y)])
    assert graph.inputs == (x, unused)
    assert [node.name for node in graph.nodes] == ["relu"]
    assert list(graph.data) == [param, buffer]
    assert list(build.finish([("y", y)], keep_data=False).data) == []


def test_a_name_that_came_free_is_given_back() -> None:
    build = Builder()
    x = build.input("x", X)
    build.emit(Relu(), [x], ["y"])  # dead
    (y,) = build.emit(Exp(), [x], ["y"])
    (z,) = build.emit(Relu(), [y], ["z"])
    assert y.name == "y.1"
    graph = tg.verify(build.finish([("out", z), ("same", y)]))
    assert [node.name for node in graph.nodes] == ["y", "z"]
    assert dict(graph.outputs)["same"].name == "y"


def test_data_is_read_only_in_the_graph() -> None:
    build = Builder()
    numbers = np.zeros(3, np.float32)
    w = build.declare("param", "w", numbers)
    numbers[0] = 9
    graph = build.finish([("w", w)])
    np.testing.assert_array_equal(graph.array(w), [0, 0, 0])
    assert not graph.array(w).flags.writeable


# ---- graph -------------------------------------------------------------------------------------


def small() -> Graph:
    return graph_of(lambda x: {"y": ops.exp(ops.relu(x) + 1), "x": x}, ("N", 3))


def test_values_in_the_order_of_definition() -> None:
    graph = small()
    assert [v.name for v in graph.values()] == ["x", "const", "relu", "add", "exp"]
    assert graph.value("add") is graph.nodes[1].outputs[0]
    with pytest.raises(UsageError, match="no value named 'sub'"):
        graph.value("sub")


def test_representations() -> None:
    graph = small()
    assert repr(graph.inputs[0]) == "%x: f32[N,3]"
    assert repr(graph.nodes[1]) == "%add: f32[N,3] = add()(%relu, %const)"
    assert str(Where("a.b", "c.py:1")) == "a.b c.py:1"
    assert str(Where("", "c.py:1")) == "c.py:1"


def test_binding_open_dimensions() -> None:
    graph = graph_of(lambda x, y: ops.reshape(ops.relu(x), (-1,)) + y, ("N", 1), ("N",))
    before = str(graph)
    assert graph.symbols == ("N",)
    bound = tg.verify(graph.bind(N=4))
    assert bound.symbols == ()
    assert [str(node.outputs[0].type) for node in bound.nodes] == ["f32[4,1]", "f32[4]", "f32[4]"]
    assert "N" not in str(bound).split("\n", 1)[1]
    assert [node.name for node in bound.nodes] == [node.name for node in graph.nodes]
    assert [node.where for node in bound.nodes] == [node.where for node in graph.nodes]
    assert str(graph) == before
    assert bound.bind() is bound


def test_binding_keeps_what_stays_open() -> None:
    graph = graph_of(lambda x: x + 1, ("N", "M"))
    assert graph.symbols == ("N", "M")
    assert graph.bind(M=3).symbols == ("N",)
    with pytest.raises(UsageError, match="no dimension is named K, L; open are: N, M"):
        graph.bind(L=1, K=1, N=1)
    with pytest.raises(ShapeError, match="-1 is not a dimension"):
        graph.bind(N=-1)


def test_binding_what_does_not_fit_is_refused() -> None:
    graph = graph_of(lambda x: ops.softmax(x, 1), (2, "N"))
    with pytest.raises(ShapeError, match="empty"):
        graph.bind(N=0)


def test_binding_shares_the_numbers() -> None:
    graph = graph_of(lambda x: x + np.ones((1, 3), np.float32), ("N", 3))
    bound = graph.bind(N=2)
    (const,), (same,) = graph.data.values(), bound.data.values()
    assert const is same


# ---- index -------------------------------------------------------------------------------------


def test_who_makes_and_who_reads() -> None:
    graph = graph_of(lambda x: {"a": ops.relu(x), "b": ops.exp(x * x)}, (2,))
    index = Index(graph)
    x = graph.inputs[0]
    relu, mul, exp = graph.nodes
    assert index.maker(x) is None
    assert index.maker(mul.outputs[0]) is mul
    assert list(index.users(x)) == [relu, mul, mul]
    assert list(index.users(exp.outputs[0])) == []
    assert index.sole_reader(mul.outputs[0]) is exp
    assert index.sole_reader(x) is None
    assert index.outputs == {relu.outputs[0], exp.outputs[0]}


def test_an_output_has_no_sole_reader() -> None:
    def fn(x: Any) -> Any:
        y = ops.relu(x)
        return y, ops.exp(y)

    graph = graph_of(fn, (2,))
    assert Index(graph).sole_reader(graph.nodes[0].outputs[0]) is None


# ---- rewriting ---------------------------------------------------------------------------------


def keep(node: Node, rw: Rewriter) -> None:
    return None


def relu_to_exp(node: Node, rw: Rewriter) -> Any:
    return rw.emit(Exp(), *node.inputs) if isinstance(node.op, Relu) else None


def drop_relu(node: Node, rw: Rewriter) -> Any:
    return node.inputs[0] if isinstance(node.op, Relu) else None


def test_nothing_to_do_gives_the_graph_itself() -> None:
    graph = small()
    assert rewrite(graph, keep) is graph


def test_the_input_of_a_rewrite_is_untouched() -> None:
    graph = small()
    before, nodes = str(graph), graph.nodes
    changed = tg.verify(rewrite(graph, relu_to_exp))
    assert changed is not graph
    assert str(graph) == before
    assert graph.nodes is nodes


def test_a_replacement_takes_the_name_the_place_and_the_origin() -> None:
    graph = small()
    changed = rewrite(graph, relu_to_exp)
    assert [(n.op.name, n.name) for n in changed.nodes] == [("exp", "relu"), ("add", "add"), ("exp", "exp")]
    assert changed.nodes[0].where == graph.nodes[0].where
    assert changed.nodes[0].origins == ("relu",)
    assert changed.nodes[1].origins == ()
    assert changed.nodes[1].ancestry == ("add",)
    again = rewrite(changed, lambda node, rw: rw.emit(Relu(), *node.inputs) if node.name == "relu" else None)
    assert again.nodes[0].ancestry == ("relu",)


def test_nodes_that_do_not_change_are_the_same_nodes() -> None:
    graph = graph_of(lambda x: ops.exp(ops.tanh(x)) + ops.relu(x), (2,))
    changed = rewrite(graph, relu_to_exp)
    assert changed.nodes[0] is graph.nodes[0]
    assert changed.nodes[1] is graph.nodes[1]


def test_several_nodes_become_one() -> None:
    graph = graph_of(lambda x: ops.exp(ops.relu(x)), (2,))

    def merge(node: Node, rw: Rewriter) -> Any:
        maker = rw.index.maker(node.inputs[0])
        if isinstance(node.op, Exp) and maker is not None:
            return rw.emit(Relu(), *maker.inputs, of=(maker, node))
        return None

    changed = tg.verify(rewrite(graph, merge))
    (node,) = changed.nodes
    assert node.origins == ("relu", "exp")
    assert node.where == graph.nodes[0].where
    assert node.name == "exp"


def test_removing_a_node_keeps_the_interface() -> None:
    graph = graph_of(lambda x: ops.relu(x), (2,))
    changed = tg.verify(rewrite(graph, drop_relu))
    assert changed.nodes == ()
    assert changed.outputs == (("output", changed.inputs[0]),)
    assert changed.inputs == graph.inputs


def test_later_rules_see_what_became_of_a_value() -> None:
    graph = graph_of(lambda x: ops.relu(ops.relu(x)) + 1, (2,))
    seen: list[Any] = []

    def rule(node: Node, rw: Rewriter) -> Any:
        seen.append((rw[node.inputs[0]], rw.maker(node.inputs[0])))
        return drop_relu(node, rw)

    changed = rewrite(graph, rule)
    assert seen == [(graph.inputs[0], None)] * 3
    assert [node.op.name for node in changed.nodes] == ["add"]
    assert changed.nodes[0].inputs[0] is graph.inputs[0]


def test_a_replacement_of_another_type_is_refused() -> None:
    graph = small()

    def wrong(node: Node, rw: Rewriter) -> Any:
        return rw.emit(Cast("float64"), node.inputs[0]) if isinstance(node.op, Relu) else None

    with pytest.raises(ShapeError, match=r"a rule replaced %relu: f32\[N,3\] by .*f64\[N,3\], of another type"):
        rewrite(graph, wrong)


def test_new_constants_and_parameters() -> None:
    graph = graph_of(lambda x: x + np.array([1, 2], np.float32), (2,))

    def double(node: Node, rw: Rewriter) -> Any:
        array = rw.array(node.inputs[1])
        assert array is not None
        assert rw.array(node.inputs[0]) is None
        return rw.emit(Add(), node.inputs[0], rw.declare("const", "twice", 2 * array))

    changed = tg.verify(rewrite(graph, double))
    assert [(v.name, changed.array(v).tolist()) for v in changed.data] == [("twice", [2, 4])]


def test_one_value_can_replace_all_readers_of_another() -> None:
    graph = graph_of(lambda x, y: (ops.relu(x) + y, ops.exp(y)), (2,), (2,))

    def rule(node: Node, rw: Rewriter) -> None:
        if isinstance(node.op, Relu):
            rw.substitute(graph.inputs[1], node.inputs[0])

    changed = tg.verify(rewrite(graph, rule))
    assert all(graph.inputs[1] not in node.inputs for node in changed.nodes)
    assert changed.inputs == graph.inputs


def test_a_rule_must_replace_every_output() -> None:
    graph = graph_of(lambda x: ops.batch_norm_train(x, np.ones(2, np.float32), np.ones(2, np.float32)), (3, 2))
    with pytest.raises(ValueError, match="zip"):
        rewrite(graph, lambda node, rw: node.inputs[0])


def test_renamed_graphs_are_equal_after_a_round_trip_of_rewrites() -> None:
    graph = graph_of(lambda x: ops.relu(x) * x, (2,))
    there = rewrite(graph, relu_to_exp)
    back = rewrite(there, lambda node, rw: rw.emit(Relu(), *node.inputs) if isinstance(node.op, Exp) else None)
    assert str(back).replace(" from relu", "") == str(graph)
    assert not equal(there, graph)


# ---- size --------------------------------------------------------------------------------------


def chain(length: int) -> Graph:
    def fn(x: Any) -> Any:
        for _ in range(length):
            x = ops.relu(x)
        return x

    return tg.trace(fn, tg.Spec(("N", 2)))


@pytest.fixture(scope="module")
def chains() -> tuple[Graph, Graph]:
    return chain(5_000), chain(20_000)


LINEAR: dict[str, Callable[[Graph], Any]] = {
    "trace": lambda graph: chain(len(graph.nodes)),
    "bind": lambda graph: graph.bind(N=2),
    "index": Index,
    "rewrite": lambda graph: rewrite(graph, relu_to_exp),
    "remove": lambda graph: rewrite(graph, drop_relu),
    "verify": tg.verify,
    "dump": str,
}


@pytest.mark.parametrize("fn", LINEAR.values(), ids=LINEAR.keys())
def test_long_chains_take_linear_time(fn: Callable[[Graph], Any], chains: tuple[Graph, Graph]) -> None:
    assert_linear(fn, *chains)


def test_long_dumps_are_read_in_linear_time(chains: tuple[Graph, Graph]) -> None:
    assert_linear(tg.parse, *map(str, chains))
