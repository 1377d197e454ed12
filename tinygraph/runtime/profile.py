"""What each step of a session costs: `session.profile(x)`, as rows, text, JSON, and a trace for Chrome and Perfetto."""

from __future__ import annotations

import json
import os
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter_ns
from typing import Any, NamedTuple

import numpy as np

from tinygraph.errors import UsageError, printable
from tinygraph.files import replacing
from tinygraph.ir import Node
from tinygraph.kernels.workers import watched
from tinygraph.ops.base import Op
from tinygraph.runtime.channels_last import ChannelsLast
from tinygraph.runtime.peak import gemm_peak
from tinygraph.runtime.recording import Recording, Span

SCHEMA = 1
_WARM_UP = 2  # runs before the ones that count
_BLAS = (np.dtype(np.float32), np.dtype(np.float64))  # what has a GEMM


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One step: a node, or several that run together.

    Attributes:
        name: of the node, which is that of its first output.
        module: path of the module that it was traced from.
        op: name of the op; "fused" for several elementwise nodes that run together.
        algorithm: of the kernel, with what it does to the results on the way; "plain" for the op's own.
        output_shape: of the first output, in the layout that it has when it runs.
        seconds: median of the runs.
        time_share: part of the call that this is.
        flops: arithmetic operations by the op's formula, two for each multiply-add, whatever the algorithm does.
        gflops: these in a second, in units of 10^9.
        peak_share: part of the machine's GEMM peak that this is; None where the dtype has no GEMM. Above 1 for
            an algorithm that does less arithmetic than the formula, such as Winograd's.
        output_bytes: of the arrays that it makes.
    """

    name: str
    module: str
    op: str
    algorithm: str
    output_shape: tuple[int, ...]
    seconds: float
    time_share: float
    flops: int
    gflops: float
    peak_share: float | None
    output_bytes: int


@dataclass(frozen=True, slots=True)
class ProfileTotals:
    """Sums over a call.

    Attributes:
        seconds: of a whole call, median of the runs.
        other_seconds: of them, what it takes besides its steps: checks of arguments, copies of outputs, the clock.
        flops: arithmetic operations of all steps.
        gflops: these in a second of the whole call, in units of 10^9.
        peak_share: part of the whole call that the steps would take at the GEMM peak; None where none has a GEMM.
        output_bytes: of the arrays that all steps make.
    """

    seconds: float
    other_seconds: float
    flops: int
    gflops: float
    peak_share: float | None
    output_bytes: int


class _Run(NamedTuple):
    """One run.

    Attributes:
        began, ended: nanoseconds of the performance counter.
        recording: what happened in between.
    """

    began: int
    ended: int
    recording: Recording

    @property
    def spans(self) -> Sequence[Span]:
        return self.recording.spans

    @property
    def nanoseconds(self) -> int:
        return self.ended - self.began

    @property
    def besides(self) -> int:
        """Nanoseconds that no step took."""
        return self.nanoseconds - sum(span.ended - span.began for span in self.spans)


@dataclass(frozen=True, repr=False, eq=False)
class Profile:
    """What each step of a session took.

    Attributes:
        rows: one for each step, in order. A view of an array that has a fixed place takes no step.
        totals: the sums.
        runs: how many were measured.
        threads: that a call may use.
        peaks: FLOP/s of the machine's GEMM with these threads, by name of the dtype.
    """

    rows: tuple[ProfileRow, ...]
    totals: ProfileTotals
    runs: int
    threads: int
    peaks: Mapping[str, float]
    _shown: _Run

    def to_dict(self) -> dict[str, Any]:
        """The profile as plain dicts, lists, strings and numbers."""
        return {
            "schema": SCHEMA,
            "threads": self.threads,
            "runs": self.runs,
            "gemm_peaks": dict(self.peaks),
            "totals": asdict(self.totals),
            "rows": [asdict(row) for row in self.rows],
        }

    def to_json(self) -> str:
        """The same as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the run whose time was in the middle as a trace that chrome://tracing and ui.perfetto.dev show.

        One track has the call, in it the steps, and in these what the calling thread did itself of work that was
        divided; each further track has what another thread did. Times are in microseconds from the beginning of the
        call. The format is Chrome's Trace Event Format: a JSON object of complete events.

        Raises:
            UsageError: the file cannot be written; an old one is as it was.
        """
        trace = {"traceEvents": list(self._events()), "displayTimeUnit": "ms"}
        with replacing(path) as part:
            part.write_text(json.dumps(trace), encoding="utf-8")

    def _events(self) -> Iterator[dict[str, Any]]:
        start, end, recording = self._shown
        process = {"pid": os.getpid()}

        def event(name: str, kind: str, began: int, ended: int, track: int, args: Mapping[str, Any]) -> dict[str, Any]:
            times = {"ts": (began - start) / 1e3, "dur": (ended - began) / 1e3}
            return {"name": name, "cat": kind, "ph": "X", **times, **process, "tid": track, "args": args}

        threads = dict.fromkeys((recording.thread, *(task.thread for task in recording.tasks)))
        tracks = {thread: i for i, thread in enumerate(threads)}
        for track in tracks.values():
            name = f"worker {track}" if track else "session"
            yield {"name": "thread_name", "ph": "M", **process, "tid": track, "args": {"name": name}}
        yield event("call", "call", start, end, 0, {"threads": self.threads, "runs": self.runs})
        for span in recording.spans:
            yield event(span.node.name, _op(span.node).name, span.began, span.ended, 0, _arguments(span))
        begins = [span.began for span in recording.spans]
        for task in recording.tasks:
            step = recording.spans[bisect(begins, task.began) - 1]
            yield event(f"part of {step.node.name}", "task", task.began, task.ended, tracks[task.thread], {})

    def __str__(self) -> str:
        totals = self.totals
        lines: list[Sequence[str]] = [("node", "op", "algorithm", "output", "ms", "time", "GFLOP/s", "of peak")]
        for row in self.rows:
            about = printable(row.name), row.op, row.algorithm, "x".join(map(str, row.output_shape)) or "scalar"
            lines.append((*about, *_measured(row.seconds, row.time_share, row.gflops, row.peak_share)))
        other = totals.other_seconds
        lines.append(("besides the steps", "", "", "", *_measured(other, _ratio(other, totals.seconds))))
        lines.append(("call", "", "", "", *_measured(totals.seconds, 1.0, totals.gflops, totals.peak_share)))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ""
        for line in lines:
            cells = [c.rjust(w) if i > 3 else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
            text += "  ".join(cells).rstrip() + "\n"
        return f"{text}\n{self.conditions}\n"

    @property
    def conditions(self) -> str:
        """How it was measured, in a line."""
        peaks = "".join(f", GEMM peak of {name} {peak / 1e9:,.0f} GFLOP/s" for name, peak in self.peaks.items())
        return f"medians of {self.runs} runs, threads: {self.threads}{peaks}"

    def __repr__(self) -> str:
        return f"Profile({len(self.rows)} steps, {1e3 * self.totals.seconds:.3f} ms, threads: {self.threads})"


def profile(run: Callable[[Recording], object], threads: int, repeat: int) -> Profile:
    """Times the steps of a run.

    Args:
        run: is made several times, each time with a recording of its own.
        threads: that it may use.
        repeat: runs that are measured.

    Raises:
        UsageError: fewer than one run; and whatever the run raises.
    """
    if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 1:
        raise UsageError(f"repeat={repeat!r}: give a whole number of at least 1")
    for _ in range(_WARM_UP):
        run(Recording())
    runs = [_recorded(run) for _ in range(repeat)]
    shown = sorted(runs, key=lambda r: r.nanoseconds)[(repeat - 1) // 2]
    taken: dict[str, list[int]] = {}
    for each in runs:
        for span in each.spans:
            taken.setdefault(span.node.name, []).append(span.ended - span.began)
    seconds = median(r.nanoseconds for r in runs) / 1e9
    dtypes = {_dtype(span.node) for span in shown.spans}
    peaks = {dtype: gemm_peak(dtype, threads) for dtype in _BLAS if dtype in dtypes}
    rows = tuple(_row(span, median(taken[span.node.name]) / 1e9, seconds, peaks) for span in shown.spans)
    flops = sum(row.flops for row in rows)
    at_peak = [row.seconds * row.peak_share for row in rows if row.peak_share is not None]
    totals = ProfileTotals(
        seconds=seconds,
        other_seconds=median(r.besides for r in runs) / 1e9,
        flops=flops,
        gflops=_ratio(flops / 1e9, seconds),
        peak_share=_ratio(sum(at_peak), seconds) if at_peak else None,
        output_bytes=sum(row.output_bytes for row in rows),
    )
    return Profile(rows, totals, repeat, threads, {dtype.name: peak for dtype, peak in peaks.items()}, shown)


def _recorded(run: Callable[[Recording], object]) -> _Run:
    recording = Recording()
    with watched(recording.task):
        began = perf_counter_ns()
        run(recording)
        return _Run(began, perf_counter_ns(), recording)


def _row(span: Span, seconds: float, call: float, peaks: Mapping[np.dtype[Any], float]) -> ProfileRow:
    node = span.node
    flops, peak = _flops(node), peaks.get(_dtype(node))
    return ProfileRow(
        name=node.name,
        module=node.where.module,
        op=_op(node).name,
        algorithm=span.algorithm,
        output_shape=node.output_types[0].dims,
        seconds=seconds,
        time_share=_ratio(seconds, call),
        flops=flops,
        gflops=_ratio(flops / 1e9, seconds),
        peak_share=None if peak is None else _ratio(flops / peak, seconds),
        output_bytes=sum(type.nbytes for type in node.output_types),
    )


def _arguments(span: Span) -> dict[str, Any]:
    """What the trace says of a step beside its times."""
    node, flops = span.node, _flops(span.node)
    return {
        "module": node.where.module,
        "algorithm": span.algorithm,
        "FLOPs": flops,
        "GFLOP/s": round(_ratio(flops, span.ended - span.began), 3),
        "inputs": list(map(str, node.input_types)),
        "outputs": list(map(str, node.output_types)),
    }


def _op(node: Node) -> Op:
    """What is computed, in whichever layout."""
    return node.op.op if isinstance(node.op, ChannelsLast) else node.op


def _flops(node: Node) -> int:
    return node.op.flops(node.input_types, node.output_types)


def _dtype(node: Node) -> np.dtype[Any]:
    return node.output_types[0].dtype


def _ratio(a: float, b: float) -> float:
    """A / b; 0 for what a coarse clock has not seen."""
    return a / b if b else 0.0


def _measured(
    seconds: float, time_share: float, gflops: float | None = None, peak_share: float | None = None
) -> Sequence[str]:
    speed = "" if gflops is None else f"{gflops:,.1f}"
    return f"{1e3 * seconds:,.3f}", percent(time_share), speed, "" if peak_share is None else percent(peak_share)


def percent(share: float) -> str:
    """A share as people read it: 29.3 %."""
    return f"{100 * share:.1f} %"
