"""`tinygraph bench`: the race is run, and what it says is what was measured."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.tools.command import NETS, ROOT, complaint, invoke
from tests.tools.test_cli import posix

SMALL = ("lenet5", "--rounds", "3", "--threads", "1")


def test_alone() -> None:
    result = invoke("bench", *SMALL, "--format", "json")
    answer = json.loads(result.stdout)
    assert answer["threads"] == 1
    (own,) = answer["results"]
    assert own["runtime"] == "tinygraph"
    assert 0 < own["min_ms"] <= own["median_ms"] <= own["max_ms"]
    assert own["peak_bytes"] > 10 * 2**20
    assert own["ratio"] is None


def test_training_and_table() -> None:
    result = invoke("bench", *SMALL, "-b", "4", "--mode", "train")
    assert "lenet5, train, batch 4, threads: 1, 3 runs of each in turn" in result.stdout
    assert "tinygraph" in result.stdout


@pytest.mark.parametrize("rival", ["onnxruntime", "torch", "openvino"])
def test_a_rival(rival: str) -> None:
    arguments = ("bench", *SMALL, "--against", rival, "--format", "json")
    if importlib.util.find_spec(rival) is None:
        assert f"{rival} cannot run this: there is no Python package {rival}; install it" in complaint(*arguments)
        return
    own, other = json.loads(invoke(*arguments).stdout)["results"]
    assert other["ratio"] == pytest.approx(own["median_ms"] / other["median_ms"])
    assert other["distance"] < 1e-4


def test_an_unknown_rival() -> None:
    assert "known are onnxruntime, torch, openvino" in complaint("bench", *SMALL, "--against", "caffe")


def test_a_rival_that_does_not_train() -> None:
    assert "cannot run this: openvino does not train" in complaint(
        "bench", *SMALL, "--against", "openvino", "--mode", "train"
    )


def test_a_graph_does_not_train() -> None:
    assert "is a finished graph" in complaint("bench", NETS + "double", "--mode", "train")


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
