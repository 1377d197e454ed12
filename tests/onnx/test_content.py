"""Numbers that stay in the file until their tensor is read: the graph is the one that protobuf alone would give."""

from __future__ import annotations

import tracemalloc
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

import tinygraph as tg
from tests.onnx.files import info, model, node
from tinygraph.onnx import content
from tinygraph.onnx.load import from_proto, input_types

BIG = np.arange(6000, dtype=np.float32).reshape(2, 3000)
SMALL = np.float32([1, 2])


def proto(**weights: Any) -> onnx.ModelProto:
    """A model that reads all of its weights, and a branch that has one of its own."""
    inner = model([], {}, {"i": [2]}, {"i": SMALL}).graph
    nodes = [node("Constant", "", "yes", value=onnx.numpy_helper.from_array(np.array(True)))]
    nodes.append(node("If", "yes", "h", then_branch=inner, else_branch=inner))
    types = {name: onnx.helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in weights.items()}
    outputs = [info("h", None), *(info(f"{name}.t", None, types[name]) for name in weights)]
    nodes += [node("Transpose", name, f"{name}.t") for name in weights]
    return model(nodes, [info("x", [2])], outputs, weights)


def message(content: bytes) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.ParseFromString(content)
    return made


def same(found: tg.Graph, wanted: tg.Graph) -> None:
    assert str(found) == str(wanted)
    for a, b in zip(found.data, wanted.data, strict=True):
        np.testing.assert_array_equal(found.array(a), wanted.array(b))
        assert not found.array(a).flags.writeable


def sources(data: bytes, path: Path) -> list[Any]:
    path.write_bytes(data)
    return [data, BytesIO(data), path]


def test_large_numbers_are_left_out_of_the_message(tmp_path: Path) -> None:
    made = proto(a=BIG, b=SMALL, c=BIG > 4, d=BIG[:, ::-1].astype(np.float64), e=BIG.astype(np.int64))
    data = made.SerializeToString()
    parsed = content.parsed(BytesIO(data))
    sizes = [None if raw is None else raw.nbytes for raw in parsed.raws]
    assert sizes == [BIG.nbytes, None, BIG.size, 2 * BIG.nbytes, 2 * BIG.nbytes]
    assert parsed.model.ByteSize() < 2000
    for source in sources(data, tmp_path / "m.onnx"):
        same(tg.load(source), from_proto(made))
    assert list(input_types(data)) == ["x"]


def test_arrays_are_whole_and_of_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(proto(a=BIG).SerializeToString())
    graph = tg.load(path)
    array = graph.array(graph.value("a"))
    base = array.base
    assert isinstance(base, np.ndarray)
    assert base.nbytes == array.nbytes  # no part of something larger
    assert not base.flags.writeable
    with path.open("r+b") as file:
        file.write(bytes(30_000))
    np.testing.assert_array_equal(array, BIG)


TENSOR = TensorProto(name="a", data_type=1, dims=[2], raw_data=SMALL.tobytes()).SerializeToString()
ODD = {
    "numbers twice": TENSOR + b"\x4a\x08" + bytes(8),
    "unknown fields": TENSOR + b"\xd8\x3e\x01\xe5\x3e1234\xe1\x3e12345678\xea\x3e\x01!",
    "a group": TENSOR + b"\xdb\x3e\xd8\x3e\x01\xdc\x3e",
}


@pytest.mark.parametrize("tensor", ODD.values(), ids=ODD)
def test_fields_may_be_odd(tensor: bytes) -> None:
    rest = proto().SerializeToString()
    graph = onnx.GraphProto(node=[node("Relu", "a", "r")]).SerializeToString()
    graph += b"\x2a" + bytes([len(tensor)]) + tensor
    # The graph is there twice, which protobuf merges.
    data = rest + b"\x3a" + bytes([len(graph)]) + graph
    with patch.object(content, "_LARGE", 1):
        same(tg.load(data), from_proto(message(data)))


def test_weights_are_in_memory_once(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(proto(**{f"w{i}": np.full((100, 2000), i, np.float32) for i in range(10)}).SerializeToString())
    tracemalloc.start()
    try:
        graph = tg.load(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    total = sum(v.type.nbytes for v in graph.data)
    assert total > 8_000_000
    assert peak < 1.2 * total


def test_fields_are_not_followed_for_ever() -> None:
    many = proto(a=BIG)
    many.graph.initializer[0].metadata_props.extend(onnx.StringStringEntryProto() for _ in range(300))
    assert content.parsed(BytesIO(many.SerializeToString())).raws == [None]
    same(tg.load(many.SerializeToString()), from_proto(many))
    data = proto(a=BIG).SerializeToString()
    with patch.object(content, "_MOST_FIELDS", 10):
        assert content.parsed(BytesIO(data)).raws == [None]
        same(tg.load(data), from_proto(message(data)))


def loaded(make: Any) -> tuple[str, list[bytes]] | str:
    try:
        graph = make()
    except tg.TinygraphError as error:
        return f"{type(error)} {error}"
    return str(graph), [graph.array(v).tobytes() for v in graph.data]


@given(st.data())
def test_a_changed_byte_changes_the_same_as_without_this(data: Any) -> None:
    changed = bytearray(proto(a=BIG[:, :5], b=SMALL).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    bytes_of_it = bytes(changed)
    with patch.object(content, "_LARGE", 1), patch.object(content, "_WINDOW", 50):
        found = loaded(lambda: tg.load(bytes_of_it))
    with patch.object(content, "_MOST_FIELDS", 0):
        assert found == loaded(lambda: tg.load(bytes_of_it))


def test_a_file_that_becomes_shorter_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(proto(a=BIG).SerializeToString())
    with path.open("rb") as file:
        (raw,) = content.parsed(file).raws
        path.write_bytes(b"short")
        assert raw is not None
        with pytest.raises(tg.ModelFormatError, match="became shorter"):
            raw.read()


def test_numbers_here_and_in_another_file_are_refused(tmp_path: Path) -> None:
    made = proto(a=BIG)
    made.graph.initializer[0].external_data.add(key="location", value="w.bin")
    for source in sources(made.SerializeToString(), tmp_path / "m.onnx"):
        with pytest.raises(tg.ModelFormatError, match="in another file and in raw_data"):
            tg.load(source)


def test_sizes_are_checked_before_numbers_are_read() -> None:
    made = proto(a=BIG)
    made.graph.initializer[0].dims[0] = 2**40
    with pytest.raises(tg.ModelFormatError, match=r"initializer 'a': its dims .* want .* bytes, there are 24000"):
        tg.load(made.SerializeToString())
