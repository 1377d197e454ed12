"""`tinygraph bench`: how fast a network runs or trains, next to other runtimes in the same minutes."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

import tinygraph
from tinygraph.errors import UsageError
from tinygraph.ir import Graph, Symbol, TensorType, dtype_name
from tinygraph.passes.compare import random_inputs
from tinygraph.runtime import threads as cores
from tinygraph.tools.input_size import refuse_open_sizes
from tinygraph.tools.model_arg import Model, find
from tinygraph.tools.options import answer_options, limits, model_options, report_options
from tinygraph.tools.output import Output, note
from tinygraph.tools.race import Entry, distance, machine, race
from tinygraph.tools.table import Cell, Column, Format, csv_table, human_bytes, markdown_table, text_table

RIVALS = ("onnxruntime", "torch", "openvino")
_TRAINER = "torch"
_FAR = 1e-3  # relative distance of answers above which a comparison makes no sense

_COLUMNS = (
    Column("runtime", "runtime"),
    Column("version", "version", rank=4),
    Column("median", "median_ms", "{:,.2f} ms".format, right=True),
    Column("fastest", "min_ms", "{:,.2f}".format, right=True, rank=2),
    Column("slowest", "max_ms", "{:,.2f}".format, right=True, rank=2),
    Column("ratio", "ratio", "{:.2f}".format, right=True),
    Column("peak memory", "peak_bytes", human_bytes, right=True, rank=1),
    Column("created in", "create_ms", "{:,.0f} ms".format, right=True, rank=3),
    Column("distance", "distance", "{:.1e}".format, right=True, rank=5),
)


@click.command("bench")
@model_options
@click.option("--against", multiple=True, metavar="NAMES", help=f"Others, with commas between: {', '.join(RIVALS)}.")
@click.option("--mode", type=click.Choice(["inference", "train"]), default="inference", help="Default: inference.")
@click.option(
    "--precision",
    type=click.Choice(["exact", "fast"]),
    default="exact",
    help="Of tinygraph; fast: kernels that round more (default: exact).",
)
@click.option("--tune", is_flag=True, help="tinygraph takes the kernels that are measured to be the fastest.")
@click.option("--threads", type=click.IntRange(min=1), help="Of each runtime; default: all cores.")
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True, help="Runs of each, interleaved.")
@answer_options
@report_options
def command(
    model: str,
    input_sizes: tuple[str, ...],
    batch_size: int | None,
    against: tuple[str, ...],
    mode: str,
    precision: str,
    tune: bool,
    threads: int | None,
    rounds: int,
    style: Format,
    output: str | None,
    color: str,
) -> int:
    """Time MODEL, next to other runtimes.

    Each runtime has a process of its own and the same number of threads. They take turns: a run
    that wakes it up, and one that is timed. The ratio is tinygraph's median over the other's: below
    1, tinygraph is faster. An ONNX file is read by each of them; of a network of Python, the others
    read what is saved.
    --mode train times a step of SGD with momentum on the cross-entropy loss.
    """
    out = Output(output, color)
    names = ["tinygraph", *_rivals(against, mode)]
    found = find(model)
    if mode == "train" and found.module is None:
        raise UsageError(f"{model} is a finished graph: --mode train takes a network of Python or a built-in one")
    if mode == "train" and precision != "exact":
        raise UsageError("--precision fast is for inference: training has no kernels that round more")
    if mode == "train" and tune:
        raise UsageError("--tune is for inference: training has no kernels to choose from")
    job: dict[str, Any] = {
        "model": model,
        "input_sizes": input_sizes,
        "batch_size": batch_size,
        "mode": mode,
        "precision": precision,
        "tune": tune,
        "threads": cores.count(threads),
    }
    with tempfile.TemporaryDirectory(prefix="tinygraph-bench-") as folder:
        jobs = _jobs(job, names, found, Path(folder))
        entries = race(jobs, rounds)
        facts = [_facts(entry, entries[0]) for entry in entries]
    for fact in facts[1:]:
        if not fact["distance"] < _FAR:
            note(f"the answers of {fact['runtime']} differ: the times may not be of the same network")
    here = machine()
    if style == "json":
        results = [{key: cell if _is_json(cell) else None for key, cell in fact.items()} for fact in facts]
        answer = {"schema": 1, **job, "inputs": jobs[0]["inputs"], "rounds": rounds, "machine": here}
        out.write(json.dumps({**answer, "results": results}) + "\n")
        return 0
    rows = [[fact[column.key] for column in _COLUMNS] for fact in facts]
    if style == "table":
        batch = "" if batch_size is None else f", batch {batch_size}"
        fast = ", precision fast" * (precision == "fast") + ", tuned" * tune
        out.write(f"{model}, {mode}{batch}{fast}, threads: {job['threads']}, {rounds} runs of each in turn\n")
        out.write(f"{caption(here)}\n\n")
        out.write(text_table(_COLUMNS, rows, out))
    else:
        out.write((csv_table if style == "csv" else markdown_table)(_COLUMNS, rows))
    return 0


def caption(here: dict[str, Any]) -> str:
    """The machine in a line; see race.machine."""
    return "{cpu}, {cores} core(s), {system}, Python {python}, NumPy {numpy}".format(**here)


def _rivals(against: Sequence[str], mode: str) -> list[str]:
    names = dict.fromkeys(name.strip() for text in against for name in text.split(",") if name.strip())
    for name in names:
        if name not in RIVALS:
            raise UsageError(f"--against {name}: known are {', '.join(RIVALS)}")
        if mode == "train" and name != _TRAINER:
            raise UsageError(f"--against {name}: it does not train; {_TRAINER} does")
    return list(names)


def _jobs(job: dict[str, Any], names: Sequence[str], found: Model, folder: Path) -> list[dict[str, Any]]:
    """The jobs of contender.py, and the files that they name.

    An ONNX file is read by every runtime; where numbers are given for inputs of it, a file without
    them is. What is traced from Python is traced again where tinygraph runs, with weights that it
    reads from a file, and the others read what is saved here.
    """
    training = job["mode"] == "train"
    graph = found.trace(job["input_sizes"], job["batch_size"], "training" if training else "inference")
    graph = _closed(refuse_open_sizes(graph))
    arrays = list(random_inputs(graph).values())
    if training:  # a label for each image
        classes = graph.outputs[0][1].type.dims[-1]
        arrays = [arrays[0], np.random.default_rng(1).integers(0, classes, len(arrays[0]))]
    np.savez(folder / "arrays.npz", *arrays)
    job = {
        **job,
        "budget": (limits().budget.bytes, limits().budget.operations),
        "inputs": [{"name": v.name, "shape": v.type.dims, "dtype": dtype_name(v.type.dtype)} for v in graph.inputs],
        "arrays": str(folder / "arrays.npz"),
        "weights": None,
        "onnx": None,
        "dims": {},
    }
    if found.module is not None:
        job["weights"] = str(folder / "weights.npz")
        found.module.save(job["weights"])
    if found.file is not None and len(graph.inputs) == len(found.file.types):
        job |= {"onnx": found.file.path, "dims": _dims(found.file.types, graph)}
    elif found.file is not None or not {"onnxruntime", "openvino"}.isdisjoint(names):
        job["onnx"] = str(folder / "model.onnx")
        tinygraph.save(graph, job["onnx"])
    if "torch" in names:
        job |= _for_torch(graph, folder)
    jobs = [{**job, "runtime": name, "answers": str(folder / f"{name}.npz")} for name in names]
    if found.file is None:
        jobs[0]["onnx"] = None
    return jobs


def _closed(graph: Graph) -> Graph:
    """The graph for a batch of one, if its batch is open."""
    if graph.symbols:
        note(f"{', '.join(graph.symbols)} is 1; -b takes another number")
    return graph.bind(**dict.fromkeys(graph.symbols, 1))


def _dims(types: Mapping[str, TensorType], graph: Graph) -> dict[str, int]:
    """The numbers that the graph has for open dimensions of the inputs of its file."""
    return {
        old.base: new // old.factor
        for value in graph.inputs
        for old, new in zip(types[value.name].shape, value.type.dims, strict=True)
        if isinstance(old, Symbol)
    }


def _for_torch(graph: Graph, folder: Path) -> dict[str, Any]:
    """Files from which contender.py makes the graph without reading it from Python or ONNX."""
    numbers = {value: graph.array(value) for value in graph.data}
    text, data = folder / "graph.txt", folder / "data.npz"
    text.write_text(str(replace(graph, data=numbers)), encoding="utf-8")
    np.savez(data, *numbers.values())
    return {"graph": str(text), "data": str(data), "data_names": [value.name for value in numbers]}


def _facts(entry: Entry, own: Entry) -> dict[str, Any]:
    milliseconds = [1e3 * s for s in entry.seconds]
    return {
        "runtime": entry.name,
        "version": entry.about["version"],
        "threads": entry.about["threads"],
        "median_ms": statistics.median(milliseconds),
        "min_ms": min(milliseconds),
        "max_ms": max(milliseconds),
        "ratio": None if entry is own else statistics.median(own.seconds) / statistics.median(entry.seconds),
        "busy_cores": entry.busy_cores,
        "peak_bytes": entry.peak_bytes,
        "imported_bytes": entry.about["imported_bytes"],
        "planned_bytes": entry.about["planned_bytes"],
        "create_ms": 1e3 * entry.about["create_seconds"],
        "distance": None if entry is own else distance(entry, own),
    }


def _is_json(cell: Cell) -> bool:
    return not isinstance(cell, float) or math.isfinite(cell)
