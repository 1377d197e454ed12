"""Files of torch.save."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tests.weights.files import FOLDER, FOUR, call, named, pickled, stored, tensor, write
from tinygraph import nn, weights

FACTS = json.loads((FOLDER / "facts.json").read_text())


@pytest.mark.parametrize("name", FACTS)
def test_every_number_is_what_pytorch_saved(name: str) -> None:
    state = weights.load(FOLDER / name)
    assert list(state) == list(FACTS[name])
    for key, fact in FACTS[name].items():
        array = state[key]
        assert array.dtype == ("float32" if fact["dtype"] == "bfloat16" else fact["dtype"])
        assert list(array.shape) == fact["shape"]
        assert array.ravel().tolist() == fact["values"]
        assert array.flags.c_contiguous
        assert not array.flags.writeable


def test_the_sign_of_zero_survives() -> None:
    state = weights.load(FOLDER / "dtypes.pth")
    for key in ("float64", "float32", "float16", "bfloat16"):
        assert np.signbit(state[key][0, 0])


def test_tied_tensors_are_one_array() -> None:
    state = weights.load(FOLDER / "tied.pt")
    assert state["embedding.weight"] is state["head.weight"]


def test_a_network_takes_them_whatever_stands_around() -> None:
    for name in ("network.pth", "checkpoint.pth.tar"):
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        net.load(FOLDER / name)
        assert net.state_dict()["0.weight"].ravel().tolist() == FACTS["network.pth"]["0.weight"]["values"]


def test_a_converted_file_holds_the_same(tmp_path: Path) -> None:
    state = weights.load(FOLDER / "dtypes.pth")
    for suffix in weights.WRITTEN:
        weights.save(state, tmp_path / f"net{suffix}")
        again = weights.load(tmp_path / f"net{suffix}")
        assert {k: (v.dtype, v.shape, v.tobytes()) for k, v in again.items()} == {
            k: (v.dtype, v.shape, v.tobytes()) for k, v in state.items()
        }


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "weights"])
def test_where_checkpoints_keep_a_state_dict(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "net.pt", pickled({"epoch": 1, key: {"x": tensor()}, "loss": 0.5}))
    assert {k: v.tolist() for k, v in weights.load(path).items()} == {"x": [1, 2, 3, 4]}


def test_numbers_of_either_order(tmp_path: Path) -> None:
    numbers = struct.pack(">4f", 1, 2, 3, 4)
    path = write(tmp_path / "net.pt", pickled({"x": tensor()}), {"0": numbers}, byteorder=b"big")
    array = weights.load(path)["x"]
    assert array.tolist() == [1, 2, 3, 4]
    assert array.dtype.isnative
    brain = {"x": tensor(stored("torch.BFloat16Storage", "0", 2), 0, (2,))}
    path = write(tmp_path / "net.pt", pickled(brain), {"0": b"\x3f\x80\xc0\x00"}, byteorder=b"big")
    assert weights.load(path)["x"].tolist() == [1, -2]
    write(tmp_path / "net.pt", pickled({"x": tensor()}), byteorder=b"middle")
    with pytest.raises(tg.ModelFormatError, match="no order of bytes"):
        weights.load(tmp_path / "net.pt")


def test_a_bool_is_true_or_false_whatever_its_byte(tmp_path: Path) -> None:
    state = {"x": tensor(stored("torch.BoolStorage", "0", 3), 0, (3,))}
    path = write(tmp_path / "net.pt", pickled(state), {"0": b"\x00\x01\x02"})
    assert weights.load(path)["x"].tobytes() == b"\x00\x01\x01"


def test_the_stride_of_one_number_is_of_no_account(tmp_path: Path) -> None:
    state = {"x": tensor(None, 0, (1, 4, 1), (2**62, 1, 2**62)), "y": tensor(None, 3, (1,), (2**1000,))}
    state |= {"none": tensor(None, 7, (0, 3), (1, 1)), "scalar": tensor(None, 2, (), ())}
    loaded = weights.load(write(tmp_path / "net.pt", pickled(state)))
    assert loaded["x"].tolist() == [[[1], [2], [3], [4]]]
    assert loaded["y"].tolist() == [4]
    assert loaded["none"].shape == (0, 3)
    assert loaded["scalar"] == 3


def test_an_empty_state_dict(tmp_path: Path) -> None:
    assert weights.load(write(tmp_path / "net.pt", pickled({}))) == {}
    assert weights.load(write(tmp_path / "net.pt", pickled(call("collections.OrderedDict")))) == {}


# ---- what is refused by name ----


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("legacy.pth", "is of the format before PyTorch 1.6, which is not read: torch.save"),
        ("module.pth", "it holds 'torch.nn.modules.linear.Linear', which is no tensor; nothing was executed"),
        ("script.pt", "it holds '__torch__.torch.nn.modules.linear.Linear', which is no tensor"),
    ],
)
def test_other_files_of_pytorch_are_told_by_name(name: str, said: str) -> None:
    with pytest.raises(tg.ModelFormatError) as caught:
        weights.load(FOLDER / name)
    assert said in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("kind", ["torch.ComplexFloatStorage", "torch.QInt8Storage", "torch.storage.UntypedStorage"])
def test_dtypes_that_are_not_read_are_told(tmp_path: Path, kind: str) -> None:
    with pytest.raises(tg.ModelFormatError, match=rf"'{kind}', which is a dtype that is not read"):
        weights.load(write(tmp_path / "net.pt", pickled({"x": tensor(stored(kind))})))


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        ([tensor()], "it holds a list, no dict of tensors by name"),
        (None, "it holds a NoneType"),
        ({"x": tensor(), "epoch": 3, "lr": 0.1}, "'epoch', 'lr' is something else"),
        ({"model": {"x": 3}}, "'model' is something else"),
        ({3: tensor()}, "a key is something else"),
        ({"x" * 10_000: 3}, "xxx..."),
    ],
)
def test_what_is_no_state_dict_is_told(tmp_path: Path, thing: object, said: str) -> None:
    with pytest.raises(tg.ModelFormatError) as caught:
        weights.load(write(tmp_path / "net.pt", pickled(thing)))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500


def test_files_that_do_not_begin_as_they_should(tmp_path: Path) -> None:
    weights.save({"x": np.ones(3)}, tmp_path / "net.safetensors")
    (tmp_path / "net.safetensors").rename(tmp_path / "net.pt")
    (tmp_path / "tar.pth").write_bytes(b"\0" * 257 + b"ustar" + b"\0" * 250)
    (tmp_path / "empty.bin").touch()
    for name, said in {"net.pt": "is no PyTorch file", "tar.pth": "before PyTorch 1.6", "empty.bin": "is no"}.items():
        with pytest.raises(tg.ModelFormatError, match=said):
            weights.load(tmp_path / name)
    for missing in (tmp_path, tmp_path / "none.pt"):
        with pytest.raises(tg.UsageError, match="no such file"):
            weights.load(missing / "x.pt")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("text", "text")
    with pytest.raises(tg.ModelFormatError, match=r"there is no data\.pkl in it"):
        weights.load(tmp_path / "other.pt")


def test_files_of_pytorch_are_not_written(tmp_path: Path) -> None:
    for name in ("net.pt", "net.PTH", "net.bin"):
        with pytest.raises(tg.UsageError, match=r"read only; write \.safetensors"):
            nn.Linear(1, 1).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_limit_holds_before_anything_is_allocated(tmp_path: Path) -> None:
    path = write(tmp_path / "net.pt", pickled({"x": tensor()}))
    assert len(weights.load(path, limit=16)["x"]) == 4
    with pytest.raises(tg.BudgetError, match="more than 15 bytes"):
        weights.load(path, limit=15)
    net = nn.Linear(4, 1, bias=False)
    with pytest.raises(tg.BudgetError):
        net.load(path, limit=15)
    wide = {"x": tensor(None, 0, (2**20, 2**20), (0, 0))}
    with pytest.raises(tg.BudgetError, match="give a higher limit"):
        weights.load(write(tmp_path / "wide.pt", pickled(wide)))


def test_names_are_named_for_themselves() -> None:
    assert named("torch.FloatStorage") == b"ctorch\nFloatStorage\n"
    assert struct.unpack("<4f", FOUR) == (1, 2, 3, 4)


@pytest.mark.parametrize("name", ["net.pt", "net.npz", "net.safetensors"])
def test_a_disk_that_fails_is_told(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).touch()

    def fails(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("safetensors.safe_open" if name == "net.safetensors" else "builtins.open", fails)
    with pytest.raises(tg.UsageError, match=f"{name}: Permission denied"):
        weights.load(tmp_path / name)
