"""Files that are damaged or hostile: one ModelFormatError with a short reason, and nothing else is touched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

import tinygraph as tg
from tests.onnx.files import info, model, node
from tinygraph.onnx.load import from_proto

W = np.arange(6, dtype=np.float32).reshape(2, 3)


def good() -> onnx.ModelProto:
    return model(
        [node("Add", "x w", "s", "sum"), node("Relu", "s", "y", "act")],
        {"x": ["N", 3]},
        {"y": ["N", 3]},
        {"w": np.ones(3, np.float32)},
    )


def rejected(content: bytes | onnx.ModelProto, reason: str | None = None) -> None:
    if isinstance(content, onnx.ModelProto):
        content = content.SerializeToString()
    with pytest.raises(tg.ModelFormatError, match=reason) as error:
        tg.load(content)
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


def test_a_file_cut_off_anywhere_is_rejected() -> None:
    content = good().SerializeToString()
    tg.load(content)
    for end in range(len(content)):
        rejected(content[:end])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"PK\x03\x04 this is a zip", "no ONNX model"),
        (b"\x93NUMPY\x01\x00", "no ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no ONNX model"),
        (b"\x08\x0a", "no graph"),
        (bytes(1000), "no ONNX model"),
        (b"\x3a\x04" * 100, "no ONNX model"),
    ],
)
def test_other_files_are_rejected(content: bytes, reason: str) -> None:
    rejected(content, reason)


@given(st.binary(max_size=200))
def test_noise_is_rejected(content: bytes) -> None:
    rejected(content)


@given(st.data())
def test_a_changed_byte_gives_a_graph_or_an_error_of_ours(data: Any) -> None:
    content = bytearray(good().SerializeToString())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(tg.ModelFormatError, tg.UnsupportedOp):
        tg.verify(tg.load(bytes(content)))


def edited(edit: Callable[[onnx.ModelProto], Any]) -> onnx.ModelProto:
    proto = good()
    edit(proto)
    return proto


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda m: m.ClearField("graph"), "no graph"),
        (lambda m: m.ClearField("opset_import"), "which operator set"),
        (lambda m: m.opset_import.add(domain="ai.onnx", version=13), "two versions"),
        (lambda m: m.ClearField("ir_version"), "IR version 0"),
        (lambda m: setattr(m, "ir_version", 2**40), "IR version"),
        (lambda m: setattr(m.opset_import[0], "version", -1), "opset -1"),
        (lambda m: m.graph.ClearField("output"), "no output"),
        (lambda m: m.graph.ClearField("input"), "Add 'sum' reads 'x', which nothing makes"),
        (lambda m: m.graph.ClearField("initializer"), "Add 'sum' reads 'w', which nothing makes"),
        (lambda m: m.graph.ClearField("node"), "nothing makes the output 'y'"),
        (lambda m: m.graph.node.reverse(), "'act' reads 's', which no earlier node makes"),
        (lambda m: m.graph.node[0].input.__setitem__(1, "y"), "'sum' reads 'y', which no earlier node makes"),
        (lambda m: m.graph.node[0].input.__setitem__(1, "s"), "'sum' reads 's', which no earlier node makes"),
        (lambda m: m.graph.node[0].output.__setitem__(0, "x"), "'sum' makes 'x', which is defined before"),
        (lambda m: m.graph.node[0].output.__setitem__(0, "w"), "'sum' makes 'w', which is defined before"),
        (lambda m: m.graph.node[1].output.__setitem__(0, "s"), "'act' makes 's', which is defined before"),
        (lambda m: m.graph.node[1].output.append("y"), "'act' makes 'y', which is defined before"),
        (lambda m: m.graph.node[1].ClearField("output"), "nothing makes the output 'y'"),
        (lambda m: m.graph.node.add(op_type="Relu", input=["x"], name="z"), "'z': "),
        (lambda m: m.graph.node.add(op_type="Add", input=["x"], output=["z"]), "'z': "),
        (lambda m: m.graph.node[1].ClearField("input"), "'act': "),
        (lambda m: m.graph.node[1].input.append("s"), "'act': "),
        (lambda m: m.graph.node[1].input.__setitem__(0, ""), "'act': "),
        (lambda m: m.graph.node[1].attribute.add(name="a", type=2, i=1), "'act': Unrecognized attribute: a"),
        (lambda m: m.graph.node[1].attribute.add(name="a", type=5), "'act': Unrecognized attribute: a"),
        (lambda m: m.graph.node[1].attribute.add(name="a", type=3, s=b"\xff"), "not UTF-8"),
        (lambda m: [m.graph.node[1].attribute.add(name="a", type=2) for _ in "12"], "two attributes 'a'"),
        (lambda m: m.graph.input.append(m.graph.input[0]), "two inputs are named 'x'"),
        (lambda m: m.graph.output.append(m.graph.output[0]), "two outputs are named 'y'"),
        (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "two initializers are named 'w'"),
        (lambda m: m.graph.input.add(), "an input has no name"),
        (lambda m: m.graph.input[0].ClearField("type"), "'x' is no tensor"),
        (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), "'x' has no shape"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", -1), "-1 is not a dimension"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 8), "'x': the element type STRING"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 99), "'x': the element type 99"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 11), "'sum': .*dtypes differ"),
        (lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", 11), "'y' is declared float64"),
        (lambda m: m.graph.sparse_initializer.add(), "sparse"),
    ],
)
def test_a_broken_rule_is_named(edit: Callable[[onnx.ModelProto], Any], reason: str) -> None:
    rejected(edited(edit), reason)


@pytest.mark.parametrize("name", ["Relu", "act", "N", "s", "w", "alpha", "tinygraph.kind", "key", "com.x"])
def test_names_that_are_not_text_are_rejected(name: str) -> None:
    proto = good()
    proto.graph.node[1].attribute.add(name="alpha", type=1)
    proto.graph.initializer[0].metadata_props.add(key="tinygraph.kind", value="key")
    proto.graph.node[0].domain = "com.x"
    whole = proto.SerializeToString()
    field = bytes([len(name)]) + name.encode()
    assert field in whole
    rejected(whole.replace(field, field[:-1] + b"\xff"), "not UTF-8")


def test_an_input_too_large_for_any_machine_makes_a_graph() -> None:
    graph = from_proto(model([node("Relu", "x", "y")], {"x": [2**63 - 1, 2**63 - 1]}, {"y": None}))
    assert graph.outputs[0][1].type.size == (2**63 - 1) ** 2


def weight(**fields: Any) -> onnx.ModelProto:
    proto = model([node("Identity", "w", "y")], {"x": [1]}, [info("y", None, 0)])
    proto.graph.initializer.append(TensorProto(name="w", **fields))
    return proto


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"data_type": 1, "dims": [-1], "raw_data": b""}, r"dims \(-1,\) are negative"),
        ({"data_type": 1, "dims": [-1, -1], "raw_data": bytes(4)}, "negative"),
        ({"data_type": 1, "dims": [2], "raw_data": bytes(4)}, "want 8 bytes, there are 4"),
        ({"data_type": 1, "dims": [2], "raw_data": bytes(9)}, "want 8 bytes, there are 9"),
        ({"data_type": 1, "dims": [2], "float_data": [1.0]}, "want 2 numbers, there are 1"),
        ({"data_type": 1, "dims": []}, "want 1 numbers, there are 0"),
        ({"data_type": 1, "dims": [2**62, 4], "raw_data": bytes(4)}, "bytes, there are 4"),
        ({"data_type": 1, "dims": [2**32, 2**32], "raw_data": b""}, "there are 0"),
        ({"data_type": 1, "dims": [0, 2**62, 2**62]}, "cannot be those of an array"),
        ({"data_type": 1, "dims": [1] * 100, "float_data": [1.0]}, "it has 100 dims"),
        ({"data_type": 1, "dims": [2**62] * 100_000, "float_data": [1.0]}, "it has 100000 dims"),
        ({"data_type": 1, "dims": [1], "raw_data": bytes(4), "float_data": [1.0]}, "float_data and raw_data"),
        ({"data_type": 1, "dims": [1], "double_data": [1.0]}, "want either raw_data or float_data"),
        ({"data_type": 1, "dims": [1], "int32_data": [1]}, "want either raw_data or float_data"),
        ({"data_type": 3, "dims": [1], "int32_data": [200]}, "no int8"),
        ({"data_type": 12, "dims": [1], "uint64_data": [2**32]}, "no uint32"),
        ({"data_type": 0, "dims": [1], "raw_data": bytes(4)}, "element type UNDEFINED"),
        ({"data_type": 8, "dims": [1], "string_data": [b"a"]}, "element type STRING"),
        ({"data_type": 16, "dims": [1], "raw_data": bytes(2)}, "element type BFLOAT16"),
        ({"data_type": 99, "dims": [1], "raw_data": bytes(2)}, "element type 99"),
        ({"data_type": 1, "dims": [1], "segment": TensorProto.Segment(begin=0, end=1)}, "segment"),
    ],
)
def test_a_damaged_weight_is_rejected_before_anything_is_allocated(fields: dict[str, Any], reason: str) -> None:
    rejected(weight(**fields), f"initializer 'w': .*{reason}")
    tensor = TensorProto(**fields)
    constant = model([node("Constant", "", "y", "c", value=tensor)], {"x": [1]}, [info("y", None, 0)])
    rejected(constant, f"Constant 'c': .*{reason}")


@pytest.mark.parametrize("dtype", ["?", "b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d"])
@pytest.mark.parametrize("raw", [True, False])
def test_whole_weights_of_every_dtype_are_read(dtype: str, raw: bool) -> None:
    array = np.array([[1, 0, 1], [2, 7, 100]], dtype)
    if raw:
        proto = onnx.numpy_helper.from_array(array, "w")
    else:
        proto = onnx.helper.make_tensor("w", onnx.helper.np_dtype_to_tensor_dtype(array.dtype), (2, 3), array.ravel())
    graph = from_proto(model([], {"x": [1]}, [info("w", [2, 3], proto.data_type)], [proto]))
    (value,) = graph.data
    read = graph.array(value)
    assert (read.dtype, read.flags.writeable) == (array.dtype, False)
    np.testing.assert_array_equal(read, array)


def test_deep_nesting_is_rejected() -> None:
    graph = b""
    for _ in range(200):
        for field in (b"\x32", b"\x2a", b"\x0a"):  # in attribute.g, in node.attribute, in graph.node
            graph = field + varint(len(graph)) + graph
    rejected(b"\x08\x08\x3a" + varint(len(graph)) + graph, "no ONNX model")


def varint(number: int) -> bytes:
    """A length as protobuf writes it."""
    digits = []
    while True:
        number, digit = divmod(number, 128)
        digits.append(digit | (128 if number else 0))
        if not number:
            return bytes(digits)


def test_a_long_chain_is_an_ordinary_graph() -> None:
    count = 20_000
    nodes = [node("Relu", f"v{i}", f"v{i + 1}") for i in range(count)]
    graph = from_proto(model(nodes, {"v0": [1]}, {f"v{count}": [1]}))
    assert len(graph.nodes) == count


def test_names_of_any_kind_are_kept_and_shown_escaped() -> None:
    name = 'a"b\n\x1b[31m<b>'
    relu = onnx.helper.make_node("Relu", [name], ["y"])
    graph = from_proto(model([relu], {name: [1]}, {"y": [1]}))
    assert graph.inputs[0].name == name
    rejected(model([relu], {"x": [1]}, {"y": [1]}), r"reads 'a\"b\\n\\x1b\[31m<b>'")
