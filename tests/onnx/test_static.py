"""What becomes static while a model is read: shape arithmetic, branches, loops, functions, bound inputs, sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tinygraph as tg
from tests.onnx.files import example, info, model, node, reference, same
from tinygraph.ir import Graph
from tinygraph.onnx.load import from_proto
from tinygraph.runtime.evaluate import evaluate

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def ops_of(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes]


def check_loaded(proto: onnx.ModelProto, **inputs: Any) -> Graph:
    """Reads a model whose outputs have no declared shapes, and compares it with the standard's own evaluation."""
    graph = tg.verify(from_proto(proto))
    arrays = inputs or example(graph)
    same(reference(proto, arrays), evaluate(graph, arrays))
    return graph


def constant(name: str, numbers: Any) -> onnx.NodeProto:
    return node("Constant", "", name, value=onnx.numpy_helper.from_array(np.asarray(numbers)))


# ---- shape arithmetic ----------------------------------------------------------------------------

FLATTEN = [
    node("Shape", "x", "shape"),
    constant("zero", np.int64(0)),
    node("Gather", "shape zero", "n"),
    constant("axes", np.array([0])),
    node("Unsqueeze", "n axes", "n1"),
    constant("rest", np.array([-1])),
    node("Concat", "n1 rest", "target", axis=0),
    node("Reshape", "x target", "y"),
]


@pytest.mark.parametrize("batch", [2, "N"])
def test_the_arithmetic_of_a_flatten_folds_away(batch: Any) -> None:
    graph = check_loaded(model(FLATTEN, {"x": [batch, 3, 4]}, {"y": None}), x=X)
    assert ops_of(graph) == ["reshape"]
    assert graph.outputs[0][1].type.shape == (batch, 12)


def test_sizes_are_halved_and_chosen_before_the_model_runs() -> None:
    nodes = [
        node("Shape", "x", "shape", start=1),
        constant("two", np.array([2])),
        node("Div", "shape two", "half"),
        node("Equal", "half one", "small"),
        node("Where", "small two half", "chosen"),
        node("Slice", "x start chosen axes", "y"),
    ]
    weights = {"one": np.array([1]), "start": np.array([0, 0]), "axes": np.array([1, 2])}
    graph = check_loaded(model(nodes, {"x": ["N", 3, 4]}, {"y": None}, weights), x=X)
    assert ops_of(graph) == ["slice"]
    assert graph.outputs[0][1].type.shape == ("N", 2, 2)


def test_arithmetic_on_an_open_dimension_says_what_to_bind() -> None:
    nodes = [node("Shape", "x", "shape"), node("Add", "shape one", "more"), node("Expand", "x more", "y", "wider")]
    proto = model(nodes, {"x": ["N", 1]}, {"y": None}, {"one": np.array([1])})
    with pytest.raises(tg.UnsupportedOp, match=r"Expand .*'wider': its shape is computed from an open dimension"):
        from_proto(proto)
    zero = model(nodes, {"x": ["N", 1]}, {"y": None}, {"one": np.array([0])})
    assert from_proto(zero).outputs[0][1].type.shape == ("N", 1)


def test_a_shape_that_is_an_output_is_computed() -> None:
    proto = model([node("Shape", "x", "y")], {"x": ["N", 3]}, [info("y", [2], TensorProto.INT64)])
    graph = check_loaded(proto, x=np.zeros((5, 3), np.float32))
    assert ops_of(graph) == ["shape_of"]
    assert ops_of(tg.optimize(graph.bind(N=4))) == []


def test_a_constant_of_shape_takes_no_memory_until_it_is_asked_for() -> None:
    proto = model([node("ConstantOfShape", "s", "y")], {"x": [1]}, {"y": None}, {"s": np.array([2**20, 2**20])})
    graph = tg.load(proto.SerializeToString())
    assert graph.outputs[0][1].type.shape == (2**20, 2**20)
    assert tg.optimize(graph).outputs[0][1].kind == "node"
    with pytest.raises(tg.BudgetError, match=r"broadcast_to 'y' makes 4,398,046,511,104 bytes"):
        tg.compile(graph)


# ---- bound inputs --------------------------------------------------------------------------------


def test_an_input_that_decides_a_shape_has_to_be_bound() -> None:
    proto = model([node("Reshape", "x s", "y", "r")], [info("x", ["N", 4]), info("s", [2], 7)], {"y": None})
    with pytest.raises(tg.UnsupportedOp, match="computed while the model runs, from 's'") as error:
        from_proto(proto)
    assert error.value.inputs == ("s",)
    assert "bind={'s': ...}" in str(error.value)
    graph = from_proto(proto, {"s": np.array([-1, 2]), "N": 3})
    assert [v.name for v in graph.inputs] == ["x"]
    assert graph.outputs[0][1].type.shape == (6, 2)


def test_open_dimensions_are_bound_by_their_names() -> None:
    proto = model([node("Relu", "x", "y")], {"x": ["batch size", None, 4]}, {"y": None})
    assert from_proto(proto, {"batch size": 2}).inputs[0].type.shape == (2, "x_1", 4)
    assert from_proto(proto, {"_batch_size": 2, "x_1": 5}).inputs[0].type.shape == (2, 5, 4)


@pytest.mark.parametrize(
    ("bind", "reason"),
    [
        ({"z": 1}, r"no input or open dimension 'z'; there are: x, s, N"),
        ({"N": -1}, "must be a whole number >= 0, got -1"),
        ({"N": 1.5}, "must be a whole number"),
        ({"s": np.array([1.0, 2.0])}, r"the input 's' is i64\[2\], got f64\[2\]"),
        ({"s": np.array([1, 2, 3])}, r"the input 's' is i64\[2\], got i64\[3\]"),
    ],
)
def test_what_cannot_be_bound_is_refused(bind: dict[str, Any], reason: str) -> None:
    proto = model([node("Reshape", "x s", "y")], [info("x", ["N", 4]), info("s", [2], 7)], {"y": None})
    with pytest.raises(tg.UsageError, match=reason):
        from_proto(proto, bind)


def test_an_input_with_an_initializer_can_be_bound_to_another_number() -> None:
    proto = model([node("Mul", "x w", "y")], {"x": [2], "w": [2]}, {"y": [2]}, {"w": np.float32([1, 2])})
    graph = from_proto(proto, {"w": np.float32([3, 4])})
    np.testing.assert_array_equal(evaluate(graph, {"x": np.float32([1, 1])})["y"], [3, 4])


# ---- branches and loops --------------------------------------------------------------------------


def branch(name: str, nodes: list[onnx.NodeProto], inputs: list[Any], outputs: list[Any], **weights: Any) -> Any:
    made = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()]
    return helper.make_graph(nodes, name, inputs, outputs, made)


@pytest.mark.parametrize("taken", [True, False])
def test_the_branch_of_a_known_condition_is_taken(taken: bool) -> None:
    then = branch("then", [node("Mul", "x two", "t")], [], [info("t", None)], two=np.float32(2))
    other = branch("else", [node("Neg", "x", "e"), node("Relu", "e", "f")], [], [info("f", None)])
    nodes = [constant("c", np.bool_(taken)), node("If", "c", "y", then_branch=then, else_branch=other)]
    graph = check_loaded(model(nodes, {"x": [2, 3, 4]}, {"y": None}), x=X)
    assert ops_of(graph) == (["mul"] if taken else ["neg", "relu"])


def test_a_condition_may_come_from_a_shape() -> None:
    then = branch("then", [node("Squeeze", "x axis", "t")], [], [info("t", None)])
    other = branch("else", [node("Identity", "x", "e")], [], [info("e", None)])
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape axis", "size"),
        node("Equal", "size one", "single"),
        node("If", "single", "y", then_branch=then, else_branch=other),
    ]
    weights = {"axis": np.array([1]), "one": np.array([1])}
    graph = from_proto(model(nodes, {"x": ["N", 1, 4]}, {"y": None}, weights))
    assert graph.outputs[0][1].type.shape == ("N", 4)


def test_a_condition_that_is_computed_chooses_while_the_model_runs() -> None:
    then = branch("then", [node("Neg", "x", "t")], [], [info("t", None)])
    other = branch("else", [node("Slice", "x from to", "e")], [], [info("e", None)])
    nodes = [node("If", "c", "r", then_branch=then, else_branch=other), node("Abs", "r", "y")]
    weights = {"from": np.array([0]), "to": np.array([1])}
    proto = model(nodes, [info("x", [2]), info("c", [], TensorProto.BOOL)], {"y": None}, weights)
    x = np.float32([-1, 2])
    graph = check_loaded(proto, x=x, c=np.array(True))
    run = tg.compile(graph)
    np.testing.assert_array_equal(run(x, np.array(True)), [1, 2])
    np.testing.assert_array_equal(run(x, np.array(False)), [1])


def test_a_condition_that_decides_more_than_sizes_is_refused_with_the_input_to_bind() -> None:
    then = branch("then", [node("Identity", "x", "t")], [], [info("t", None)])
    other = branch("else", [node("Unsqueeze", "x axis", "e")], [], [info("e", None)])
    nodes = [node("If", "c", "y", "choice", then_branch=then, else_branch=other)]
    infos = [info("x", [2]), info("c", [], TensorProto.BOOL)]
    with pytest.raises(tg.UnsupportedOp, match=r"If \(opset 20\) 'choice': its condition is computed") as error:
        from_proto(model(nodes, infos, {"y": None}, {"axis": np.array([0])}))
    assert error.value.inputs == ("c",)


def loop(trips: int, condition: str = "c") -> onnx.ModelProto:
    """Adds up x * i, and collects the sums."""
    body = branch(
        "body",
        [
            node("Cast", "i", "f", to=1),
            node("Mul", "x f", "p"),
            node("Add", "s p", "t"),
            node("Identity", "t", "row"),
            node("Less", "i limit", "go"),
        ],
        [info("i", [], 7), info("before", [], 9), info("s", None)],
        [info("go", [], 9), info("t", None), info("row", None)],
        limit=np.int64(2),
    )
    nodes = [node("Loop", f"m {condition} x", "y rows", body=body)]
    weights = {"m": np.int64(trips), "c": np.bool_(True)}
    return model(nodes, {"x": [2]}, {"y": None, "rows": None}, weights)


@pytest.mark.parametrize("trips", [1, 3, 9])
def test_a_loop_of_known_length_is_unrolled(trips: int) -> None:
    graph = check_loaded(loop(trips), x=np.float32([1, -2]))
    assert ops_of(graph).count("add") == min(trips, 3)


def test_a_loop_without_a_condition_runs_as_often_as_it_says() -> None:
    answer = evaluate(from_proto(loop(5, "-")), {"x": np.float32([1, -2])})
    np.testing.assert_array_equal(answer["y"], [11, -22])
    assert answer["rows"].shape == (5, 2)


def test_a_loop_without_end_exceeds_the_budget() -> None:
    with pytest.raises(tg.BudgetError, match="to read all functions, branches and loops takes"):
        from_proto(loop(2**62, "-"), budget=tg.Budget(operations=10**9))


def test_a_scan_is_unrolled() -> None:
    body = branch(
        "body", [node("Add", "s x", "t"), node("Neg", "t", "row")], [info("s", [3]), info("x", [3])],
        [info("t", [3]), info("row", [3])],
    )  # fmt: skip
    nodes = [node("Scan", "zero x", "y rows", body=body, num_scan_inputs=1)]
    proto = model(nodes, {"x": [4, 3]}, {"y": [3], "rows": [4, 3]}, {"zero": np.zeros(3, np.float32)})
    check_loaded(proto, x=np.arange(12, dtype=np.float32).reshape(4, 3))


# ---- functions -----------------------------------------------------------------------------------


def test_functions_of_the_model_are_expanded_with_their_attributes() -> None:
    scaled = helper.make_node("LeakyRelu", ["x"], ["h"])
    reference_to = onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    scaled.attribute.append(reference_to)
    opsets = [helper.make_opsetid("", 20)]
    inner = helper.make_function("own", "Inner", ["x"], ["y"], [scaled, node("Neg", "h", "y")], opsets, ["slope"])
    call = helper.make_node("Inner", ["a"], ["b"], domain="own")
    call.attribute.append(onnx.AttributeProto(name="slope", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    outer = helper.make_function(
        "own", "Outer", ["a"], ["b"], [call], [*opsets, helper.make_opsetid("own", 1)], ["slope"]
    )
    proto = model(
        [node("Outer", "x", "y", "block", domain="own", slope=0.5)], {"x": [3]}, {"y": [3]}, domains={"own": 1}
    )
    proto.functions.extend([inner, outer])
    graph = from_proto(proto)
    assert [(n.op.name, n.where.source) for n in graph.nodes] == [("leaky_relu", "block/b/"), ("neg", "block/b/")]
    assert graph.nodes[0].op.slope == 0.5
    np.testing.assert_array_equal(evaluate(graph, {"x": np.float32([-2, 0, 2])})["y"], [1, 0, -2])


def test_a_function_that_calls_itself_is_rejected() -> None:
    call = helper.make_node("F", ["x"], ["y"], domain="own")
    proto = model([call], {"x": [3]}, {"y": [3]}, domains={"own": 1})
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    proto.functions.append(helper.make_function("own", "F", ["x"], ["y"], [call], opsets))
    with pytest.raises(tg.ModelFormatError, match="the function 'F' calls itself"):
        from_proto(proto)


def test_a_standard_operator_without_a_reader_is_expanded() -> None:
    attention = [node("Attention", "q k v", "y", "att")]
    shape = [1, 2, 5, 4]
    proto = model(attention, {"q": shape, "k": shape, "v": shape}, {"y": None}, opset=23)
    graph = check_loaded(proto)
    assert "softmax" in ops_of(graph)
    assert {n.where.source.partition("/")[0] for n in graph.nodes} == {"att"}


# ---- sequences -----------------------------------------------------------------------------------


def test_sequences_exist_while_a_model_is_read() -> None:
    nodes = [
        node("SplitToSequence", "x size", "parts", axis=1),
        node("SequenceAt", "parts minus", "last"),
        node("SequenceErase", "parts zero", "rest"),
        node("SequenceInsert", "rest last zero", "more"),
        node("SequenceLength", "more", "count"),
        node("ConcatFromSequence", "more", "joined", axis=1),
        node("Cast", "count", "f", to=1),
        node("Mul", "joined f", "y"),
    ]
    weights = {"size": np.int64(2), "minus": np.int64(-1), "zero": np.int64(0)}
    graph = check_loaded(model(nodes, {"x": [2, 5]}, {"y": None}, weights), x=X.reshape(2, 12)[:, :5])
    assert graph.outputs[0][1].type.shape == (2, 4)


def test_a_sequence_as_an_output_is_refused() -> None:
    output = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    with pytest.raises(tg.UnsupportedOp, match="the output 's' is a sequence"):
        from_proto(model([node("SequenceConstruct", "x x", "s")], {"x": [2]}, [output]))
