"""Torchvision's networks as PyTorch exports them: do they load, run, and agree with onnxruntime?

    python -m tinygraph.tools.torch_exports resnet18 vit_b_16
    python -m tinygraph.tools.torch_exports resnet18 --exporter dynamo --folder /tmp/exports
    python -m tinygraph.tools.torch_exports swin_t --rows facts.json --write docs/torch_exports.md

Prints a table in Markdown. Exit status 1 if a file does not load or its answers differ. With `--rows`
what is found replaces what a file of facts says of the same networks, and `--write` makes a page of all
of them. Needs, beside tinygraph:

    pip install torch==2.13.0 onnxscript onnxruntime && pip install torchvision==0.28.0 --no-deps

Batches of networks that take one tensor stay open, and run with 1 and 3 images. Nothing in tinygraph
imports this file.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph.ir import Array
from tinygraph.tools import torch_networks

EXPORTERS = ("script", "dynamo")
TOLERANCE = 1e-4  # of the largest number of an output
BATCHES = (1, 3)


@dataclass
class Row:
    """What came of one export.

    Attributes:
        network: torchvision's name.
        exporter: "script" or "dynamo".
        input: shape of one image.
        opset: that the exporter chose.
        file_nodes: nodes in the file.
        nodes: nodes of the graph as it was loaded.
        optimized: nodes of it when it was optimized for inference.
        whole: nodes that compute whole numbers, as shapes are.
        params: parameters of the graph.
        macs: of the graph for one image.
        torch_macs: as PyTorch counts them when it runs the network.
        census: how often each op is in the graph as it was loaded.
        difference: the largest from onnxruntime's answer, relative to the largest number of the output.
        seconds: to load.
        failure: why there is no more to say; "" if there is nothing wrong.
    """

    network: str
    exporter: str
    input: list[int] = field(default_factory=list)
    opset: int = 0
    file_nodes: int = 0
    nodes: int = 0
    optimized: int = 0
    whole: int = 0
    params: int = 0
    macs: int = 0
    torch_macs: int = 0
    census: dict[str, int] = field(default_factory=dict)
    difference: float = 0.0
    seconds: float = 0.0
    failure: str = ""

    @property
    def good(self) -> bool:
        """Whether tinygraph had its part right; where PyTorch exports nothing it has none."""
        return self.failure.startswith("no export") or (not self.failure and self.difference <= TOLERANCE)


def export(network: Any, inputs: Sequence[Any], path: Path, exporter: str, open_batch: bool) -> None:
    """Writes a network as ONNX.

    Args:
        network: a torch module in evaluation mode.
        inputs: of one call.
        path: of the file.
        exporter: "script" (TorchScript, dynamo=False) or "dynamo" (torch.export, dynamo=True).
        open_batch: the first dimension of each input is open and named N.
    """
    import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    options: dict[str, Any] = {}
    if not isinstance(inputs[0], list):
        options["input_names"] = ["input", *(f"input.{i}" for i in range(1, len(inputs)))]
    if exporter == "dynamo":
        options |= {"dynamo": True, "external_data": False, "verbose": False}
        if open_batch:
            options["dynamic_shapes"] = tuple({0: torch.export.Dim("N")} for _ in inputs)
    else:
        options["dynamo"] = False
        if open_batch:
            options["dynamic_axes"] = {name: {0: "N"} for name in options["input_names"]}
    torch.backends.mha.set_fastpath_enabled(False)  # its operator is one that the exporters do not know
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, tuple(inputs), str(path), **options)


def check(name: str, exporter: str, folder: Path) -> Row:
    """Exports a network, loads it, runs it and compares."""
    row = Row(name, exporter, list(arrays_of(torch_networks.example(name, 1))[0].shape))
    path = folder / f"{name}_{exporter}.onnx"
    detector = torch_networks.is_detector(name)
    inputs = torch_networks.example(name, 1 if detector else 2)
    try:
        network = torch_networks.settle(torch_networks.create(name), torch_networks.example(name, 4))
        export(network, inputs, path, exporter, not detector)
    except Exception as error:
        row.failure = f"no export: {_in_short(error)}"
        return row
    row.torch_macs = torch_macs(network, torch_networks.example(name, 1))
    try:
        _load(row, path)
        batches = [arrays_of(torch_networks.example(name, batch)) for batch in BATCHES]
        if detector:  # which take an image at a time
            batches = [[image] for arrays in batches for image in arrays]
        row.difference = compare(path, batches)
    except Exception as error:
        row.failure = f"{type(error).__name__}: {_in_short(error)}"
    return row


def _load(row: Row, path: Path) -> None:
    import onnx

    proto = onnx.load(path)
    row.opset = next(entry.version for entry in proto.opset_import if not entry.domain)
    row.file_nodes = len(proto.graph.node)
    start = time.perf_counter()
    graph = tg.load(path)
    row.seconds = time.perf_counter() - start
    row.nodes = len(graph.nodes)
    row.optimized = len(tg.optimize(graph).nodes)
    row.whole = sum(1 for node in graph.nodes if all(t.dtype.kind in "iu" for t in node.output_types))
    row.census = dict(sorted(Counter(node.op.name for node in graph.nodes).items()))
    single = tg.load(path, bind={"N": 1}) if "N" in graph.symbols else graph
    totals = tg.analyze(single).totals
    row.params, row.macs = totals.params, totals.macs


def torch_macs(network: Any, inputs: Sequence[Any]) -> int:
    """Multiply-adds of one call as PyTorch counts them."""
    import torch  # type: ignore[import-not-found,unused-ignore]
    from torch.utils.flop_counter import FlopCounterMode  # type: ignore[import-not-found,unused-ignore]

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*inputs)
    return int(counter.get_total_flops()) // 2


def arrays_of(inputs: Sequence[Any]) -> list[Array]:
    """The tensors among the arguments of a call, in order."""
    return [x.numpy() for given in inputs for x in (given if isinstance(given, list) else [given])]


def compare(path: Path, batches: Sequence[Sequence[Array]]) -> float:
    """The largest difference between the answers of onnxruntime and of tinygraph, optimized and not, to a file."""
    import onnxruntime  # type: ignore[import-not-found,import-untyped,unused-ignore]

    runtime = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [given.name for given in runtime.get_inputs()]
    expected = [runtime.run(None, dict(zip(names, arrays, strict=True))) for arrays in batches]
    graph = tg.load(path)
    worst = 0.0
    for passes in ("none", "inference"):
        session = tg.compile(graph, passes=passes)
        for arrays, wanted in zip(batches, expected, strict=True):
            made = session(*arrays)
            answers = list(made.values()) if isinstance(made, dict) else [made]
            worst = max(worst, *(difference(a, b) for a, b in zip(answers, wanted, strict=True)))
    return worst


def difference(answer: Array, expected: Array) -> float:
    """The largest difference relative to the largest number that is expected; infinite if the shapes differ."""
    if answer.shape != expected.shape or answer.dtype != expected.dtype:
        return float("inf")
    if not expected.size:
        return 0.0
    wide = np.asarray(expected, np.float64)
    error = np.abs(np.asarray(answer, np.float64) - wide).max()
    return float(error / max(np.abs(wide).max(), 1e-30)) if np.isfinite(error) else float("inf")


def _in_short(error: Exception) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error)) or type(error).__name__
    return " ".join(plain.split())[:200].replace("|", "/")


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    head = "network exporter opset file loaded optimized whole params MACs difference load"
    lines = [f"| {' | '.join(head.split())} |", "|---|---|" + "---:|" * 9]
    for row in rows:
        if row.failure:
            lines.append(f"| {row.network} | {row.exporter} | {row.failure} |" + " |" * 8)
            continue
        same = "" if row.macs == row.torch_macs else f" (PyTorch: {row.torch_macs:,})"
        cells = [row.network, row.exporter, row.opset, row.file_nodes, row.nodes, row.optimized, row.whole]
        cells += [f"{row.params:,}", f"{row.macs:,}{same}", f"{row.difference:.1e}", f"{row.seconds:.2f} s"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def page(rows: Sequence[Row]) -> str:
    """The table with what it says."""
    return f"""# Networks exported by PyTorch

Torchvision 0.28 exported by PyTorch 2.13: by `torch.onnx.export(..., dynamo=False)` ("script") and by
`dynamo=True` ("dynamo"), with an open batch where the network takes one tensor. `python -m
tinygraph.tools.torch_exports` makes this page. Weights are random, statistics of BatchNorm are those of a
batch, images are as small as the network takes.

The columns: nodes in the file, in the graph as it was loaded, and in the optimized one; nodes that compute
whole numbers, as the arithmetic of shapes does; parameters and MACs of one image, and those that PyTorch
counts where they differ (it leaves out the products of attention); the largest difference from the answers
of onnxruntime 1.31.1, optimized or not, with 1 and 3 images, relative to the largest number of the output
(both are float32, and about as far from a run in float64); seconds to load.

Detectors take one image, and the sizes of what they answer come out while they run. Their "dynamo" exports
are missing because torch.export refuses torchvision's suppression of boxes, which branches on how many
there are. Their MACs are the least there can be: what depends on such sizes has no number. What
pastes masks, or reads the places of key points, loops over as many objects as are found; such loops are not
supported.

{table(rows)}"""


def main() -> int:
    """Exports, compares, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="torchvision's names")
    parser.add_argument("--exporter", choices=EXPORTERS, action="append", help="by default both")
    parser.add_argument("--folder", type=Path, help="keep the files here")
    parser.add_argument("--rows", type=Path, help="a JSON file of facts to renew")
    parser.add_argument("--write", type=Path, metavar="FILE", help="a page of all facts")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    kept: dict[str, Any] = json.loads(options.rows.read_text()) if options.rows and options.rows.exists() else {}
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.names:
            for exporter in options.exporter or EXPORTERS:
                row = check(name, exporter, folder)
                rows.append(row)
                kept[f"{name}/{exporter}"] = asdict(row)
                sys.stderr.write(table([row]).splitlines()[-1] + "\n")
                if options.rows:
                    options.rows.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
                if not options.folder:
                    (folder / f"{name}_{exporter}.onnx").unlink(missing_ok=True)
    sys.stdout.write(table(rows))
    if options.write:
        options.write.write_text(page([Row(**kept[key]) for key in sorted(kept)]))
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
