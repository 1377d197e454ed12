"""One runtime of a race, in a process of its own: `python contender.py`.

Nothing of tinygraph is imported here unless it is the runtime, or makes it (eager PyTorch): the
memory of this process is that of a program which reads a model and runs it.

The first line of standard input is the job as JSON, each further line a command. Each is answered
by a line of JSON:

    run N    {"seconds": [...], "cpu_seconds": ...} of N runs
    end      {"peak_bytes": ...}: the largest resident memory of the process so far

The job itself is answered by {"version", "threads", "create_seconds", "imported_bytes",
"planned_bytes"}: threads as the runtime says after a first run, the answers of which are in the
file `answers` of the job; the time from files to a session that can run; the resident memory
before that; and the memory that tinygraph says a run takes.

A job has the keys

    runtime, threads, mode ("inference" or "train"), precision, tune, budget (bytes and operations)
    model, input_sizes, batch_size: of the command line, for what tinygraph traces itself
    weights: the file with its numbers; null for a model that has them already
    onnx: the file that is read; null if tinygraph traces, and is the runtime
    dims: numbers of its open dimensions by name
    graph, data: files with the text of the graph and its numbers, for PyTorch
    inputs, arrays: name, shape and dtype of each input, and the file with an array for each; a
        training has its labels there too
    answers: the file to be written
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

LR, MOMENTUM = 0.01, 0.9


@dataclass
class Contender:
    """A model ready to run.

    Attributes:
        run: makes one run.
        arrays: the answers in what a run returned.
        threads: asks the runtime how many it uses.
        planned: bytes that a run takes, where that is known.
    """

    run: Callable[[], Any]
    arrays: Callable[[Any], list[Any]]
    threads: Callable[[], int]
    planned: int | None = None


def main() -> None:
    """Serves until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    try:
        contender, about = prepare(json.loads(sys.stdin.readline()))
    except ModuleNotFoundError as error:
        _tell(answers, {"error": f"there is no Python package {error.name}; install it, or leave this runtime out"})
        return
    except Exception as error:
        ours = type(error).__module__ == "tinygraph.errors"
        _tell(answers, {"error": str(error) if ours else f"{type(error).__name__}: {error}"})
        return
    _tell(answers, about)
    for line in sys.stdin:
        command, _, count = line.strip().partition(" ")
        _tell(answers, _timed(contender.run, int(count)) if command == "run" else {"peak_bytes": peak_bytes()})


def prepare(job: dict[str, Any]) -> tuple[Contender, dict[str, Any]]:
    """What is to run, and what there is to say about it after a first run."""
    with np.load(job["arrays"]) as file:
        arrays = [file[name] for name in file.files]
    maker = _MAKERS[job["runtime"], job["mode"]]
    importlib.import_module(job["runtime"])  # not part of the time that a session takes
    for part in _parts(job):
        importlib.import_module(f"tinygraph.{part}")
    imported = _resident("VmRSS")
    began = time.perf_counter()
    contender = maker(job, arrays)
    created = time.perf_counter() - began
    np.savez(job["answers"], *contender.arrays(contender.run()))
    return contender, {
        "version": importlib.metadata.version(job["runtime"]),
        "threads": contender.threads(),
        "create_seconds": created,
        "imported_bytes": imported,
        "planned_bytes": contender.planned,
    }


def peak_bytes() -> int:
    """The largest resident memory that this process has had.

    Not what getrusage says where there is another way: on Linux that begins with the memory of the
    process which started this one.
    """
    found = _resident("VmHWM")
    if found is None:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return found


def _resident(key: str) -> int | None:
    """A line of /proc/self/status, in bytes."""
    try:
        with open("/proc/self/status") as file:
            return next((1024 * int(line.split()[1]) for line in file if line.startswith(f"{key}:")), None)
    except OSError:
        return None


def _parts(job: dict[str, Any]) -> tuple[str, ...]:
    """What tinygraph would import when it is first used; other packages import all of theirs at once."""
    if job["runtime"] == "torch":
        return "text", "tools.torch_eager"
    if job["runtime"] != "tinygraph":
        return ()
    return "onnx.load" if job["onnx"] else "tools.model_arg", "passes.pipeline", "runtime.session", "training"


def _tinygraph(job: dict[str, Any], arrays: list[Array]) -> Contender:
    import tinygraph as tg

    budget = tg.Budget(*job["budget"])
    session = tg.compile(
        _graph(job, budget), threads=job["threads"], budget=budget, precision=job["precision"], tune=job["tune"]
    )
    try:
        planned = session.memory.total
    except tg.UsageError:  # sizes come out only while it runs
        planned = None

    def listed(answer: Any) -> list[Any]:
        return list(answer.values()) if isinstance(answer, dict) else [answer]

    return Contender(lambda: session(*arrays), listed, lambda: session.threads, planned)


def _graph(job: dict[str, Any], budget: Any) -> Any:
    """What tinygraph is to run."""
    import tinygraph as tg

    if job["onnx"] is not None:
        return tg.load(job["onnx"], bind=job["dims"], budget=budget)
    graph = _model(job).trace(job["input_sizes"], job["batch_size"])
    return graph.bind(**dict.fromkeys(graph.symbols, 1))


def _model(job: dict[str, Any]) -> Any:
    """The model of the command line."""
    from tinygraph.tools.model_arg import find

    model = find(job["model"])
    if job["weights"]:
        model.load(job["weights"])
    return model


def _onnxruntime(job: dict[str, Any], arrays: list[Array]) -> Contender:
    import onnxruntime  # type: ignore[import-not-found, import-untyped, unused-ignore]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = job["threads"], 1
    for name, number in job["dims"].items():
        options.add_free_dimension_override_by_name(name, number)
    session = onnxruntime.InferenceSession(job["onnx"], options, ["CPUExecutionProvider"])
    feeds = _feeds(job, arrays)
    return Contender(
        lambda: session.run(None, feeds), list, lambda: int(session.get_session_options().intra_op_num_threads)
    )


def _feeds(job: dict[str, Any], arrays: list[Array]) -> dict[str, Array]:
    return {given["name"]: array for given, array in zip(job["inputs"], arrays, strict=True)}


def _openvino(job: dict[str, Any], arrays: list[Array]) -> Contender:
    import openvino  # type: ignore[import-not-found, import-untyped, unused-ignore]

    core = openvino.Core()
    model = core.read_model(job["onnx"])
    feeds = _feeds(job, arrays)
    if job["dims"]:
        model.reshape({name: list(array.shape) for name, array in feeds.items()})
    settings = {
        "INFERENCE_NUM_THREADS": job["threads"],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(model, "CPU", settings)
    return Contender(
        lambda: compiled(feeds),
        lambda answer: [answer[i] for i in range(len(compiled.outputs))],
        lambda: int(compiled.get_property("INFERENCE_NUM_THREADS")),
    )


def _torch(job: dict[str, Any], arrays: list[Array]) -> Contender:
    import torch  # type: ignore[import-not-found, import-untyped, unused-ignore]

    torch.set_num_threads(job["threads"])
    eager = _eager(job)
    tensors = [torch.from_numpy(array) for array in arrays]

    def run() -> Any:
        with torch.inference_mode():
            return eager(*tensors)

    return Contender(run, lambda answer: [tensor.numpy() for tensor in answer], torch.get_num_threads)


def _eager(job: dict[str, Any]) -> Any:
    from pathlib import Path

    from tinygraph.text import parse
    from tinygraph.tools.torch_eager import Eager

    with np.load(job["data"]) as file:
        arrays = [file[name] for name in file.files]
    for array in arrays:
        array.flags.writeable = False  # so that nobody has to copy it
    text = Path(job["graph"]).read_text(encoding="utf-8")
    return Eager(parse(text, dict(zip(job["data_names"], arrays, strict=True))))


def _train_tinygraph(job: dict[str, Any], arrays: list[Array]) -> Contender:
    import tinygraph as tg
    from tinygraph.nn import functional as F
    from tinygraph.runtime.threads import count

    inputs = [tg.Spec(array.shape, array.dtype) for array in arrays]
    optimizer = tg.optim.SGD(LR, momentum=MOMENTUM)
    step = tg.train_step(_model(job).module, optimizer, F.cross_entropy, inputs, threads=job["threads"])
    return Contender(lambda: step(*arrays), _loss, lambda: count(job["threads"]), step.memory.total)


def _train_torch(job: dict[str, Any], arrays: list[Array]) -> Contender:
    import torch

    from tinygraph.tools.torch_eager import trainer

    torch.set_num_threads(job["threads"])
    step = trainer(_eager(job), LR, MOMENTUM)
    return Contender(lambda: step(*arrays), _loss, torch.get_num_threads)


def _loss(loss: float) -> list[Any]:
    return [np.float64(loss)]


_MAKERS = {
    ("tinygraph", "inference"): _tinygraph,
    ("onnxruntime", "inference"): _onnxruntime,
    ("openvino", "inference"): _openvino,
    ("torch", "inference"): _torch,
    ("tinygraph", "train"): _train_tinygraph,
    ("torch", "train"): _train_torch,
}


def _timed(run: Callable[[], Any], count: int) -> dict[str, Any]:
    seconds = []
    before = time.process_time()
    for _ in range(count):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "cpu_seconds": time.process_time() - before}


def _tell(stream: Any, answer: dict[str, Any]) -> None:
    stream.write(json.dumps(answer) + "\n")
    stream.flush()


if __name__ == "__main__":
    main()
