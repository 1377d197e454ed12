"""`tinygraph summary`."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

import tinygraph as tg
from tests.tools.command import NETS, complaint, invoke
from tinygraph import nn, ops

ROW_KEYS = {"name", "module", "op", "output_shape", "params", "macs", "flops", "activation_bytes"}


def test_json_has_exactly_the_promised_keys() -> None:
    told = json.loads(invoke("summary", "resnet50", "--format", "json").stdout)
    assert list(told) == ["schema", "model", "inputs", "totals", "rows", "diagnostics"]
    assert told["schema"] == 1
    assert told["model"] == "resnet50"
    assert told["inputs"] == [{"name": "x", "shape": [1, 3, 224, 224], "dtype": "f32"}]
    totals = told["totals"]
    assert list(totals) == ["params", "trainable_params", "buffers", "macs", "flops", "activation_bytes", "peak_bytes"]
    assert all(type(number) is int for number in totals.values())
    assert (totals["params"], totals["macs"]) == (25_557_032, 4_089_184_256)
    assert all(set(row) >= ROW_KEYS for row in told["rows"])
    assert sum(row["macs"] for row in told["rows"]) == totals["macs"]


def test_the_table_has_layers_totals_and_conventions() -> None:
    text = invoke("summary", "resnet50").stdout
    lines = text.splitlines()
    assert lines[:2] == ["resnet50", "input x: float32 1x3x224x224"]
    assert lines[3].split() == ["layer", "op", "output", "params", "MACs", "FLOPs", "memory"]
    first = next(line for line in lines if line.startswith("conv1"))
    assert first.split() == ["conv1", "conv", "1x64x112x112", "9,408", "118,013,952", "236,027,904", "3.1", "MiB"]
    assert "parameters   25,557,032 (25.6 M, all trainable)" in lines
    assert "MACs         4,089,184,256 (4.09 G)" in lines
    assert "MACs are the multiply-adds" in text


def test_csv_agrees_with_json() -> None:
    arguments = ("summary", "lenet5", "--sort", "params", "--top", "4", "--format")
    rows = list(csv.DictReader(io.StringIO(invoke(*arguments, "csv").stdout)))
    told = json.loads(invoke(*arguments, "json").stdout)["rows"]
    assert len(rows) == len(told) == 4
    for row, other in zip(rows, told, strict=True):
        assert row["name"] == other["name"]
        assert row["output_shape"] == "x".join(map(str, other["output_shape"]))
        for key in ("params", "macs", "flops", "activation_bytes"):
            assert int(row[key]) == other[key]


def test_markdown_ends_with_the_total() -> None:
    lines = invoke("summary", "lenet5", "--format", "md").stdout.splitlines()
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
    assert lines[-1].startswith("| total |  |  | 61,706 | 416,520 |")


@pytest.mark.parametrize(
    ("option", "key"), [("params", "params"), ("macs", "macs"), ("flops", "flops"), ("memory", "activation_bytes")]
)
def test_sort_puts_the_largest_first(option: str, key: str) -> None:
    rows = json.loads(invoke("summary", "resnet18", "--sort", option, "--format", "json").stdout)["rows"]
    numbers = [row[key] for row in rows]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] > numbers[-1]


def test_top_keeps_the_totals() -> None:
    whole = json.loads(invoke("summary", "resnet18", "--format", "json").stdout)
    some = json.loads(invoke("summary", "resnet18", "--top", "3", "--format", "json").stdout)
    assert some["rows"] == whole["rows"][:3]
    assert some["totals"] == whole["totals"]
    assert f"(3 of {len(whole['rows'])} rows)" in invoke("summary", "resnet18", "--top", "3").stdout


def test_depth_adds_modules_up() -> None:
    rows = json.loads(invoke("summary", "resnet50", "--depth", "1", "--format", "json").stdout)["rows"]
    assert [row["name"] for row in rows][4:8] == ["layer1", "layer2", "layer3", "layer4"]
    assert sum(row["params"] for row in rows) == 25_557_032
    (whole,) = json.loads(invoke("summary", "resnet50", "--depth", "0", "--format", "json").stdout)["rows"]
    assert whole["macs"] == 4_089_184_256


def test_tiny_images_are_legal_and_remarked() -> None:
    result = invoke("summary", "resnet50", "--input-size", "1,3,1,1")
    assert "1x2048x1x1" in result.stdout
    assert "tinygraph: note: " in result.stderr
    assert "the window is larger than the input" in result.stderr
    told = json.loads(invoke("summary", "resnet50", "--input-size", "1,3,1,1", "--format", "json").stdout)
    assert len(told["diagnostics"]) == 1


def test_strict_makes_remarks_a_failure() -> None:
    invoke("summary", "resnet50", "--strict")
    invoke("summary", "resnet50", "--input-size", "1,3,1,1", "--strict", code=3)
    result = invoke("summary", NETS + "open_batch", "--strict", code=3)
    assert "N = 1: no number was given" in result.stderr
    invoke("summary", NETS + "open_batch", "-b", "1", "--strict")


def test_images_too_small_for_a_network_name_the_layer() -> None:
    said = complaint("summary", "alexnet", "--input-size", "1,3,1,1")
    assert "conv at features.0" in said
    assert "extent 11" in said


def test_quiet_keeps_notes_back() -> None:
    assert invoke("summary", "resnet50", "--input-size", "1,3,1,1", "--quiet").stderr == ""


def test_the_answer_goes_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    result = invoke("summary", "lenet5", "--format", "json", "-o", str(path))
    assert result.stdout == ""
    assert json.loads(path.read_text())["totals"]["params"] == 61_706
    assert "Is a directory" in complaint("summary", "lenet5", "-o", str(tmp_path))


def test_hostile_names_are_escaped() -> None:
    for style in ("table", "csv", "md"):
        text = invoke("summary", NETS + "hostile", "--format", style).stdout
        assert not [c for c in text if not c.isprintable() and c != "\n"]
    told = json.loads(invoke("summary", NETS + "hostile", "--format", "json").stdout)
    assert told["rows"][0]["name"] == 'quote"backslash\\1'


def test_the_batch_multiplies_the_work() -> None:
    one, two = (json.loads(invoke("summary", "lenet5", "-b", n, "--format", "json").stdout)["totals"] for n in "12")
    assert two["macs"] == 2 * one["macs"]
    assert two["params"] == one["params"]


# ---- a training step ----

TRAIN = ("--mode", "train")
SPLIT = {
    "forward_macs",
    "backward_macs",
    "input_gradient_macs",
    "weight_gradient_macs",
    "forward_flops",
    "backward_flops",
    "kept_bytes",
}


def test_json_of_a_training_step_has_the_same_keys_and_both_passes() -> None:
    plain = json.loads(invoke("summary", "resnet18", "--format", "json").stdout)
    told = json.loads(invoke("summary", "resnet18", *TRAIN, "--format", "json").stdout)
    assert set(told) == set(plain) | {"mode"}
    assert (told["schema"], told["mode"]) == (1, "train")
    totals = told["totals"]
    assert set(totals) == set(plain["totals"]) | SPLIT
    assert all(type(number) is int for number in totals.values())
    assert all(set(row) == set(plain["rows"][0]) | SPLIT for row in told["rows"])
    assert totals["forward_macs"] == totals["weight_gradient_macs"] == plain["totals"]["macs"] == 1_814_073_344
    assert totals["input_gradient_macs"] == 1_814_073_344 - 118_013_952
    assert totals["params"] == plain["totals"]["params"]
    assert totals["peak_bytes"] > plain["totals"]["peak_bytes"]
    for key in ("macs", *SPLIT):
        assert sum(row[key] for row in told["rows"]) == totals[key]


def test_the_table_of_a_training_step() -> None:
    text = invoke("summary", "lenet5", *TRAIN).stdout
    lines = text.splitlines()
    titles = ["layer", "op", "output", "params", "MACs forward", "MACs for dx", "MACs for dw", "FLOPs", "kept"]
    assert re.split("  +", lines[3].strip()) == titles
    row = next(line.split() for line in lines if line.startswith("features.3"))
    assert row == ["features.3", "conv", "1x16x10x10", "2,416", "240,000", "240,000", "240,000", "1,443,184", "0", "B"]
    assert "MACs         1,131,960 (1.13 M: 417 K forward, 715 K backward)" in lines
    assert any(line.startswith("kept         32,336 bytes") for line in lines)
    assert "Loss and optimizer are not counted" in " ".join(lines)


def test_csv_and_markdown_of_a_training_step() -> None:
    rows = list(csv.DictReader(io.StringIO(invoke("summary", "lenet5", *TRAIN, "--format", "csv").stdout)))
    told = json.loads(invoke("summary", "lenet5", *TRAIN, "--format", "json").stdout)["rows"]
    for row, other in zip(rows, told, strict=True):
        for key in ("params", "forward_macs", "input_gradient_macs", "weight_gradient_macs", "flops", "kept_bytes"):
            assert int(row[key]) == other[key]
    last = invoke("summary", "lenet5", *TRAIN, "--format", "md").stdout.splitlines()[-1]
    assert last == "| total |  |  | 61,706 | 416,520 | 298,920 | 416,520 | 2,336,460 | 31.6 KiB |"


def test_frozen_parameters_shrink_the_backward_pass() -> None:
    frozen = ("--freeze", "conv1.*", "--freeze", "bn1.*", "--freeze", "layer*")
    told = json.loads(invoke("summary", "resnet18", *TRAIN, *frozen, "--format", "json").stdout)
    assert [row["name"] for row in told["rows"] if row["backward_macs"]] == ["fc"]
    assert told["totals"]["trainable_params"] == 513_000
    assert "11,689,512 (11.7 M, 513,000 trainable)" in invoke("summary", "resnet18", *TRAIN, *frozen).stdout


def test_the_batch_multiplies_both_passes() -> None:
    one, two = (
        json.loads(invoke("summary", "resnet18", *TRAIN, "-b", n, "--format", "json").stdout)["totals"] for n in "12"
    )
    assert [two[key] for key in ("forward_macs", "backward_macs")] == [
        2 * one[key] for key in ("forward_macs", "backward_macs")
    ]


@pytest.mark.parametrize(("option", "key"), [("macs", "macs"), ("memory", "kept_bytes")])
def test_rows_of_a_training_step_are_sorted_and_grouped(option: str, key: str) -> None:
    arguments = ("summary", "resnet18", *TRAIN, "--depth", "1", "--sort", option, "--format", "json")
    rows = json.loads(invoke(*arguments).stdout)["rows"]
    numbers = [row[key] for row in rows]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] > numbers[-1]


def test_a_file_has_no_training_mode_and_the_summary_says_so(tmp_path: Path) -> None:
    path = str(tmp_path / "net.onnx")
    tg.save(tg.trace(tg.models.create("resnet18"), tg.Spec(("N", 3, 64, 64))), path)
    result = invoke("summary", path, *TRAIN, "-b", "2")
    assert "note: traced for inference" in result.stderr
    assert "batch_norm " in result.stdout


def test_what_cannot_be_trained_is_told(tmp_path: Path) -> None:
    assert "no trainable parameter fits 'conv'" in complaint("summary", "lenet5", *TRAIN, "--freeze", "conv")
    assert "all parameters are frozen" in complaint("summary", "lenet5", *TRAIN, "--freeze", "*")
    assert "no trainable parameters" in complaint("summary", NETS + "double", *TRAIN)
    assert "--mode train" in complaint("summary", "lenet5", "--freeze", "*")
    assert "at layer4.0.bn1" in complaint("summary", "resnet18", *TRAIN, "--input-size", "1,3,32,32")
    path = str(tmp_path / "classes.onnx")
    layer = nn.Linear(3, 4)
    tg.save(tg.trace(lambda x: ops.argmax(layer(x), 1), tg.Spec((2, 3))), path)
    assert "no output holds floating-point numbers" in complaint("summary", path, *TRAIN)
