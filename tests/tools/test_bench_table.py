"""The table of several benches."""

from __future__ import annotations

from pathlib import Path

from tests.tools.command import NETS
from tinygraph.tools.bench_table import NETWORKS, about, bench, table
from tinygraph.tools.model_arg import find
from tinygraph.tools.race import machine

OWN = {"runtime": "tinygraph", "version": "1.0", "median_ms": 30.04, "ratio": None, "peak_bytes": 200 << 20}
OTHER = {"runtime": "other", "version": "2.1", "median_ms": 20.0, "ratio": 1.502, "peak_bytes": 1500 << 20}
ANSWER = {
    "model": "net@1,3,8,8",
    "inputs": [{"name": "x", "shape": [1, 3, 8, 8], "dtype": "f32"}],
    "rounds": 7,
    "threads": 2,
    "machine": machine(),
    "results": [OWN, OTHER],
}


def test_the_table() -> None:
    assert table([ANSWER, {**ANSWER, "results": [OWN, {**OTHER, "ratio": 0.5}]}]).splitlines() == [
        "| network | input | tinygraph | other | peak memory |",
        "|---|---|--:|--:|--:|",
        "| net | 1x3x8x8 | 30.0 ms | 20.0 (1.50) | 200 / 1,500 MiB |",
        "| net | 1x3x8x8 | 30.0 ms | 20.0 (0.50) | 200 / 1,500 MiB |",
    ]


def test_what_it_is_of() -> None:
    said = about([ANSWER], ["--threads", "2"])
    for part in (
        "7 runs",
        "2 thread(s)",
        "tinygraph 1.0, other 2.1",
        machine()["cpu"],
        "`tinygraph bench NETWORK --th",
    ):
        assert part in said


def test_a_bench(tmp_path: Path) -> None:
    answer = bench(f"{NETS}tiny@2,3,8,8", ["--rounds", "2", "--threads", "1"], tmp_path)
    assert answer["model"] == f"{NETS}tiny@2,3,8,8"
    assert answer["rounds"] == 2
    assert "| 2x3x8x8 |" in table([answer])


def test_its_networks_are_there() -> None:
    for network in NETWORKS:
        model, _, size = network.partition("@")
        if not model.startswith("torchvision:"):
            find(model).trace([size] if size else [])
