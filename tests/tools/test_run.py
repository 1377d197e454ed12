"""`tinygraph run`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import tinygraph
from tests.tools import nets
from tests.tools.command import NETS, complaint, invoke
from tinygraph.tools.run import probabilities


@pytest.fixture
def three(tmp_path: Path) -> str:
    """A file with [0, -1, -3], whose negatives are scores of three classes."""
    return save(tmp_path / "three.npy", np.array([[0, -1, -3]], np.float32))


def save(path: Path, array: np.ndarray) -> str:
    np.save(path, array)
    return str(path)


def test_the_likeliest_classes_come_first(three: str) -> None:
    lines = invoke("run", NETS + "scores", "--input", three, "--top", "2").stdout.splitlines()
    shares = np.exp([0, 1, 3]) / np.exp([0, 1, 3]).sum()
    assert lines[0].split() == ["rank", "class", "probability"]
    assert [line.split() for line in lines[2:]] == [["1", "2", f"{shares[2]:.6f}"], ["2", "1", f"{shares[1]:.6f}"]]


def test_csv_and_json_have_everything(three: str) -> None:
    (row, *_) = csv.DictReader(io.StringIO(invoke("run", NETS + "scores", "--input", three, "--format", "csv").stdout))
    assert row == {"output": "output", "image": "0", "rank": "1", "class": "2", "probability": row["probability"]}
    told = json.loads(invoke("run", NETS + "scores", "--input", three, "--format", "json").stdout)
    assert list(told) == ["schema", "model", "inputs", "outputs"]
    answer = told["outputs"]["output"]
    assert answer["values"] == [[0, 1, 3]]
    assert answer["shape"] == [1, 3]
    assert [best["class"] for best in answer["top"][0]] == [2, 1, 0]
    assert answer["top"][0][0]["probability"] == pytest.approx(float(row["probability"]))


def test_softmax_is_not_applied_twice() -> None:
    shares = np.array([[0.25, 0.75]], np.float32)
    np.testing.assert_array_equal(probabilities(shares), shares)
    np.testing.assert_allclose(probabilities(np.array([[1e4, 0.0]])), [[1, 0]])


def test_numbers_that_are_none_stay_legal_json(tmp_path: Path) -> None:
    path = save(tmp_path / "odd.npy", np.array([[np.nan, np.inf, 1]], np.float32))
    told = json.loads(invoke("run", NETS + "scores", "--input", path, "--format", "json").stdout)
    assert told["outputs"]["output"]["values"] == [[None, None, -1]]
    result = invoke("run", NETS + "scores", "--input", path)
    assert "nan" in result.stdout
    assert result.stderr == "tinygraph: note: the output output holds numbers that are not finite\n"


def test_other_outputs_are_described_and_saved(tmp_path: Path) -> None:
    x = np.arange(48, dtype=np.float32).reshape(3, 4, 4)
    path = save(tmp_path / "x.npy", x)
    lines = invoke("run", NETS + "double", "--input", path).stdout.splitlines()
    assert lines[2].split() == ["output", "float32", "1x3x4x4", "0", "94", "47"]
    invoke("run", NETS + "double", "--input", path, "-o", str(tmp_path / "y.npy"))
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), 2 * x[None])


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    a, b = np.float32([[1, 2, 3]] * 2), np.float32([[5, 5, 5]] * 2)
    arguments = [
        "run",
        NETS + "two_inputs",
        "--input",
        save(tmp_path / "a.npy", a),
        "--input",
        save(tmp_path / "b.npy", b),
    ]
    assert invoke(*arguments).stdout.splitlines()[2].split()[:4] == ["sum", "0", "1", "2"]
    invoke(*arguments, "-o", str(tmp_path / "y.npz"))
    with np.load(tmp_path / "y.npz") as saved:
        np.testing.assert_array_equal(saved["difference"], a - b)
    assert "save them to a .npz file" in complaint(*arguments, "-o", str(tmp_path / "y.npy"))
    assert "has 2 input(s), --input is given 1 time(s)" in complaint(*arguments[:4])


def test_images_are_answered(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    PIL.Image.fromarray(np.zeros((60, 40, 3), np.uint8)).save(path)
    result = invoke("run", "lenet5", "--input", str(path))
    assert len(result.stdout.splitlines()) == 7
    assert "the weights are random" in result.stderr
    assert invoke("run", "lenet5", "--input", str(path), "--quiet").stderr == ""
    darker = invoke("run", "lenet5", "--input", str(path), "--mean", "0.5", "--std", "0.5")
    assert darker.stdout != result.stdout
    assert "--mean" in complaint("run", "lenet5", "--input", str(path), "--mean", "a,b")
    assert "not finite" in complaint("run", "lenet5", "--input", str(path), "--std", "inf")


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    x = save(tmp_path / "x.npy", np.ones((1, 32, 32), np.float32))
    trained = tinygraph.models.create("lenet5", seed=7)
    trained.save(tmp_path / "lenet5.safetensors")
    weights = str(tmp_path / "lenet5.safetensors")
    result = invoke("run", "lenet5", "--input", x, "--weights", weights, "--format", "json")
    assert result.stderr == ""
    want = trained(np.ones((1, 1, 32, 32), np.float32))
    np.testing.assert_allclose(json.loads(result.stdout)["outputs"]["output"]["values"], want, rtol=1e-5)
    trained.save(tmp_path / "lenet5.npz")
    other = ("run", "lenet5", "--input", x, "--weights", str(tmp_path / "lenet5.npz"), "--format", "json")
    assert invoke(*other).stdout == result.stdout
    assert "no such file" in complaint("run", "lenet5", "--input", x, "--weights", "none.safetensors")
    assert "no such file" in complaint("run", "lenet5", "--input", x, "--weights", "none.pth")
    assert "do not fit" in complaint("run", "lenet5_eecs498", "--input", x, "--weights", weights)


def test_a_file_has_weights_of_its_own(tmp_path: Path) -> None:
    tinygraph.save(nets.open_batch(), tmp_path / "tiny.onnx")
    x = save(tmp_path / "x.npy", np.ones((3, 8, 8)))
    assert invoke("run", str(tmp_path / "tiny.onnx"), "--input", x).stderr == ""
    assert "has its own weights" in complaint(
        "run", str(tmp_path / "tiny.onnx"), "--input", x, "--weights", "w.safetensors"
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8, bool])
def test_arrays_of_other_dtypes_are_cast(tmp_path: Path, dtype: type) -> None:
    invoke("run", NETS + "double", "--input", save(tmp_path / "x.npy", np.ones((3, 4, 4), dtype)))


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "several.npz", a=np.ones(3))
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "pickle.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes(Path(save(tmp_path / "whole.npy", np.ones((3, 4, 4)))).read_bytes()[:-8])
    (tmp_path / "empty.npy").touch()
    save(tmp_path / "small.npy", np.ones((1, 3, 4, 5)))
    save(tmp_path / "batch.npy", np.ones((2, 3, 4, 4)))
    save(tmp_path / "complex.npy", np.ones((1, 3, 4, 4), np.complex64))
    save(tmp_path / "large.npy", np.full((1, 3, 4, 4), 1e300))
    said = {
        "several": "holds several arrays",
        "text": "is no array",
        "pickle": "is no array",
        "cut": "is no array",
        "empty": "is no array",
        "small": "is 1x3x4x5, the model takes 1x3x4x4",
        "batch": "-b gives another batch",
        "complex": "holds complex64, the model takes float32",
        "large": "holds numbers that are too large for float32",
        "none": "No such file",
    }
    for name, message in said.items():
        answer = complaint("run", NETS + "double", "--input", str(tmp_path / f"{name}.npy"))
        assert message in answer
        assert "allow_pickle" not in answer


def test_an_array_is_not_normalized(three: str) -> None:
    said = complaint("run", NETS + "scores", "--input", three, "--crop", "8")
    assert "--crop: only images are resized and normalized" in said
    invoke("run", NETS + "scores", "--input", three, "--scale", "1")


def test_an_output_may_have_any_name(tmp_path: Path) -> None:
    tinygraph.save(nets.odd_names(), tmp_path / "odd.onnx")
    x = save(tmp_path / "x.npy", np.float32([[1, -2, 3]]))
    invoke("run", str(tmp_path / "odd.onnx"), "--input", x, "-o", str(tmp_path / "y.npz"))
    with np.load(tmp_path / "y.npz") as saved:
        assert saved.files == ["file", "allow_pickle", "a/b"]
        np.testing.assert_array_equal(saved["file"], [[1, 0, 3]])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".json"])
def test_a_full_disk_is_said_of_the_file(tmp_path: Path, three: str, suffix: str) -> None:
    path = tmp_path / f"full{suffix}"
    path.symlink_to("/dev/full")
    assert f"cannot write {path}: No space" in complaint("run", NETS + "scores", "--input", three, "-o", str(path))


def test_remarks_come_with_an_answer_only(tmp_path: Path) -> None:
    complaint("run", "lenet5", "--input", str(tmp_path / "none.npy"))


def test_the_batch_can_be_chosen(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npy", np.ones((2, 1, 32, 32), np.float32))
    lines = invoke("run", "lenet5", "--input", path, "-b", "2", "--top", "1").stdout.splitlines()
    assert [line.split()[1] for line in lines[2:]] == ["0", "1"]
