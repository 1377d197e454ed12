"""`tinygraph convert`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import tinygraph
from tests.tools import nets
from tests.tools.command import NETS, complaint, invoke
from tests.weights import files
from tests.weights.files import FOLDER, pickled, stored, tensor
from tinygraph import weights
from tinygraph.ir import Array


@pytest.fixture
def trained() -> dict[str, Array]:
    """The weights of a lenet5 that is not the one of `models.create("lenet5")`."""
    return tinygraph.models.create("lenet5", seed=7).state_dict()


def same(a: Mapping[str, Array], b: Mapping[str, Array]) -> None:
    assert set(a) == set(b)
    for name, array in a.items():
        assert array.dtype == b[name].dtype
        assert np.array_equal(array, b[name])


def pytorch_file(path: Path, state: Mapping[str, Array]) -> str:
    """A file as torch.save makes it, of these float32 arrays."""
    tensors = {}
    for i, (name, array) in enumerate(state.items()):
        strides = tuple(stride // 4 for stride in array.strides)
        tensors[name] = tensor(stored(key=str(i), size=array.size), 0, array.shape, strides)
    return str(files.write(path, pickled(tensors), {str(i): a.tobytes() for i, a in enumerate(state.values())}))


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "pth", "NPZ"])
def test_weights_and_a_network_become_an_onnx_file(tmp_path: Path, trained: dict[str, Array], suffix: str) -> None:
    path, onnx = tmp_path / f"w.{suffix}", str(tmp_path / "net.onnx")
    pytorch_file(path, trained) if suffix == "pth" else weights.save(trained, path)
    result = invoke("convert", "lenet5", "--weights", str(path), onnx)
    assert result.stdout == ""
    assert result.stderr == f"tinygraph: note: wrote {onnx}\n"
    x = np.linspace(-1, 1, 1024, dtype=np.float32).reshape(1, 1, 32, 32)
    want = tinygraph.models.create("lenet5", seed=7)(x)
    np.testing.assert_allclose(tinygraph.compile(tinygraph.load(onnx))(x), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", ["w.npz", "w.safetensors"])
def test_the_weights_in_an_onnx_file_go_back_into_the_network(
    tmp_path: Path, trained: dict[str, Array], target: str
) -> None:
    net = tinygraph.models.create("lenet5")
    net.load_state_dict(trained)
    tinygraph.save(tinygraph.trace(net, *tinygraph.models.inputs("lenet5")), tmp_path / "net.onnx")
    result = invoke("convert", str(tmp_path / "net.onnx"), str(tmp_path / target))
    assert result.stderr == f"tinygraph: note: wrote {tmp_path / target}: 10 arrays, 246,824 bytes\n"
    same(weights.load(tmp_path / target), trained)


def test_statistics_go_along_and_constants_do_not(tmp_path: Path) -> None:
    net = nets.Tiny()
    tinygraph.save(
        tinygraph.trace(lambda x: net(x) * 2 + np.float32(3), tinygraph.Spec((1, 3, 8, 8))), tmp_path / "x.onnx"
    )
    invoke("convert", str(tmp_path / "x.onnx"), str(tmp_path / "w.npz"))
    names = {name for name in net.state_dict() if not name.endswith("num_batches_tracked")}
    assert set(weights.load(tmp_path / "w.npz")) == names


def test_weight_files_become_others(tmp_path: Path, trained: dict[str, Array]) -> None:
    path = pytorch_file(tmp_path / "net.pth", trained)
    for name in ("net.safetensors", "net.npz", "again.safetensors"):
        invoke("convert", path, str(tmp_path / name), "-q")
        same(weights.load(path), weights.load(tmp_path / name))
        path = str(tmp_path / name)
    same(trained, weights.load(path))


def test_names_are_kept_as_they_are_in_the_file(tmp_path: Path) -> None:
    invoke("convert", str(FOLDER / "checkpoint.pth.tar"), str(tmp_path / "w.safetensors"))
    assert set(weights.load(tmp_path / "w.safetensors")) == set(weights.load(FOLDER / "checkpoint.pth.tar"))


def test_networks_are_written_anew(tmp_path: Path) -> None:
    old, new = str(tmp_path / "old.onnx"), str(tmp_path / "new.onnx")
    tinygraph.save(nets.open_batch(), old)
    invoke("convert", old, new)
    x = np.linspace(-1, 1, 2 * 3 * 8 * 8, dtype=np.float32).reshape(2, 3, 8, 8)
    assert np.array_equal(*(tinygraph.compile(tinygraph.load(path).bind(N=2))(x) for path in (old, new)))
    assert tinygraph.load(new).inputs[0].type.shape == ("N", 3, 8, 8)
    invoke("convert", old, new, "-b", "3")
    assert tinygraph.load(new).inputs[0].type.shape == (3, 3, 8, 8)
    invoke("convert", "lenet5", new, "--input-size", "2x1x32x32", "-q")
    assert tinygraph.load(new).inputs[0].type.shape == (2, 1, 32, 32)
    invoke("convert", NETS + "tiny", new, "--input-size", "1x3x8x8")
    assert len(tinygraph.load(new).outputs) == 1


def test_random_weights_are_told(tmp_path: Path) -> None:
    result = invoke("convert", "lenet5:seed=7", str(tmp_path / "w.npz"))
    assert "note: the weights are random: give --weights FILE" in result.stderr
    same(weights.load(tmp_path / "w.npz"), tinygraph.models.create("lenet5", seed=7).state_dict())
    assert invoke("convert", "lenet5", str(tmp_path / "w.npz"), "--quiet").stderr == ""


def test_a_file_may_be_written_over_itself(tmp_path: Path, trained: dict[str, Array]) -> None:
    path = tmp_path / "w.npz"
    weights.save(trained, path)
    invoke("convert", str(path), str(path))
    same(weights.load(path), trained)


def test_what_cannot_be_converted_is_told_and_nothing_is_written(tmp_path: Path, trained: dict[str, Array]) -> None:
    w, onnx, relu = (str(tmp_path / name) for name in ("w.npz", "net.onnx", "relu.onnx"))
    weights.save(trained, w)
    tinygraph.save(nets.open_batch(), onnx)
    tinygraph.save(nets.double(), relu)
    before = sorted(os.listdir(tmp_path))
    out = str(tmp_path / "out.")
    for arguments, said in (
        ((w, out + "onnx"), f"name it, as in tinygraph convert resnet18 --weights {w}"),
        ((w, out + "npz", "--weights", w), "holds weights alone"),
        ((w, out + "npz", "-b", "3"), "holds weights alone"),
        (("lenet5", out + "npz", "-b", "3"), "takes weights alone"),
        (("lenet5", out + "pth"), "cannot write .pth; B is a network (.onnx) or weights (.safetensors, .npz)"),
        (("lenet5", str(tmp_path / "out")), "cannot write a file without a suffix"),
        (("lenet5", "--weights", onnx, out + "onnx"), "is no safetensors file"),
        (("resnet18", "--weights", w, out + "onnx"), "these weights do not fit ResNet"),
        ((onnx, "--weights", w, out + "onnx"), "has its own weights"),
        ((relu, out + "npz"), "has no weights"),
        (("lenet6", out + "npz"), "close are"),
        ((str(tmp_path / "none.pth"), out + "npz"), "no such file"),
        (("lenet5", str(tmp_path / "none" / "w.npz"), "-q"), "cannot write"),
        ((str(FOLDER / "module.pth"), out + "npz"), "nothing was executed"),
        (("lenet5",), "Missing argument 'B'"),
    ):
        assert said in complaint("convert", *arguments)
        assert sorted(os.listdir(tmp_path)) == before
