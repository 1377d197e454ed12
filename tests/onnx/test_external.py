"""Numbers in other files: read from the folder of the model, and from nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import tinygraph as tg
from tests.onnx.files import model, node

NUMBERS = np.arange(12, dtype=np.float32).reshape(3, 4)


def outside(dims: Any = (3, 4), **entries: Any) -> TensorProto:
    tensor = TensorProto(name="w", data_type=1, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def written(folder: Path, tensor: TensorProto) -> Path:
    folder.mkdir(exist_ok=True)
    proto = model([node("Mul", "x w", "y")], {"x": [3, 4]}, {"y": [3, 4]}, [tensor])
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def rejected(path: Path, reason: str) -> None:
    with pytest.raises(tg.ModelFormatError, match=reason) as error:
        tg.load(path)
    assert str(error.value).startswith("m.onnx: initializer 'w': ")
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("location", ["w.bin", "./w.bin", "sub/w.bin", "sub//./w.bin", "sub\\w.bin"])
@pytest.mark.parametrize("offset", [None, 0, 4096])
def test_numbers_beside_the_model_are_read(location: str, offset: int | None, tmp_path: Path) -> None:
    place = tmp_path / location.replace("\\", "/")
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(bytes(offset or 0) + NUMBERS.tobytes() + bytes(100))
    entries = {"location": location, "length": NUMBERS.nbytes}
    path = written(tmp_path, outside(**entries, **({} if offset is None else {"offset": offset})))
    graph = tg.load(path)
    (value,) = graph.data
    np.testing.assert_array_equal(graph.array(value), NUMBERS)


def test_what_onnx_saves_with_external_data_is_read(tmp_path: Path) -> None:
    proto = model([node("Mul", "x w", "y")], {"x": [3, 4]}, {"y": [3, 4]}, {"w": NUMBERS})
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    graph = tg.load(tmp_path / "m.onnx")
    np.testing.assert_array_equal(graph.array(next(iter(graph.data))), NUMBERS)


@pytest.mark.parametrize(
    "location",
    [
        "../w.bin",
        "a/../../w.bin",
        "a/../w.bin",
        "/etc/passwd",
        "C:\\w.bin",
        "\\\\host\\w.bin",
        "..\\w.bin",
        "",
        ".",
        "a\0b",
    ],
)
def test_what_is_not_below_the_folder_is_not_opened(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "inside", outside(location=location))
    (tmp_path / "w.bin").write_bytes(NUMBERS.tobytes())
    monkeypatch.chdir(tmp_path / "inside")
    rejected(path, "numbers are in another file, whose name|only files in the folder of the model")


def test_links_and_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "w.bin").write_bytes(NUMBERS.tobytes())
    inside = tmp_path / "inside"
    path = written(inside, outside(location="leaf"))
    (inside / "leaf").symlink_to(secret / "w.bin")
    rejected(path, "links are not followed")
    path = written(inside, outside(location="parent/w.bin"))
    (inside / "parent").symlink_to(secret)
    rejected(path, "links are not followed")
    path = written(inside, outside(location="hard"))
    os.link(secret / "w.bin", inside / "hard")
    rejected(path, "hard link")
    path = written(inside, outside(location="pipe"))
    os.mkfifo(inside / "pipe")  # reading it would never end
    rejected(path, "no regular file")
    path = written(inside, outside(location="folder"))
    (inside / "folder").mkdir()
    rejected(path, "no regular file|Is a directory")
    path = written(inside, outside(location="zero"))
    (inside / "zero").symlink_to("/dev/zero")
    rejected(path, "links are not followed")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"offset": -4}, "its offset in the other file is '-4'"),
        ({"offset": 2**70}, "its offset in the other file"),
        ({"offset": 10**15}, "which has 48"),
        ({"offset": 4}, "wants bytes 4 to 52 of 'w.bin', which has 48"),
        ({"length": 10**15}, "want 48 bytes, its length in the other file is 1000000000000000"),
        ({"length": 47}, "want 48 bytes"),
        ({"length": "0x30"}, "its length in the other file is '0x30'"),
        ({"length": "٤٨"}, "want a whole number"),
    ],
)
def test_places_that_are_not_there_are_rejected(entries: dict[str, Any], reason: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(NUMBERS.tobytes())
    rejected(written(tmp_path, outside(location="w.bin", **entries)), reason)


def test_dims_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(NUMBERS.tobytes())
    rejected(written(tmp_path, outside((2**40, 2**40), location="w.bin")), "which has 48")
    rejected(written(tmp_path, outside((-3, 4), location="w.bin")), "negative")


def test_missing_files_and_other_sources_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, outside(location="missing.bin"))
    rejected(path, "'missing.bin', which cannot be read: No such file")
    with pytest.raises(tg.ModelFormatError, match="only when the model is loaded by its path"):
        tg.load(path.read_bytes())


def test_numbers_in_two_places_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(NUMBERS.tobytes())
    tensor = outside(location="w.bin")
    tensor.raw_data = NUMBERS.tobytes()
    rejected(written(tmp_path, tensor), "in another file and in raw_data")
    tensor = outside(location="w.bin")
    tensor.external_data.add(key="location", value="v.bin")
    rejected(written(tmp_path, tensor), "two entries 'location'")


def test_a_constant_of_a_node_is_not_read_from_another_file(tmp_path: Path) -> None:
    proto = model([node("Constant", "", "y", "c", value=outside(location="w.bin"))], {"x": [1]}, {"y": [3, 4]})
    with pytest.raises(tg.ModelFormatError, match="Constant 'c': its numbers are in another file"):
        tg.load(proto.SerializeToString())


def test_what_onnx_saves_of_constants_in_another_file_is_read(tmp_path: Path) -> None:
    constant = node("Constant", "", "w", value=onnx.numpy_helper.from_array(NUMBERS))
    proto = model([constant, node("Mul", "x w", "y")], {"x": [3, 4]}, {"y": [3, 4]})
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=0, convert_attribute=True)
    graph = tg.load(path)
    np.testing.assert_array_equal(graph.array(next(iter(graph.data))), NUMBERS)
