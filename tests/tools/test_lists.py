"""`tinygraph optimize`, `tinygraph models`, `tinygraph ops`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tinygraph
from tests.tools.command import NETS, complaint, invoke
from tinygraph.ops.base import OPS


def rows(command: str) -> list[dict[str, object]]:
    told = json.loads(invoke(command, "--format", "json").stdout)
    assert told["schema"] == 1
    found: list[dict[str, object]] = told["rows"]
    return found


def test_optimize_tells_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    text = invoke("optimize", "resnet18", "--explain", "-o", str(path)).stdout
    assert "-20 batch_norm" in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert lines["nodes"][1:] == ["69", "49", "-29", "%"]
    assert lines["MACs"] == ["MACs", "1,814,073,344", "1,814,073,344"]
    assert lines["buffers"][1:] == ["9,620", "0", "-100", "%"]
    assert len(tinygraph.load(path).nodes) == 49


def test_optimize_takes_a_list_of_passes() -> None:
    text = invoke("optimize", "resnet18", "--explain", "--passes", "simplify, dead_code").stdout
    assert [line.split()[0] for line in text.splitlines()[2:4]] == ["simplify", "dead_code"]
    assert "nodes" in invoke("optimize", "lenet5", "--passes", "none", "--explain").stdout
    assert "there is no pass 'magic'" in complaint("optimize", "lenet5", "--passes", "magic")


def test_optimize_without_explain_prints_the_sums_only() -> None:
    text = invoke("optimize", NETS + "open_batch").stdout
    assert "before" in text
    assert "fold_batch_norm" not in text


def test_optimize_answers_in_every_style() -> None:
    told = json.loads(invoke("optimize", "resnet18", "--format", "json").stdout)
    assert list(told) == ["schema", "model", "before", "after", "steps"]
    assert (told["schema"], told["model"]) == (1, "resnet18")
    assert (told["before"]["nodes"], told["after"]["nodes"]) == (69, 49)
    assert told["before"]["macs"] == told["after"]["macs"] == 1_814_073_344
    assert sum(step["nodes"] for step in told["steps"]) == 49 - 69
    assert sum(step["flops"] for step in told["steps"]) == told["after"]["flops"] - told["before"]["flops"]
    sums = invoke("optimize", "resnet18", "--format", "csv").stdout.splitlines()
    assert sums[:2] == ["quantity,before,after,change", "nodes,69,49,-29 %"]
    steps = invoke("optimize", "resnet18", "--format", "csv", "--explain").stdout.splitlines()
    assert steps[0] == "pass,nodes,params,flops,activation_bytes,summary"
    assert len(steps) == 1 + len(told["steps"])
    assert invoke("optimize", "resnet18", "--format", "md", "--explain").stdout.count("\n| ---") == 2


def test_optimize_writes_onnx_only() -> None:
    assert "only .onnx can be written" in complaint("optimize", "lenet5", "-o", "net.pt")


def test_every_network_is_listed_with_its_size() -> None:
    found = {str(row["model"]): row for row in rows("models")}
    assert tuple(found) == tuple(tinygraph.models.names())
    assert found["resnet50"] == {
        "model": "resnet50",
        "input": "1x3x224x224",
        "params": 25_557_032,
        "macs": 4_089_184_256,
    }
    assert found["lenet5"]["params"] == 61_706


def test_every_op_is_listed_with_its_rules() -> None:
    found = {row["op"]: row for row in rows("ops")}
    assert list(found) == sorted(OPS)
    assert found["conv"]["onnx"] == "Conv"
    assert found["conv"]["gradient"] == "yes"
    assert found["compare"]["onnx"] == "Less, LessOrEqual, Greater, GreaterOrEqual, Equal, Not"
    assert str(found["compare"]["gradient"]).startswith("no: ")
    assert found["relu"]["flops"] == "1 per output element"
    assert all(row["summary"] and row["macs"] and row["flops"] and row["onnx"] for row in found.values())


@pytest.mark.parametrize("command", ["models", "ops"])
@pytest.mark.parametrize("style", ["table", "csv", "md"])
def test_lists_come_in_every_style(command: str, style: str) -> None:
    text = invoke(command, "--format", style).stdout
    around = {"table": 2 if command == "models" else 4, "csv": 1, "md": 2}  # heads and feet
    assert text.count("\n") == len(rows(command)) + around[style]


def test_a_command_imports_what_it_needs() -> None:
    code = """
import sys
from tinygraph.tools.cli import main
try:
    main(["summary", "resnet18"])
except SystemExit as end:
    assert not end.code
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"onnx", "rich", "PIL", "networkx", "graphviz", "pygraphviz", "safetensors", "threadpoolctl"}
    assert not heavy & set(done.stderr.split())
