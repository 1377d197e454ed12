"""Weights in safetensors files."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.weights import safetensors


def file_of(header: object, body: bytes = b"") -> bytes:
    """A safetensors file, right or wrong."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.safetensors"


def test_what_is_saved_is_loaded(path: Path) -> None:
    state = {
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "scalar": np.array(3),
        "empty": np.zeros((0, 2), np.float16),
        "big endian": np.array([1, 2], ">f4"),
    }
    safetensors.save(state, path)
    loaded = safetensors.load(path)
    assert set(loaded) == set(state)
    for name, array in state.items():
        assert np.array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype.newbyteorder("=")
        assert not loaded[name].flags.writeable


def test_modules_save_and_load_themselves(path: Path) -> None:
    first, second = (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
    )
    first.save(path)
    assert not np.array_equal(first.state_dict()["0.weight"], second.state_dict()["0.weight"])
    second.load(str(path))
    for name, array in first.state_dict().items():
        assert np.array_equal(second.state_dict()[name], array)


def test_a_file_is_replaced_only_by_a_whole_one(path: Path) -> None:
    safetensors.save({"a": np.ones(2)}, path)
    with pytest.raises(tg.UsageError, match="cannot be written"):
        safetensors.save({"a": np.zeros(2), "b": np.array(["text"])}, path)
    assert safetensors.load(path)["a"].tolist() == [1, 1]
    assert os.listdir(path.parent) == [path.name]


def test_folders_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(tg.UsageError, match=r"cannot write .*: No such file"):
        safetensors.save({"a": np.ones(2)}, tmp_path / "none" / "net.safetensors")


def test_a_file_cut_off_anywhere_is_refused(path: Path) -> None:
    safetensors.save({"a": np.ones(3, np.float32), "b": np.ones((2, 2))}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(tg.ModelFormatError, match=r"net\.safetensors"):
            safetensors.load(path)


FLOATS = struct.pack("<f", -4) + b"\x80\x3f\x00\xc0\x40\x40\x00\x3f"
F32 = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04 a zip file, such as PyTorch writes",
        b"\x80\x02 a pickle",
        struct.pack("<Q", 1 << 60) + b"{}",
        file_of([1, 2]),
        file_of({"a": {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 4]}}, b"\0" * 4),
        file_of({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        file_of({"a": F32, "b": F32}, b"\0" * 4),
        file_of({"a": F32, "b": {**F32, "data_offsets": [2, 6]}}, b"\0" * 6),
        file_of({"a": F32, "b": {**F32, "data_offsets": [5, 9]}}, b"\0" * 9),
        file_of({"a": F32}, b"\0" * 5),
        file_of({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"\0" * 4),
        file_of({"a": {"dtype": "WHAT", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
    ],
    ids=[
        *("zip", "pickle", "huge header", "list", "huge shape", "short"),
        *("twice", "overlap", "a hole", "more", "reversed", "unknown dtype"),
    ],
)
def test_damaged_and_hostile_files_are_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(tg.ModelFormatError, match=r"net\.safetensors is no safetensors file, or is damaged"):
        safetensors.load(path)


def test_bfloat16_becomes_float32(path: Path) -> None:
    brain = {"dtype": "BF16", "shape": [2, 1], "data_offsets": [4, 8]}
    path.write_bytes(file_of({"b": brain, "a": F32, "c": {**brain, "data_offsets": [8, 12]}}, FLOATS))
    loaded = safetensors.load(path)
    assert loaded["a"].tolist() == [-4]
    assert loaded["b"].tolist() == [[1], [-2]]
    assert loaded["c"].tolist() == [[3], [0.5]]
    assert {array.dtype for array in loaded.values()} == {np.dtype(np.float32)}
    assert not loaded["b"].flags.writeable
    size = path.stat().st_size
    with pytest.raises(tg.BudgetError, match=f"more than {size:,} bytes"):
        safetensors.load(path, limit=size)
    assert len(safetensors.load(path, limit=size + 16)) == 3


def test_the_limit_is_for_all_arrays_together(path: Path) -> None:
    safetensors.save({"a": np.ones(1000), "b": np.ones(1000)}, path)
    with pytest.raises(tg.BudgetError, match="more than 16,000 bytes"):
        safetensors.load(path, limit=16_000)


def test_complex_numbers_are_refused(path: Path) -> None:
    path.write_bytes(file_of({"a": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)))
    with pytest.raises(tg.ModelFormatError, match=r"'a' is (complex64|C64)"):
        safetensors.load(path)


def test_dtypes_that_numpy_has_not_are_named(path: Path) -> None:
    path.write_bytes(file_of({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, b"\0" * 4))
    with pytest.raises(tg.ModelFormatError, match="'a' is F8_E4M3, unknown to NumPy"):
        safetensors.load(path)


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path, tmp_path / "none.safetensors", tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(tg.UsageError, match="no such file"):
            safetensors.load(name)


def test_weights_of_another_network_are_refused_and_nothing_changes(path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 3))
    before = net.state_dict()
    safetensors.save({"0.weight": np.ones((3, 2)), "0.bias": np.ones(4), "1.weight": np.ones(1)}, path)
    with pytest.raises(tg.UsageError, match=r"unexpected: 1\.weight; of another shape: 0\.bias is \(4,\), want \(3,\)"):
        net.load(path)
    assert all(np.array_equal(net.state_dict()[name], array) for name, array in before.items())


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_others_may_read_what_they_may_read_of_other_files(tmp_path: Path, path: Path) -> None:
    (tmp_path / "other").touch()
    safetensors.save({"x": np.zeros(2)}, path)
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="named pipes are of POSIX")
def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    safetensors.save({"x": np.arange(2.0)}, pipe)
    (tmp_path / "copy").write_bytes(os.read(reader, 4096))
    os.close(reader)
    assert pipe.is_fifo()
    assert safetensors.load(tmp_path / "copy")["x"].tolist() == [0, 1]
