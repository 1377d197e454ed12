"""`tinygraph summary` with several batch sizes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import tinygraph
from tests.tools import nets
from tests.tools.command import NETS, complaint, invoke
from tests.tools.test_summary import SPLIT, TRAIN


def test_a_row_for_each_batch_size() -> None:
    lines = invoke("summary", "lenet5", "-b", "1,8,64").stdout.splitlines()
    assert lines[:2] == ["lenet5", "input x: float32 Nx1x32x32"]
    assert lines[3].split() == ["batch", "params", "MACs", "FLOPs", "activations", "at", "the", "peak"]
    rows = [line.split() for line in lines[5:8]]
    assert [row[:3] for row in rows] == [
        ["1", "61,706", "416,520"],
        ["8", "61,706", "3,332,160"],
        ["64", "61,706", "26,657,280"],
    ]
    assert "MACs are the multiply-adds" in " ".join(lines[8:])


@pytest.mark.parametrize("mode", ["inference", "train"])
def test_json_has_for_each_batch_size_what_it_has_for_one(mode: str) -> None:
    arguments = ("summary", "lenet5", "--mode", mode, "--format", "json", "-b")
    told = json.loads(invoke(*arguments, "4, 1,4").stdout)
    assert list(told) == ["schema", "model", *(["mode"] if mode == "train" else []), "batches"]
    assert (told["schema"], told["model"]) == (1, "lenet5")
    assert [one["batch"] for one in told["batches"]] == [4, 1, 4]
    for one in told["batches"]:
        assert list(one) == ["batch", "inputs", "totals", "diagnostics"]
        alone = json.loads(invoke(*arguments, str(one["batch"])).stdout)
        assert {key: one[key] for key in ("inputs", "totals", "diagnostics")} == {
            key: alone[key] for key in ("inputs", "totals", "diagnostics")
        }
        assert "rows" in alone


def test_csv_and_markdown_agree_with_json() -> None:
    arguments = ("summary", "lenet5", *TRAIN, "-b", "2,3", "--format")
    told = json.loads(invoke(*arguments, "json").stdout)["batches"]
    rows = list(csv.DictReader(io.StringIO(invoke(*arguments, "csv").stdout)))
    for row, other in zip(rows, told, strict=True):
        assert int(row.pop("batch")) == other["batch"]
        assert {key: int(text) for key, text in row.items()} == {key: other["totals"][key] for key in row}
    assert set(rows[0]) >= {"forward_macs", "weight_gradient_macs", "kept_bytes", "peak_bytes"} & SPLIT
    lines = invoke(*arguments, "md").stdout.splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| 2 | 61,706 | 833,040 |")


def test_files_with_an_open_batch_take_them_and_others_do_not(tmp_path: Path) -> None:
    tinygraph.save(nets.open_batch(), tmp_path / "open.onnx")
    tinygraph.save(nets.double(), tmp_path / "fixed.onnx")
    arguments = ("--format", "csv", "-b", "1,5")
    rows = list(csv.DictReader(io.StringIO(invoke("summary", str(tmp_path / "open.onnx"), *arguments).stdout)))
    assert int(rows[1]["macs"]) == 5 * int(rows[0]["macs"]) > 0
    assert int(rows[1]["peak_bytes"]) == 5 * int(rows[0]["peak_bytes"])
    assert "5 in the place of 1 does not fit" in complaint("summary", str(tmp_path / "fixed.onnx"), "-b", "1,5")


def test_remarks_are_told_once_and_are_strict() -> None:
    arguments = ("summary", "resnet18", "--input-size", "1,3,1,1", "-b", "1,2")
    assert invoke(*arguments).stderr.count("the window is larger") >= 1
    invoke(*arguments, "--strict", code=3)
    assert invoke(*arguments, "--format", "json").stderr == ""
    invoke("summary", NETS + "open_batch", "-b", "1,2", "--strict")


@pytest.mark.parametrize("sizes", ["", ",", "1,", "0,1", "1,x", "-1,2", "1;2", "1.5", "1" * 30])
def test_what_is_no_batch_size_is_told(sizes: str) -> None:
    assert "is no batch size: write 8, or 1,8,64" in complaint("summary", "lenet5", f"--batch-size={sizes}")


@pytest.mark.parametrize("option", [("--depth", "1"), ("--sort", "macs"), ("--top", "2")])
def test_options_about_layers_want_one_batch_size(option: tuple[str, str]) -> None:
    assert "about layers: give one batch size" in complaint("summary", "lenet5", "-b", "1,2", *option)
    invoke("summary", "lenet5", "-b", "2", *option)


def test_weights_have_to_fit(tmp_path: Path) -> None:
    path = str(tmp_path / "w.npz")
    tinygraph.models.create("lenet5").save(path)
    plain = invoke("summary", "lenet5").stdout
    assert invoke("summary", "lenet5", "--weights", path).stdout == plain
    assert "these weights do not fit" in complaint("summary", "alexnet", "--weights", path)
