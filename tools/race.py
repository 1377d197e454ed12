"""A race of runtimes: each in a process of its own, taking turns, with the same number of threads.

A turn is two runs, of which the second is timed. The first one after others ran may take twice as
long (PyTorch's does), which says little about a runtime at work.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygraph.errors import UsageError
from tinygraph.runtime import processor, threads
from tinygraph.tools import contender

_WARM_UP = 3
_PAUSE = 0.02  # seconds before a run: threads of the one before may still wait for work, at full speed
_SLACK = 0.5  # cores that a runtime may be busy on beyond its threads


@dataclass
class Entry:
    """A runtime in the race.

    Attributes:
        name: of the runtime.
        answers: the file with those of its first run.
        about: what it said about itself; see contender.py.
        seconds: of each run.
        cpu_seconds: of all cores and runs together.
        peak_bytes: the largest resident memory of its process.
    """

    name: str
    process: subprocess.Popen[str]
    answers: str
    about: dict[str, Any] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def busy_cores(self) -> float:
        """Cores that its runs kept busy on average."""
        return self.cpu_seconds / sum(self.seconds)

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


def race(jobs: Sequence[dict[str, Any]], rounds: int) -> list[Entry]:
    """Runs the jobs of contender.py in turn.

    Raises:
        UsageError: a runtime cannot run its job, or uses another number of threads than it was told.
    """
    entries: list[Entry] = []
    try:
        for job in jobs:
            process = subprocess.Popen(
                [sys.executable, "-P", contender.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                process_group=0,  # a terminal's Ctrl-C is for the command, which then ends the others
            )
            entry = Entry(job["runtime"], process, job["answers"])
            entries.append(entry)
            entry.about = entry.ask(json.dumps(job))
            entry.ask(f"run {_WARM_UP}")
            _check_threads(entry, job["threads"])
        for number in range(rounds):
            first = number % len(entries)
            for entry in entries[first:] + entries[:first]:
                time.sleep(_PAUSE)
                entry.ask("run 1")  # its threads sleep, and the caches are full of the others': not timed
                answer = entry.ask("run 1")
                entry.seconds += answer["seconds"]
                entry.cpu_seconds += answer["cpu_seconds"]
        for entry, job in zip(entries, jobs, strict=True):
            entry.peak_bytes = entry.ask("end")["peak_bytes"]
            if entry.busy_cores > job["threads"] + _SLACK:
                raise UsageError(
                    f"{entry.name} kept {entry.busy_cores:.1f} cores busy with {job['threads']} thread(s): "
                    f"its times are not comparable"
                )
    finally:
        for entry in entries:
            entry.process.kill()
            entry.process.communicate()
    return entries


def _check_threads(entry: Entry, wanted: int) -> None:
    used = entry.about["threads"]
    if used != wanted:
        raise UsageError(
            f"{entry.name} uses {used} thread(s), asked for {wanted}: its times are not comparable; "
            f"try --threads {used}, or leave it out"
        )


def distance(entry: Entry, own: Entry) -> float:
    """The largest relative distance (L2) of an answer to the first run; infinite where they are no two of a kind."""
    with np.load(own.answers) as ours, np.load(entry.answers) as theirs:
        if ours.files != theirs.files:
            return float("inf")
        return max((_relative(ours[name], theirs[name]) for name in ours.files), default=0.0)


def _relative(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    if a.shape != b.shape:
        return float("inf")
    a, b = a.astype(np.float64), b.astype(np.float64)
    found = float(np.linalg.norm(a - b) / (np.linalg.norm(b) or 1.0))
    return found if np.isfinite(found) else float("inf")


def machine() -> dict[str, Any]:
    """What the times are of: processor, cores for this process, system, and versions of Python and NumPy."""
    return {
        "cpu": processor.model(),
        "cores": threads.available(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
