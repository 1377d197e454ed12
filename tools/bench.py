"""`tinygraph bench`: how fast a network runs or trains, next to other runtimes in the same minutes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import click
import numpy as np

from tinygraph.errors import UsageError
from tinygraph.runtime import threads as cores
from tinygraph.tools.input_size import refuse_open_sizes
from tinygraph.tools.model_arg import find
from tinygraph.tools.options import answer_options, model_options, report_options
from tinygraph.tools.output import Output, note
from tinygraph.tools.table import Cell, Column, Format, csv_table, human_bytes, markdown_table, text_table

RIVALS = ("onnxruntime", "torch", "openvino")
_WARM_UP = 3
_PAUSE = 0.02  # seconds before a run: threads of the one before may still wait for work, at full speed
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
@click.option("--against", default="", metavar="NAMES", help=f"Others, with commas between: {', '.join(RIVALS)}.")
@click.option("--mode", type=click.Choice(["inference", "train"]), default="inference", help="Default: inference.")
@click.option(
    "--precision",
    type=click.Choice(["exact", "fast"]),
    default="exact",
    help="Of tinygraph; fast: kernels that round more (default: exact).",
)
@click.option("--threads", type=click.IntRange(min=1), help="Of each runtime; default: all cores.")
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True, help="Runs of each, interleaved.")
@answer_options
@report_options
def command(
    model: str,
    input_sizes: tuple[str, ...],
    batch_size: int | None,
    against: str,
    mode: str,
    precision: str,
    threads: int | None,
    rounds: int,
    style: Format,
    output: str | None,
    color: str,
) -> int:
    """Time MODEL, next to other runtimes.

    Each runtime has a process of its own and the same number of threads. They take turns, one run
    at a time. The ratio is tinygraph's median over the other's: below 1, tinygraph is faster.
    --mode train times a step of SGD with momentum on the cross-entropy loss.
    """
    out = Output(output, color)
    names = ["tinygraph", *(name.strip() for name in against.split(",") if name.strip())]
    unknown = [name for name in names[1:] if name not in RIVALS]
    if unknown:
        raise UsageError(f"--against {unknown[0]}: known are {', '.join(RIVALS)}")
    found = find(model)
    if mode == "train" and found.module is None:
        raise UsageError(f"{model} is a finished graph: --mode train takes a network of Python or a built-in one")
    if mode == "train" and precision != "exact":
        raise UsageError("--precision fast is for inference: training has no kernels that round more")
    refuse_open_sizes(found.trace(input_sizes, batch_size))  # whatever is wrong with it is said once
    job = {
        "model": model,
        "input_sizes": input_sizes,
        "batch_size": batch_size,
        "mode": mode,
        "precision": precision,
        "threads": cores.count(threads),
    }
    entries = _race(job, list(dict.fromkeys(names)), rounds)
    rows = [_cells(entry, entries[0]) for entry in entries]
    for entry in entries[1:]:
        if not _distance(entry, entries[0]) < _FAR:
            note(f"the answers of {entry.name} differ: the times may not be of the same network")
    if style == "json":
        keys = [column.key for column in _COLUMNS]
        results = [dict(zip(keys, row, strict=True)) for row in rows]
        out.write(json.dumps({"schema": 1, **job, "rounds": rounds, "results": results}) + "\n")
    elif style == "table":
        batch = "" if batch_size is None else f", batch {batch_size}"
        fast = ", precision fast" if precision == "fast" else ""
        out.write(f"{model}, {mode}{batch}{fast}, threads: {job['threads']}, {rounds} runs of each in turn\n\n")
        out.write(text_table(_COLUMNS, rows, out))
    else:
        out.write((csv_table if style == "csv" else markdown_table)(_COLUMNS, rows))
    return 0


@dataclass
class Entry:
    """A runtime in the race.

    Attributes:
        name: of the runtime.
        about: what it said about itself; see contender.py.
        seconds: of each run.
        peak_bytes: the largest resident memory of its process.
    """

    name: str
    process: subprocess.Popen[str]
    about: dict[str, Any] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    def ask(self, line: str) -> dict[str, Any]:
        """Sends a line and waits for the answer; UsageError if the runtime fails."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # what it said before it ended is read below
        text = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(text) if text else {"error": "its process ended"}
        if "error" in answer:
            raise UsageError(f"{self.name} cannot run this: {answer['error']}")
        return answer


def _race(job: dict[str, Any], names: Sequence[str], rounds: int) -> list[Entry]:
    entries: list[Entry] = []
    try:
        for name in names:
            process = subprocess.Popen(
                [sys.executable, "-m", "tinygraph.tools.contender"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                process_group=0,  # a terminal's Ctrl-C is for the command, which then ends the others
            )
            entries.append(Entry(name, process))
            entries[-1].about = entries[-1].ask(json.dumps({**job, "runtime": name}))
            entries[-1].ask(f"run {_WARM_UP}")
        for _ in range(rounds):
            for entry in entries:
                time.sleep(_PAUSE)
                entry.seconds += entry.ask("run 1")["seconds"]
        for entry in entries:
            entry.peak_bytes = entry.ask("end")["peak_bytes"]
    finally:
        for entry in entries:
            entry.process.kill()
            entry.process.communicate()
    return entries


def _cells(entry: Entry, own: Entry) -> Sequence[Cell]:
    milliseconds = [1e3 * s for s in entry.seconds]
    return (
        entry.name,
        entry.about["version"],
        statistics.median(milliseconds),
        min(milliseconds),
        max(milliseconds),
        None if entry is own else statistics.median(own.seconds) / statistics.median(entry.seconds),
        entry.peak_bytes,
        1e3 * entry.about["create_seconds"],
        None if entry is own else _distance(entry, own),
    )


def _distance(entry: Entry, own: Entry) -> float:
    """Relative distance of the first answers."""
    a, b = np.array(own.about["outputs"]), np.array(entry.about["outputs"])
    return float(np.linalg.norm(a - b) / (np.linalg.norm(b) or 1.0)) if a.shape == b.shape else float("inf")
