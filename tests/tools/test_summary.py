"""`tinygraph summary`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.tools.command import NETS, complaint, invoke

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
