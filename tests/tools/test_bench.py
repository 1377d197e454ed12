"""`tinygraph bench`: the race is run, and what it says is what was measured."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tinygraph as tg
from tests.onnx.files import info, model, node
from tests.tools import nets
from tests.tools.command import NETS, ROOT, complaint, invoke
from tests.tools.test_cli import posix
from tinygraph.runtime.threads import available

SMALL = ("lenet5", "--rounds", "3", "--threads", "1")
QUICK = ("--rounds", "1", "--threads", "1", "--format", "json")

# A runtime under the name of another: onnx's evaluator. It says what it was given.
RIVAL = """
import json, pathlib, sys, time
from onnx.reference import ReferenceEvaluator

class SessionOptions:
    def __init__(self):
        self.dims = {}
    def add_free_dimension_override_by_name(self, name, number):
        self.dims[name] = number

class InferenceSession:
    def __init__(self, path, options, providers):
        self.options, self.model = options, ReferenceEvaluator(path)
        given = {"path": path, "dims": options.dims, "modules": [*sys.modules]}
        pathlib.Path(__file__).with_name("given.json").write_text(json.dumps(given))
    def run(self, names, feeds):
        answers = self.model.run(None, feeds)
        CHANGE
        return answers
    def get_session_options(self):
        return self.options
"""


class Rival:
    """A package `onnxruntime` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.package = folder / "onnxruntime"
        self.package.mkdir()
        about = folder / "onnxruntime-9.8.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime\nVersion: 9.8\n")
        self.change("pass")

    def change(self, code: str) -> None:
        """Has it do this before it answers."""
        (self.package / "__init__.py").write_text(RIVAL.replace("CHANGE", code))

    @property
    def given(self) -> dict[str, Any]:
        """What its session was made of, and the modules of its process then."""
        found: dict[str, Any] = json.loads((self.package / "given.json").read_text())
        return found


@pytest.fixture
def rival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rival:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Rival(tmp_path)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def answer(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(invoke("bench", *arguments).stdout)
    return found


def test_alone() -> None:
    found = answer(*SMALL, "--format", "json")
    assert found["threads"] == 1
    assert found["inputs"] == [{"name": "x", "shape": [1, 1, 32, 32], "dtype": "f32"}]
    assert found["machine"].keys() == {"cpu", "cores", "system", "python", "numpy"}
    assert found["machine"]["cores"] == available()
    assert found["machine"]["cpu"]
    (own,) = found["results"]
    assert own["runtime"] == "tinygraph"
    assert own["threads"] == 1
    assert 0 < own["min_ms"] <= own["median_ms"] <= own["max_ms"]
    assert 0 < own["busy_cores"] < 1.5
    assert own["ratio"] is None
    assert own["distance"] is None


def test_memory_is_that_of_the_process() -> None:
    """Neither that of this one, which starts it, nor less than it says that it plans."""
    ballast = np.ones(400 << 20, np.uint8)
    (own,) = answer("lenet5", *QUICK)["results"]
    graph = tg.trace(tg.models.create("lenet5"), *tg.models.inputs("lenet5"))
    assert own["planned_bytes"] == tg.compile(graph, threads=1).memory.total
    assert own["peak_bytes"] > 10 << 20
    if sys.platform == "linux":
        assert own["peak_bytes"] < 200 << 20 < ballast.nbytes
        assert 10 << 20 < own["imported_bytes"] <= own["peak_bytes"]


def test_training_and_table() -> None:
    result = invoke("bench", *SMALL, "-b", "4", "--mode", "train")
    first, second, *_ = result.stdout.splitlines()
    assert first == "lenet5, train, batch 4, threads: 1, 3 runs of each in turn"
    assert f"NumPy {np.__version__}" in second
    assert "tinygraph" in result.stdout


def test_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = invoke("bench", "resnet20_cifar", *QUICK, "--precision", "fast", "--tune", "--format", "table")
    assert result.stdout.startswith("resnet20_cifar, inference, precision fast, tuned, threads: ")
    assert (tmp_path / "tinygraph" / "tuning.json").is_file()
    assert "--tune is for inference" in complaint("bench", *SMALL, "--mode", "train", "--tune")


@pytest.mark.parametrize("rival", ["onnxruntime", "torch", "openvino"])
def test_a_rival(rival: str) -> None:
    arguments = ("bench", *SMALL, "--against", rival, "--format", "json")
    if importlib.util.find_spec(rival) is None:
        assert f"{rival} cannot run this: there is no Python package {rival}; install it" in complaint(*arguments)
        return
    own, other = json.loads(invoke(*arguments).stdout)["results"]
    assert other["ratio"] == pytest.approx(own["median_ms"] / other["median_ms"])
    assert other["distance"] < 1e-4


def test_others_read_what_is_saved_and_hold_nothing_of_tinygraph(rival: Rival, temporary: Path) -> None:
    own, other = answer("lenet5", *QUICK, "--against", "onnxruntime")["results"]
    assert other["version"] == "9.8"
    assert other["distance"] < 1e-5
    assert other["planned_bytes"] is None
    assert other["ratio"] == pytest.approx(own["median_ms"] / other["median_ms"])
    assert temporary in Path(rival.given["path"]).parents
    assert not list(temporary.iterdir())
    assert "onnxruntime" in rival.given["modules"]
    assert not [name for name in rival.given["modules"] if name.partition(".")[0] == "tinygraph"]


def test_every_runtime_reads_the_file(rival: Rival, tmp_path: Path) -> None:
    path = str(tmp_path / "net.onnx")
    tg.save(nets.open_batch(), path)
    for batch, options in ((3, ("-b", "3")), (1, ())):
        found = answer(path, *QUICK, *options, "--against", "onnxruntime")
        assert found["inputs"][0]["shape"] == [batch, 3, 8, 8]
        assert found["results"][1]["distance"] < 1e-5
        assert (rival.given["path"], rival.given["dims"]) == (path, {"N": batch})
    assert "N is 1; -b takes another number" in invoke("bench", path, *QUICK).stderr


def test_numbers_of_inputs_are_in_the_file_that_is_read(rival: Rival, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    nodes = [node("Reshape", "x shape", "y")]
    inputs = [info("x", (2, 6)), info("shape", (2,), onnx.TensorProto.INT64)]
    path.write_bytes(model(nodes, inputs, [info("y", (4, 3))]).SerializeToString())
    found = answer(str(path), *QUICK, "--bind", "shape=4,3", "--against", "onnxruntime")
    assert [given["name"] for given in found["inputs"]] == ["x"]
    assert found["results"][1]["distance"] == 0
    assert rival.given["path"] != str(path)


def test_another_number_of_threads_is_refused(rival: Rival, temporary: Path) -> None:
    rival.change("self.options.intra_op_num_threads += 1")
    said = complaint("bench", "lenet5", *QUICK, "--against", "onnxruntime")
    assert "onnxruntime uses 2 thread(s), asked for 1: its times are not comparable" in said
    assert not list(temporary.iterdir())


def test_more_busy_cores_than_threads_are_refused(rival: Rival) -> None:
    rival.change("time.process_time = lambda: 4 * time.perf_counter()")
    said = complaint("bench", "lenet5", *QUICK, "--against", "onnxruntime")
    assert "onnxruntime kept 4.0 cores busy with 1 thread(s): its times are not comparable" in said


@pytest.mark.parametrize(
    "change", ["answers[-1] = answers[-1] * 1.01", "answers[-1] = answers[-1][:1]", "answers[-1][0, 0] = float('nan')"]
)
def test_each_answer_is_compared(rival: Rival, change: str) -> None:
    rival.change(change)
    result = invoke("bench", NETS + "two_inputs", *QUICK, "--against", "onnxruntime")
    assert "the answers of onnxruntime differ" in result.stderr
    distance = json.loads(result.stdout)["results"][1]["distance"]
    assert distance == pytest.approx(0.01, rel=0.1) if "1.01" in change else distance is None


def test_an_unknown_rival() -> None:
    assert "known are onnxruntime, torch, openvino" in complaint("bench", *SMALL, "--against", "caffe")


def test_a_rival_that_does_not_train() -> None:
    said = complaint("bench", *SMALL, "--against", "torch", "--against", "openvino", "--mode", "train")
    assert "--against openvino: it does not train; torch does" in said


def test_a_graph_does_not_train() -> None:
    assert "is a finished graph" in complaint("bench", NETS + "double", "--mode", "train")


def test_a_budget_holds_where_the_model_runs() -> None:
    assert "the budget is 1,000" in complaint("bench", *SMALL, "--max-bytes", "1000")


def test_a_model_that_is_not_there() -> None:
    assert "lenet55" in complaint("bench", "lenet55")


@posix
def test_ctrl_c_ends_it_quietly() -> None:
    """A terminal sends the signal to all processes of its foreground."""
    command = [sys.executable, "-m", "tinygraph", "bench", "lenet5", "--threads", "1", "--rounds", "100000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes) as running:
        time.sleep(2.5)
        os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (130, b"")
    assert b"Traceback" not in err
