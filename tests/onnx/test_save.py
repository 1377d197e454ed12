"""Saving: names and interface are kept, files are whole, refusals list everything."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tinygraph as tg
from tests.onnx.files import check_saved
from tinygraph import nn, ops
from tinygraph.build import Builder
from tinygraph.ir import Graph, TensorType
from tinygraph.nn.init import Seeded, Uniform
from tinygraph.onnx import OPSET
from tinygraph.onnx.exporter import OnnxExporter
from tinygraph.onnx.save import to_proto
from tinygraph.ops.base import OPS, Op, family

X = tg.Spec(("N", 3), name="x")


def traced(function: Any, *specs: tg.Spec) -> Graph:
    return tg.trace(function, *specs or (X,))


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.spare = nn.Linear(3, 4)
        self.second = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.second(ops.relu(self.first(x)))


def test_names_kinds_and_places_are_kept() -> None:
    graph = traced(TwoLayers())
    proto, loaded = check_saved(graph)
    assert [i.name for i in proto.graph.input] == ["x"]
    assert [o.name for o in proto.graph.output] == ["output"]
    assert [d.dim_param or d.dim_value for d in proto.graph.output[0].type.tensor_type.shape.dim] == ["N", 2]
    assert [n.name for n in proto.graph.node] == ["first", "relu", "second"]
    assert [t.name for t in proto.graph.initializer] == ["first.weight", "first.bias", "second.weight", "second.bias"]
    assert proto.ir_version == 10
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", OPSET)]
    assert [(v.name, v.type, v.kind) for v in loaded.data] == [
        (v.name, v.type, v.kind) for v in graph.data if not v.name.startswith("spare")
    ]
    assert [(n.name, n.op, n.where) for n in loaded.nodes] == [(n.name, n.op, n.where) for n in graph.nodes]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x,
        lambda x: {"x": x},
        lambda x: (x, x),
        lambda x: {"a": ops.relu(x), "b": x},
        lambda x: [ops.relu(x)] * 3,
        lambda x: {"exp": ops.relu(ops.exp(x)), "relu": ops.exp(x)},
        lambda x: {"late": ops.exp(ops.relu(x)), "early": ops.relu(x)},
        lambda x: (ops.relu(np.ones(3, np.float32) * x), np.arange(6, dtype=np.int64)),
        lambda x: ops.cast(ops.cast(x, np.float64), np.int32),
        lambda x: {"name with blanks\n": ops.relu(x)},
    ],
)
def test_every_output_has_its_own_name(function: Any) -> None:
    graph = traced(function)
    _, loaded = check_saved(graph)
    assert [name for name, _ in loaded.outputs] == [name for name, _ in graph.outputs]
    assert str(loaded) == str(graph)


def test_a_parameter_may_be_an_output() -> None:
    build = Builder()
    x = build.input("x", TensorType((2,)))
    w = build.declare("param", "w", np.ones(2, np.float32))
    v = build.declare("frozen", "v", np.ones(2, np.float32))
    graph = build.finish([("w", w), ("again", w), ("other", v), ("x", x)])
    _, loaded = check_saved(graph)
    assert str(loaded) == str(graph)


def test_unused_inputs_stay() -> None:
    graph = traced(lambda x, y, z: ops.relu(y), X, tg.Spec((2, 2), np.float16), tg.Spec((), np.uint8))
    _, loaded = check_saved(graph)
    assert str(loaded) == str(graph)


def test_an_output_called_like_another_input_is_refused() -> None:
    graph = traced(lambda x: {"x": ops.relu(x)})
    with pytest.raises(tg.UsageError, match="the output 'x' has the name of another input"):
        to_proto(graph)
    with pytest.raises(tg.UsageError, match="empty name"):
        to_proto(traced(lambda x: {"": ops.relu(x)}))


@pytest.mark.parametrize("dtype", "?bBhHiIlLefd")
def test_every_dtype_comes_back(dtype: str) -> None:
    array = np.array([[0, 1, 2]], dtype)
    graph = traced(lambda x: (x, array), tg.Spec((2, "M"), dtype))
    _, loaded = check_saved(graph)
    assert str(loaded) == str(graph)


def test_numbers_in_the_other_byte_order_are_written_rightly() -> None:
    build = Builder()
    value = build.const(np.array([1.5, -2], ">f4"), "c")
    proto = to_proto(build.finish([("y", value)]))
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(proto.graph.initializer[0]), np.float32([1.5, -2]))


def test_a_dtype_that_onnx_lacks_is_refused() -> None:
    with pytest.raises(tg.UsageError, match="c64 cannot be written"):
        to_proto(traced(lambda x: (x, np.ones(2, np.complex64))))


def test_training_graphs_are_refused() -> None:
    graph = tg.trace(lambda x: ops.relu(x), X, mode="training")
    with pytest.raises(tg.UsageError, match="training graph"):
        tg.save(graph, io.BytesIO())


def test_all_refusals_are_listed_at_once() -> None:
    def function(x: Any) -> Any:
        g = ops.base.apply(
            OPS["conv_weight_grad"](kernel_size=(1,), stride=(1,), padding=((0, 0),), dilation=(1,)), x, x
        )
        return ops.relu(ops.base.apply(OPS["channel_sum"](1, 1), g))

    with pytest.raises(tg.UnsupportedOp) as error:
        tg.save(traced(function, tg.Spec((2, 3, 4))), io.BytesIO())
    message = str(error.value)
    assert "2 nodes cannot be saved" in message
    assert "'conv_weight_grad' at onnx/test_save.py:" in message
    assert "gradient of a weight" in message
    assert "'channel_sum'" in message


def test_more_than_two_gib_is_refused_before_any_number_is_made() -> None:
    build = Builder()
    x = build.input("x", TensorType((1, 2**15)))
    w = build.declare("param", "w", Seeded(TensorType((2**15, 2**15)), Uniform(1.0)))
    (y,) = build.emit(OPS["linear"](), [x, w])
    with pytest.raises(tg.BudgetError, match="2 GiB"):
        tg.save(build.finish([("y", y)]), io.BytesIO())


# ---- the exporter that `to_onnx` gets ----


@family
class Written(Op):
    """An op that writes itself as the test says; not registered."""

    name = "written"
    labels = ("y", "z")
    arity = (1, 1)
    write: Any = None

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return x, x

    def to_onnx(self, export: Any, inputs: Any, types: Any) -> Any:
        return self.write(export, inputs[0])


def written(write: Any) -> onnx.ModelProto:
    build = Builder()
    x = build.input("x", TensorType((3,)))
    y, z = build.emit(Written(write), [x], ["y"])
    proto = to_proto(build.finish([("first", y), ("z", z)]))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def shapes(proto: onnx.ModelProto) -> list[tuple[str, str, list[str], list[str]]]:
    return [(n.name, n.op_type, list(n.input), list(n.output)) for n in proto.graph.node]


def test_intermediate_results_have_fresh_names_and_results_the_values_names() -> None:
    def write(export: OnnxExporter, x: str) -> list[str]:
        relu = export.node("Relu", [x])
        return [export.node("Relu", [relu]), export.node("Add", [relu, export.const(np.ones(3, np.float32))])]

    proto = written(write)
    assert shapes(proto) == [
        ("y.Relu", "Relu", ["x"], ["y.Relu"]),
        ("y", "Relu", ["y.Relu"], ["first"]),
        ("z", "Add", ["y.Relu", "y.const"], ["z"]),
    ]


def test_results_that_are_no_fresh_names_become_identities() -> None:
    proto = written(lambda export, x: [x, export.const(np.ones(3, np.float32))])
    assert [n[1:] for n in shapes(proto)] == [("Identity", ["x"], ["first"]), ("Identity", ["y.const"], ["z"])]
    proto = written(lambda export, x: [export.node("Relu", [x])] * 2)
    assert [n[1:] for n in shapes(proto)] == [("Relu", ["x"], ["first"]), ("Identity", ["first"], ["z"])]


def test_attributes_are_of_the_type_that_the_operator_wants() -> None:
    proto = written(
        lambda export, x: [
            export.node("LeakyRelu", [x], alpha=1),
            export.node("Cast", [x], to=np.dtype("f4"), saturate=None),
        ]
    )
    alpha, to = (n.attribute for n in proto.graph.node)
    assert [(a.name, a.type, a.f) for a in alpha] == [("alpha", onnx.AttributeProto.FLOAT, 1.0)]
    assert [(a.name, a.type, a.i) for a in to] == [("to", onnx.AttributeProto.INT, onnx.TensorProto.FLOAT)]


# ---- the file ----


GRAPH = traced(lambda x: ops.relu(x))


def test_a_file_object_and_a_path_get_the_same_bytes(tmp_path: Path) -> None:
    file = io.BytesIO()
    tg.save(GRAPH, file)
    for target in (tmp_path / "a.onnx", str(tmp_path / "b.onnx")):
        tg.save(GRAPH, target)
        assert Path(target).read_bytes() == file.getvalue()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "m.onnx"
    target.write_bytes(b"old")
    with pytest.raises(tg.UsageError):
        tg.save(traced(lambda x: {"x": ops.relu(x)}), target)

    def full(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(tg.UsageError, match="No space left"):
        tg.save(GRAPH, target)
    monkeypatch.undo()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("m.onnx", b"old")]


def test_a_link_is_followed_and_a_device_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "real.onnx").write_bytes(b"old")
    (tmp_path / "link.onnx").symlink_to("real.onnx")
    tg.save(GRAPH, tmp_path / "link.onnx")
    assert (tmp_path / "link.onnx").is_symlink()
    assert str(tg.load(tmp_path / "real.onnx")) == str(GRAPH)
    tg.save(GRAPH, os.devnull)
    assert Path(os.devnull).is_char_device()


def test_a_target_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(tg.UsageError, match=r"cannot write .*m\.onnx: No such file or directory"):
        tg.save(GRAPH, tmp_path / "missing" / "m.onnx")
    with pytest.raises(tg.UsageError, match="Is a directory"):
        tg.save(GRAPH, tmp_path)
    with pytest.raises(tg.UsageError, match="null"):
        tg.save(GRAPH, "a\0b")
    with pytest.raises(tg.UsageError, match="opened for text"):
        tg.save(GRAPH, io.StringIO())
