"""Weights in .npz files."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, weights
from tinygraph.weights import npz

STATE = {
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "scalar": np.array(3),
    "empty": np.zeros((0, 2), np.float16),
    "big endian": np.array([1, 2], ">f4"),
    "layer/../file": np.array([True, False]),
    "": np.ones(1, np.uint8),
    "é": np.ones((1, 1, 1)),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.npz"


def header(text: str, version: int = 1) -> bytes:
    """The beginning of a .npy file."""
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode()


def array(descr: str = "'<f4'", fortran: str = "False", shape: str = "(4,)", content: bytes = bytes(16)) -> bytes:
    """A .npy file."""
    return header(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}\n") + content


def write(path: Path, content: bytes, name: str = "x.npy", compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, content)
    return path


def test_what_is_saved_is_loaded(path: Path) -> None:
    weights.save(STATE, path)
    loaded = weights.load(path)
    assert list(loaded) == list(STATE)
    for name, saved in STATE.items():
        assert np.array_equal(loaded[name], saved)
        assert loaded[name].dtype == saved.dtype.newbyteorder("=")
        assert not loaded[name].flags.writeable


def test_numpy_reads_and_writes_the_same(path: Path) -> None:
    weights.save(STATE, path)
    with np.load(path) as loaded:
        assert all(np.array_equal(loaded[name], saved) for name, saved in STATE.items())
    for save in (np.savez, np.savez_compressed):
        save(path, **{name or "none": saved for name, saved in STATE.items()})
        loaded = weights.load(path)
        assert all(np.array_equal(loaded[name or "none"], saved) for name, saved in STATE.items())


def test_the_same_arrays_make_the_same_bytes(path: Path) -> None:
    weights.save(STATE, path)
    first = path.read_bytes()
    weights.save(STATE, path)
    assert path.read_bytes() == first


def test_modules_save_and_load_themselves(path: Path) -> None:
    first, second = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3)
    second.reseed(1)
    first.save(path)
    assert not np.array_equal(first.state_dict()["weight"], second.state_dict()["weight"])
    second.load(str(path))
    assert np.array_equal(first.state_dict()["weight"], second.state_dict()["weight"])


def test_what_no_weight_is_cannot_be_saved(path: Path) -> None:
    weights.save({"x": np.ones(2)}, path)
    for state in ({"x": np.array(["text"])}, {"x": np.array([{}])}, {"a\0b": np.ones(1)}, {"\ud800": np.ones(1)}):
        with pytest.raises(tg.UsageError, match="cannot"):
            weights.save(state, path)
    assert weights.load(path)["x"].tolist() == [1, 1]
    assert list(path.parent.iterdir()) == [path]


def test_a_file_cut_off_anywhere_is_refused(path: Path) -> None:
    weights.save({"a": np.ones(3, np.float32), "b": np.ones((2, 2))}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(tg.ModelFormatError, match=r"net\.npz"):
            weights.load(path)


def test_pickles_are_refused(path: Path) -> None:
    np.savez(path, x=np.array([{}]))
    with pytest.raises(tg.ModelFormatError, match="'x' is object, which no weight can be"):
        weights.load(path)


def test_the_smallest_of_files_by_hand(path: Path) -> None:
    numbers = struct.pack("<4f", 1, 2, 3, 4)
    assert weights.load(write(path, array(content=numbers)))["x"].tolist() == [1, 2, 3, 4]
    turned = array(fortran="True", shape="(2, 2)", content=numbers)
    assert weights.load(write(path, turned))["x"].tolist() == [[1, 3], [2, 4]]
    old = array(shape="(4L,)", content=numbers)
    assert weights.load(write(path, old))["x"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        array(shape="(5,)"),
        array(shape="(3,)"),
        array(shape="(-4,)"),
        array(shape="(-2, -2)"),
        array(shape="(0, 4611686018427387904)"),
        array(shape="(2, 4611686018427387904, 4611686018427387904)"),
        array(shape="(0, " + "9" * 400 + ")", content=b""),
        array(shape="4"),
        array(shape="(4.0,)"),
        array(shape="(" + "1, " * 65 + ")", content=bytes(4)),
        array(fortran="0"),
        array(descr="'<f5'"),
        array(descr="[('a', '<f4')]"),
        array(descr="'<c8'", shape="(2,)"),
        array(descr="'<U1'"),
        array(descr="'<M8[s]'", shape="(2,)"),
        array(descr="'V4'"),
        array(descr="(" * 3000),
        header("{}\n"),
        header("{" + " " * 60_000 + "}"),
        header("__import__('os').abort()\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': ()}\n" + " " * 20_000, 2) + bytes(4),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': ()}\n", 3) + bytes(4),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
    ],
)
def test_damaged_and_hostile_arrays_are_refused(path: Path, content: bytes) -> None:
    with pytest.raises(tg.ModelFormatError, match=r"net\.npz") as caught:
        weights.load(write(path, content))
    assert len(str(caught.value)) < 400


def test_bombs_are_refused_before_they_go_off(path: Path) -> None:
    zeros = io.BytesIO()
    np.save(zeros, np.zeros(25_000_000, np.float32))
    write(path, zeros.getvalue(), compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    with pytest.raises(tg.BudgetError, match="more than 100,000,000 bytes"):
        weights.load(path, limit=100_000_000)
    assert weights.load(path)["x"].shape == (25_000_000,)
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", 2**31)
    path.write_bytes(content)
    with pytest.raises(tg.ModelFormatError, match="a size or a place that it cannot have"):
        weights.load(path)


def test_other_members_and_other_compressions_are_refused(path: Path) -> None:
    with pytest.raises(tg.ModelFormatError, match=r"'notes\.txt' in it is no \.npy file"):
        weights.load(write(path, b"text", "notes.txt"))
    with pytest.raises(tg.ModelFormatError, match="compressed in a way that is not read"):
        weights.load(write(path, array(), compression=zipfile.ZIP_BZIP2))


def test_npz_is_the_way_to_save_arrays_that_are_no_weights(path: Path) -> None:
    npz.save({"file": np.array([1 + 2j]), "allow_pickle": np.ones(1)}, path)
    with np.load(path) as loaded:
        assert loaded["file"].tolist() == [1 + 2j]
