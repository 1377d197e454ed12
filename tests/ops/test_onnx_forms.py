"""ONNX operators in the forms that other programs write: older opsets, attributes or inputs, defaults, many inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tinygraph as tg
from tests.ops.checks import close, execute
from tinygraph.errors import ModelFormatError, UnsupportedOp

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7


def ints(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def model(op_type: str, inputs: list[Any], opset: int, **attributes: Any) -> bytes:
    """A model of one node. The first input and None are what they are, other arrays are initializers."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(inputs)]
    node = helper.make_node(op_type, names, ["y"], **attributes)
    kind = helper.np_dtype_to_tensor_dtype(inputs[0].dtype)
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x0", kind, inputs[0].shape)],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(a, n) for a, n in list(zip(inputs, names, strict=True))[1:] if a is not None],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


FORMS = [
    ("ReduceSum", 13, [X, ints(1)], {}),
    ("ReduceSum", 13, [X, ints(0, -1)], {"keepdims": 0}),
    ("ReduceSum", 13, [X], {}),
    ("ReduceSum", 13, [X, ints()], {"noop_with_empty_axes": 1}),
    ("ReduceSum", 13, [X], {"noop_with_empty_axes": 1}),
    ("ReduceSum", 11, [X], {"axes": [1], "keepdims": 0}),
    ("ReduceMean", 13, [X], {"axes": [0, 2]}),
    ("ReduceMean", 13, [X], {}),
    ("ReduceMean", 18, [X, ints(-2)], {}),
    ("ReduceMax", 13, [X], {"axes": [-1], "keepdims": 0}),
    ("ReduceMax", 18, [X, ints(0)], {}),
    ("ReduceMin", 13, [X], {"axes": [1]}),
    ("ReduceMin", 20, [X, ints(1, 2)], {"keepdims": 0}),
    ("Reshape", 13, [X, ints(0, -1)], {}),
    ("Reshape", 13, [X, ints(-1)], {}),
    ("Reshape", 13, [X, ints(4, 0, 2)], {}),
    ("Reshape", 14, [np.zeros((2, 0), np.float32), ints(0, 7)], {"allowzero": 1}),
    ("Flatten", 13, [X], {}),
    ("Flatten", 13, [X], {"axis": 0}),
    ("Flatten", 13, [X], {"axis": -1}),
    ("Flatten", 13, [X], {"axis": 3}),
    ("Transpose", 13, [X], {}),
    ("Transpose", 13, [X], {"perm": [1, 2, 0]}),
    ("Expand", 13, [X, ints(5, 1, 1, 1)], {}),
    ("Expand", 13, [X[:1, :, :1], ints(2, 1, 4)], {}),
    ("Squeeze", 13, [X[:1, None]], {}),
    ("Squeeze", 13, [X[:1, None], ints(1)], {}),
    ("Squeeze", 11, [X[:1, None]], {"axes": [0]}),
    ("Unsqueeze", 13, [X, ints(0, -1)], {}),
    ("Unsqueeze", 11, [X], {"axes": [1]}),
    ("Slice", 13, [X, ints(1, 0), ints(3, 2**63 - 1), ints(1, 2), ints(1, 3)], {}),
    ("Slice", 13, [X, ints(-1), ints(-(2**63)), ints(-1), ints(-2)], {}),
    ("Slice", 13, [X, ints(0, 1), ints(1, -1)], {}),
    ("Slice", 13, [X, ints(1), ints(2), None, ints(1)], {}),
    ("Slice", 9, [X], {"starts": [1], "ends": [1000], "axes": [2]}),
    ("Slice", 9, [X], {"starts": [0, 1], "ends": [2, -1]}),
    ("Pad", 13, [X, ints(0, 1, 0, 0, 0, 2)], {}),
    ("Pad", 13, [X, ints(0, 1, 0, 0, 0, 2), np.array(3, np.float32)], {"mode": "constant"}),
    ("Pad", 13, [X, ints(0, 1, 2, 0, 0, 2)], {"mode": "reflect"}),
    ("Pad", 13, [X, ints(0, 1, 5, 0, 0, 2)], {"mode": "edge"}),
    ("Pad", 18, [X, ints(1, 2, 0, 3), None, ints(-1, 0)], {}),
    ("Pad", 19, [X, ints(0, 1, 5, 0, 0, 2)], {"mode": "wrap"}),
    ("Concat", 13, [X, X[:, :1]], {"axis": 1}),
    ("Concat", 13, [X, X], {"axis": -1}),
    ("OneHot", 13, [ints(0, 2, 1), ints(3)[0], np.array([0, 1], np.float32)], {}),
    ("OneHot", 13, [ints(0, 2, 1), ints(3)[0], np.array([-2.0, 5.0])], {"axis": 0}),
    ("OneHot", 13, [ints(0, 2, 1, 0).reshape(2, 2), ints(3)[0], np.array([0, 4])], {"axis": 1}),
    ("Where", 13, [X > 0, X, X * 2], {}),
    ("Add", 13, [X, np.ones((3, 1), np.float32)], {}),
    ("Div", 13, [ints(7, -7, 6), ints(2, 2, -3)], {}),
    ("Max", 13, [X, -X, np.zeros(4, np.float32)], {}),
    ("Max", 13, [X], {}),
    ("Min", 13, [X, -X], {}),
    ("Sum", 13, [X, X[:1], X[:, :1]], {}),
    ("Mean", 13, [X, X[:1], X[:, :1]], {}),
    ("Greater", 13, [X, np.zeros(1, np.float32)], {}),
    ("GreaterOrEqual", 13, [X, -X], {}),
    ("Less", 13, [ints(1, 2), ints(2, 2)], {}),
    ("LessOrEqual", 13, [ints(1, 2, 3), ints(2, 2, 2)], {}),
    ("Equal", 13, [X > 0, X < 9], {}),
    ("Not", 13, [X > 0], {}),
    ("LeakyRelu", 13, [X], {}),
    ("LeakyRelu", 13, [X], {"alpha": 0.25}),
    ("Elu", 13, [X / 7], {"alpha": 0.5}),
    ("PRelu", 13, [X, np.array([0.5, 2, -1], np.float32)[:, None]], {}),
    ("PRelu", 13, [X, np.array([0.5], np.float32)], {}),
    ("PRelu", 13, [X, np.array([0.5, 2, -1, 3], np.float32)], {}),
    ("PRelu", 13, [X[0], np.array([[0.5]], np.float32)], {}),
    ("Identity", 13, [X], {}),
    ("Cast", 13, [X], {"to": onnx.TensorProto.INT64}),
]


@pytest.mark.parametrize(("op_type", "opset", "inputs", "attributes"), FORMS)
def test_form(op_type: str, opset: int, inputs: list[Any], attributes: Any) -> None:
    content = model(op_type, inputs, opset, **attributes)
    wanted = ReferenceEvaluator(content).run(None, {"x0": inputs[0]})
    graph = tg.load(content)
    (found,) = execute(graph, [inputs[0]])
    assert found.dtype == wanted[0].dtype
    close([found], wanted, 1e-6, "tinygraph against onnx.reference")


@pytest.mark.parametrize(
    ("op_type", "opset", "inputs", "attributes", "message"),
    [
        ("Reshape", 13, [X, ints(-1, -1)], {}, "more than one -1"),
        ("Reshape", 13, [X, ints(2, 3, 4, 0)], {}, "a 0 copies a dimension"),
        ("Reshape", 13, [X, ints(5, -1)], {}, "leaves no whole number"),
        ("Flatten", 13, [X], {"axis": 4}, "no axis 4"),
        ("Expand", 13, [X, ints(3)], {}, "do not broadcast"),
        ("Slice", 13, [X, ints(0, 0), ints(1)], {}, "different length"),
        ("Slice", 13, [X, ints(0), ints(1), ints(0), ints(0)], {}, "a step of 0"),
        ("Slice", 13, [X, ints(0), ints(1), ints(7)], {}, "no axis 7"),
        ("Pad", 13, [X, ints(1, 1)], {}, "2 pads for 3 axes"),
        ("Pad", 13, [X, ints(-2, 0, 0, -2, 0, 0)], {}, "do not fit"),
        ("Pad", 13, [X, ints(1, 0, 0, 0, 0, 0)], {"mode": "mirror"}, "ONNX has constant, reflect, edge, wrap"),
        ("Concat", 13, [X, X], {"axis": 9}, "no axis 9"),
        ("Transpose", 13, [X], {"perm": [0, 1, 1]}, "do not name each"),
        ("Where", 13, [X, X, X], {}, "must be bool"),
        ("OneHot", 13, [ints(0), ints(3), ints(0, 1)], {"axis": 5}, "no axis 5"),
    ],
)
def test_damaged_forms_are_refused(op_type: str, opset: int, inputs: Any, attributes: Any, message: str) -> None:
    with pytest.raises(ModelFormatError, match=message):
        tg.load(model(op_type, inputs, opset, **attributes))


def test_the_depth_of_one_hot_may_be_a_vector() -> None:
    labels, values = ints(0, 2, 1), np.array([0, 1], np.float32)
    one, other = (tg.load(model("OneHot", [labels, depth, values], 13)) for depth in (ints(3), ints(3)[0]))
    np.testing.assert_array_equal(execute(one, [labels])[0], execute(other, [labels])[0])


def test_what_is_not_known_before_the_model_runs_is_not_supported() -> None:
    content = model("Reshape", [X, ints(-1)], 13)
    proto = onnx.load_from_string(content)
    proto.graph.initializer.pop()
    proto.graph.input.append(helper.make_tensor_value_info("x1", onnx.TensorProto.INT64, [1]))
    with pytest.raises(UnsupportedOp, match="its shape is computed"):
        tg.load(proto.SerializeToString())
