"""`tinygraph profile`: the rows of a session's profile, in every style, and the trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tools.command import NETS, complaint, invoke
from tinygraph.runtime import tuning

SMALL = ("profile", "lenet5", "--threads", "1", "--repeat", "2")


def test_json_has_raw_numbers() -> None:
    answer = json.loads(invoke(*SMALL, "--format", "json").stdout)
    assert list(answer)[:5] == ["schema", "model", "precision", "threads", "runs"]
    assert (answer["schema"], answer["model"], answer["threads"], answer["runs"]) == (1, "lenet5", 1, 2)
    assert answer["totals"]["flops"] == sum(row["flops"] for row in answer["rows"]) > 800_000
    assert answer["totals"]["seconds"] > answer["totals"]["other_seconds"] > 0
    assert answer["rows"][-1]["output_shape"] == [1, 10]
    assert {row["op"] for row in answer["rows"]} >= {"conv", "tanh", "avg_pool", "linear"}
    (peak,) = answer["gemm_peaks"].values()
    for row in answer["rows"]:
        assert row["peak_share"] == pytest.approx(row["flops"] / row["seconds"] / peak)


def test_the_table_tells_how_it_was_measured() -> None:
    lines = invoke(*SMALL, "--precision", "fast").stdout.splitlines()
    assert lines[:2] == ["lenet5", "input x: float32 1x1x32x32"]
    assert [line.split()[0] for line in lines if line.startswith("features.")] == [f"features.{i}" for i in range(6)]
    assert any(line.startswith("call  ") for line in lines)
    assert any(line.startswith("besides the steps  ") for line in lines)
    assert lines[-1].startswith("medians of 2 runs, threads: 1, GEMM peak of float32 ")
    assert lines[-1].endswith("precision fast")


def test_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tuning, "_found", {})
    monkeypatch.setattr(tuning, "fastest", lambda names, run: names[-1])
    command = ("profile", "resnet20_cifar", "--repeat", "1", "--format", "json", "--precision", "fast")
    told = [json.loads(invoke(*command, *options).stdout) for options in ((), ("--tune",))]
    plain, tuned = ([row["algorithm"] for row in each["rows"]] for each in told)
    assert plain != tuned
    assert (tmp_path / "tinygraph" / "tuning.json").is_file()


@pytest.mark.parametrize(("options", "key"), [((), "seconds"), (("--sort", "flops"), "flops")])
def test_the_first_rows_are_the_largest(options: tuple[str, ...], key: str) -> None:
    everything = json.loads(invoke(*SMALL, "--format", "json").stdout)["rows"]
    rows = json.loads(invoke(*SMALL, "--top", "3", *options, "--format", "json").stdout)["rows"]
    assert len(rows) == 3
    assert [row[key] for row in rows] == sorted((row[key] for row in rows), reverse=True)
    if key == "flops":
        assert rows[0]["module"] == "features.3"
    assert f"(3 of {len(everything)} rows)" in invoke(*SMALL, "--top", "3", *options).stdout


def test_tables_for_other_programs() -> None:
    head, *rows = invoke(*SMALL, "--sort", "memory", "--format", "csv").stdout.splitlines()
    assert head == "name,op,algorithm,output_shape,seconds,time_share,flops,gflops,peak_share,output_bytes"
    sizes = [int(row.rpartition(",")[2]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) == 4 * 6 * 28 * 28
    assert invoke(*SMALL, "--format", "md").stdout.splitlines()[-1].startswith("| call |")


def test_a_trace_is_written(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    result = invoke(*SMALL, "--trace", str(path), "--format", "json")
    assert f"wrote {path}" in result.stderr
    names = [event["name"] for event in json.loads(path.read_text())["traceEvents"] if event["ph"] == "X"]
    assert names == ["call", *(row["name"] for row in json.loads(result.stdout)["rows"])]


def test_an_open_batch_is_one() -> None:
    assert "input x: float32 1x3x8x8" in invoke("profile", NETS + "open_batch", "--repeat", "1").stdout
    assert "input x: float32 4x3x8x8" in invoke("profile", NETS + "open_batch", "--repeat", "1", "-b", "4").stdout


def test_names_from_files_are_shown_as_they_are() -> None:
    text = invoke("profile", NETS + "hostile", "--repeat", "1").stdout
    assert "\x1b[31m" not in text
    assert "\\x1b[31mred" in text


def test_wrong_usage() -> None:
    assert "give --input-size" in complaint("profile", NETS + "open_sizes")
    assert "cannot write" in complaint(*SMALL, "--trace", "/nowhere/trace.json")
    assert "--repeat" in complaint("profile", "lenet5", "--repeat", "0")
    assert "--max-bytes" in complaint(*SMALL, "--max-bytes", "1000")
