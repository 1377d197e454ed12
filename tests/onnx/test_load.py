"""Loading: what a file says of names, dims, dtypes and kinds; versions; what is not supported."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import tinygraph as tg
from tests.onnx.files import check_loaded, info, model, node
from tinygraph.ir import Symbol
from tinygraph.onnx import OLDEST_OPSET
from tinygraph.onnx.load import from_proto
from tinygraph.onnx.save import to_proto
from tinygraph.ops.base import IMPORTERS

RELU = model([node("Relu", "x", "y", "act")], {"x": [2, 3]}, {"y": [2, 3]})
X = np.arange(-3, 3, dtype=np.float32).reshape(2, 3)


def test_a_path_bytes_and_a_file_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    content = RELU.SerializeToString()
    path.write_bytes(content)
    expected = 'graph inference\ninput %x: f32[2,3]\n%y: f32[2,3] = relu(%x) @ "" act\noutput "y" = %y\n'
    for source in (path, str(path), content, bytearray(content), io.BytesIO(content)):
        assert str(tg.load(source)) == expected
    with path.open("rb") as file:
        assert str(tg.load(file)) == expected


def test_values_keep_their_names_whatever_a_reader_makes_of_a_node() -> None:
    graph = check_loaded(
        model(
            [
                node("Gemm", "x w b", "h", "fc", transA=1, alpha=0.5, beta=2.0),
                node("Relu", "h", "relu"),
                node("Relu", "relu", "h.relu"),
            ],
            {"x": [3, 2]},
            {"h.relu": [2, 4]},
            {"w": np.ones((3, 4), np.float32), "b": np.ones(4, np.float32)},
        )
    )
    names = [n.name for n in graph.nodes]
    assert {"h", "relu", "h.relu"} <= set(names)
    assert graph.nodes[names.index("h")].where.source == "fc"
    assert [v.name for v in graph.data if v.kind == "param"] == ["w", "b"]


def test_dims_without_a_number_become_symbols() -> None:
    shapes = {"a": ["N", 3], "b": [None, "N"], "c": ["batch size", "batch-size", "if", "inf"], "d": ["b_0", "", 0]}
    outputs = {f"{name}2": None for name in shapes}
    nodes = [node("Relu", name, f"{name}2") for name in shapes]
    graph = from_proto(model(nodes, shapes, outputs))
    a, b, c, d = (v.type.shape for v in graph.inputs)
    assert a == ("N", 3)
    assert (b[0].rstrip("0123456789"), b[1]) == ("b_0_", "N")
    assert (c[0], c[1].rstrip("0123456789"), *c[2:]) == ("_batch_size", "_batch_size_", "if", "_inf")
    assert d == ("b_0", "d_1", 0)
    assert len({*a, *b, *c, *d} - {3, 0}) == 8
    assert all(isinstance(dim, (Symbol, int)) for dim in (*a, *b, *c, *d))
    tg.verify(graph)


def test_the_kind_of_an_initializer_follows_from_its_dtype_dims_and_use() -> None:
    channels = np.ones(3, np.float32)
    graph = check_loaded(
        model(
            [
                node("BatchNormalization", "x gamma beta mean var", "n"),
                node("Mul", "n scale", "m"),
                node("Reshape", "m shape", "r"),
                node("Add", "r row", "s"),
                node("Constant", "", "c", value_float=2.0),
                node("Mul", "s c", "y"),
            ],
            {"x": [2, 3, 1]},
            {"y": [6]},
            {
                "gamma": channels,
                "beta": channels,
                "mean": channels,
                "var": channels,
                "scale": np.float32(2),
                "shape": np.array([-1]),
                "row": np.ones(1, np.float32),
                "unused": channels,
            },
        )
    )
    assert {v.name: v.kind for v in graph.data} == {
        "gamma": "param",
        "beta": "param",
        "mean": "buffer",
        "var": "buffer",
        "scale": "const",
        "row": "param",
        "c": "const",
    }


def test_an_initializer_that_is_listed_as_an_input_is_none() -> None:
    proto = model(
        [node("Add", "x w", "y")], {"x": [2], "w": [2]}, {"y": [2]}, {"w": np.float32([1, 2])}, opset=8, ir_version=3
    )
    graph = check_loaded(proto, x=np.float32([3, 4]))
    assert [v.name for v in graph.inputs] == ["x"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"value": onnx.numpy_helper.from_array(np.int8([[1], [2]]))}, np.int8([[1], [2]])),
        ({"value_float": 0.1}, np.float32(0.1)),
        ({"value_floats": [0.1, 2.0]}, np.float32([0.1, 2])),
        ({"value_int": -(2**40)}, np.int64(-(2**40))),
        ({"value_ints": [1, 2]}, np.int64([1, 2])),
    ],
)
def test_constant_nodes_are_constants(attributes: Any, expected: Any) -> None:
    elem_type = onnx.helper.np_dtype_to_tensor_dtype(expected.dtype)
    graph = from_proto(
        model([node("Constant", "", "c", **attributes)], {"x": [1]}, [info("c", expected.shape, elem_type)])
    )
    ((name, value),) = graph.outputs
    assert (name, value.name, value.kind, value.type.dtype) == ("c", "c", "const", expected.dtype)
    np.testing.assert_array_equal(graph.array(value), expected)


def test_constants_of_text_are_not_supported() -> None:
    with pytest.raises(tg.UnsupportedOp, match=r"Constant \(opset 20\) 'c': it holds no numbers"):
        from_proto(
            model([node("Constant", "", "c", value_string="a")], {"x": [1]}, [info("c", [], onnx.TensorProto.STRING)])
        )


def test_identities_vanish_and_keep_the_interface() -> None:
    nodes = [node("Identity", "x", "i"), node("Identity", "i", "a"), node("Relu", "i", "r"), node("Identity", "r", "b")]
    graph = check_loaded(model(nodes, {"x": [2]}, {"a": [2], "b": [2]}))
    assert [(name, v.name) for name, v in graph.outputs] == [("a", "x"), ("b", "r")]


def test_attributes_are_the_shortest_numbers_that_were_meant() -> None:
    graph = from_proto(model([node("LeakyRelu", "x", "y", alpha=0.1)], {"x": [2]}, {"y": [2]}))
    assert graph.nodes[0].op.slope == 0.1


def test_every_unsupported_node_is_listed_with_operator_opset_and_name() -> None:
    nodes = [
        node("ImageDecoder", "x", "d", "first"),
        node("ImageDecoder", "x", "e"),
        node("Relu", "d", "r"),
        node("FancyOp", "r -", "f", "fancy", domain="com.example"),
        node("Reshape", "x d", "s", "moved"),
        node("Reshape", "s r", "t", "not reached"),
        node("TfIdfVectorizer", "t", "y", "last"),
    ]
    proto = model(nodes, {"x": [2, 2]}, {"y": None}, domains={"com.example": 3})
    with pytest.raises(tg.UnsupportedOp) as error:
        from_proto(proto)
    lines = str(error.value).splitlines()[1:]
    assert lines == [
        "  ImageDecoder (opset 20) 'first', 'e'",
        "  com.example.FancyOp (opset 3) 'fancy'",
        "  TfIdfVectorizer (opset 20) 'last'",
    ]
    with pytest.raises(tg.UnsupportedOp, match=r"Reshape \(opset 20\) 'moved': its shape is computed"):
        from_proto(model([node("Reshape", "x s", "y", "moved")], [info("x", [4]), info("s", [2], 7)], {"y": None}))


def test_an_output_that_no_reader_makes_is_unsupported_only_if_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(IMPORTERS, "Dropout", lambda node, x: x)
    nodes = [node("Dropout", "x", "y mask", "drop"), node("Relu", "y", "z")]
    graph = from_proto(model(nodes, {"x": [2]}, {"z": [2]}))
    assert [n.op.name for n in graph.nodes] == ["relu"]
    with pytest.raises(tg.UnsupportedOp, match=r"Dropout \(opset 20\) 'drop': its output 1 \('mask'\) is read"):
        from_proto(model(nodes, {"x": [2]}, [info("z", [2]), info("mask", [2], onnx.TensorProto.BOOL)]))


def test_a_function_of_the_model_goes_before_the_operator_of_that_name() -> None:
    proto = model([node("Relu", "x", "y")], {"x": [2]}, {"y": [2]})
    function = onnx.helper.make_function("", "Relu", ["x"], ["y"], [node("Neg", "x", "y")], proto.opset_import)
    proto.functions.append(function)
    assert [n.op.name for n in from_proto(proto).nodes] == ["neg"]


@pytest.mark.parametrize("opset", [OLDEST_OPSET, 13, onnx.defs.onnx_opset_version()])
def test_opsets_from_the_oldest_to_the_newest_are_read(opset: int) -> None:
    check_loaded(model([node("Relu", "x", "y")], {"x": [2, 3]}, {"y": [2, 3]}, opset=opset), x=X)


def test_other_opsets_are_refused() -> None:
    newer = onnx.defs.onnx_opset_version() + 1
    with pytest.raises(tg.ModelFormatError, match="upgrade onnx"):
        from_proto(model([node("Relu", "x", "y")], {"x": [2, 3]}, {"y": [2, 3]}, opset=newer))
    with pytest.raises(tg.UnsupportedOp, match=r"Relu \(opset 5\) 'act': as it was before opset 6; convert the model"):
        from_proto(model([node("Relu", "x", "y", "act")], {"x": [2, 3]}, {"y": [2, 3]}, opset=5))


def test_an_operator_that_is_as_old_as_its_opset_is_read() -> None:
    booleans = [info("x", [2], TensorProto.BOOL)], [info("y", [2], TensorProto.BOOL)]
    check_loaded(model([node("Not", "x", "y")], *booleans, opset=1), x=np.array([True, False]))


def test_an_operator_that_its_opset_does_not_have_is_refused() -> None:
    with pytest.raises(tg.ModelFormatError, match="LessOrEqual 'le': No Op registered for LessOrEqual"):
        from_proto(model([node("LessOrEqual", "x x", "y", "le")], {"x": [2]}, [info("y", [2], 9)], opset=11))


def test_errors_name_the_node_and_the_file(tmp_path: Path) -> None:
    proto = model([node("Add", "x w", "y", "layer3/add")], {"x": [2]}, {"y": [2]}, {"w": np.ones(3, np.float32)})
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(tg.ModelFormatError, match=r"^m\.onnx: Add 'layer3/add': .*do not broadcast"):
        tg.load(tmp_path / "m.onnx")


def test_a_source_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(tg.UsageError, match="No such file or directory"):
        tg.load(tmp_path / "missing.onnx")
    with pytest.raises(tg.UsageError, match="Is a directory"):
        tg.load(tmp_path)
    with pytest.raises(tg.UsageError, match="null"):
        tg.load("a\0b")
    with pytest.raises(tg.UsageError, match="cannot read None"):
        tg.load(None)
    with pytest.raises(tg.UsageError, match="opened for text"):
        tg.load(io.StringIO("model"))


def test_importing_tinygraph_does_not_import_onnx() -> None:
    code = "import sys, tinygraph\nassert 'onnx' not in sys.modules\ntinygraph.load\nassert 'onnx' in sys.modules\n"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_metadata_and_names_of_dimensions_outlive_passes() -> None:
    shape = ["batch size", 3]
    proto = model([node("Relu", "x", "a"), node("Identity", "a", "y")], {"x": shape}, {"y": shape})
    said = {"author": "somebody", "labels": '{"0": "cat"}\n'}
    onnx.helper.set_model_props(proto, said)
    graph = tg.optimize(from_proto(proto))
    assert dict(graph.metadata) == {**said, "tinygraph.dimension._batch_size": "batch size"}
    assert str(tg.parse(str(graph))) == str(graph)
    saved = to_proto(graph)
    assert {entry.key: entry.value for entry in saved.metadata_props} == said
    for end in (saved.graph.input[0], saved.graph.output[0]):
        assert [d.dim_param or d.dim_value for d in end.type.tensor_type.shape.dim] == shape
    assert to_proto(from_proto(saved)).SerializeToString() == saved.SerializeToString()


def test_open_dimensions_stay_apart_in_a_file_that_is_saved() -> None:
    proto = model(
        [node("Relu", "x", "y"), node("Relu", "z", "w")], {"x": [None, 3], "z": ["x_0", 2]}, {"y": None, "w": None}
    )
    again = from_proto(to_proto(from_proto(proto)))
    (x, _), (z, _) = (v.type.shape for v in again.inputs)
    assert x != z == "x_0"
