"""One runtime of a comparison, in a process of its own: `python -m tinygraph.tools.contender`.

The first line of standard input is the job as JSON, each further line a command. Each is answered
by a line of JSON:

    run N    {"seconds": [...]} of N runs
    end      {"peak_bytes": ...}: the largest resident memory of the process so far

The answer to the job itself is {"version", "threads", "create_seconds", "outputs"}: outputs are
the first numbers of the first run, for a comparison of the answers.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np

from tinygraph.errors import UsageError
from tinygraph.ir import Array, Graph

Run = Callable[[], Any]

LR, MOMENTUM = 0.01, 0.9
_SHOWN = 4096  # numbers of the outputs that are compared


def main() -> None:
    """Serves until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    try:
        run, about = prepare(json.loads(sys.stdin.readline()))
    except UsageError as error:
        _tell(answers, {"error": str(error)})
        return
    except ModuleNotFoundError as error:
        _tell(answers, {"error": f"there is no Python package {error.name}; install it, or leave this runtime out"})
        return
    except Exception as error:
        _tell(answers, {"error": f"{type(error).__name__}: {error}"})
        return
    _tell(answers, about)
    for line in sys.stdin:
        command, _, count = line.strip().partition(" ")
        if command == "run":
            _tell(answers, {"seconds": [_timed(run) for _ in range(int(count))]})
        else:
            _tell(answers, {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})


def prepare(job: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """A function that makes one run, and what there is to say about it.

    Args:
        job: runtime, model, input_sizes, batch_size, mode ("inference" or "train"), precision, threads.
    """
    from tinygraph.passes.compare import random_inputs
    from tinygraph.tools.model_arg import find

    model = find(job["model"])
    training = job["mode"] == "train"
    graph = model.trace(job["input_sizes"], job["batch_size"], "training" if training else "inference")
    arrays = random_inputs(graph)
    makers = _TRAINING if training else _INFERENCE
    if job["runtime"] not in makers:
        raise UsageError(f"{job['runtime']} does not train")
    importlib.import_module(job["runtime"])  # not part of the time that a session takes
    began = time.perf_counter()
    maker = makers[job["runtime"]]
    if maker is _tinygraph:
        maker = partial(_tinygraph, precision=job["precision"])
    run = maker(model, graph, list(arrays.values()), job["threads"])
    created = time.perf_counter() - began
    outputs = np.ravel(np.asarray(run(), np.float64))[:_SHOWN]
    return run, {
        "version": importlib.metadata.version(job["runtime"]),
        "threads": job["threads"],
        "create_seconds": created,
        "outputs": outputs.tolist(),
    }


def _tinygraph(
    model: Any, graph: Graph, arrays: list[Array], threads: int, precision: Literal["exact", "fast"] = "exact"
) -> Run:
    import tinygraph

    session = tinygraph.compile(graph, threads=threads, precision=precision)
    return lambda: _first(session(*arrays))


def _first(answer: Any) -> Any:
    return next(iter(answer.values())) if isinstance(answer, dict) else answer


def _onnxruntime(model: Any, graph: Graph, arrays: list[Array], threads: int) -> Run:
    import onnxruntime  # type: ignore[import-not-found, import-untyped, unused-ignore]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(_onnx_bytes(graph), options, ["CPUExecutionProvider"])
    feeds = {v.name: array for v, array in zip(graph.inputs, arrays, strict=True)}
    return lambda: session.run(None, feeds)[0]


def _openvino(model: Any, graph: Graph, arrays: list[Array], threads: int) -> Run:
    import openvino  # type: ignore[import-not-found, import-untyped, unused-ignore]

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(_onnx_bytes(graph), b""), "CPU", settings)
    return lambda: compiled(arrays)[0]


def _onnx_bytes(graph: Graph) -> bytes:
    import io

    import tinygraph

    file = io.BytesIO()
    tinygraph.save(graph, file)
    return file.getvalue()


def _torch(model: Any, graph: Graph, arrays: list[Array], threads: int) -> Run:
    import torch  # type: ignore[import-not-found, import-untyped, unused-ignore]

    from tinygraph.tools.torch_eager import Eager

    torch.set_num_threads(threads)
    eager = Eager(graph)
    tensors = [torch.from_numpy(array) for array in arrays]

    def run() -> Any:
        with torch.inference_mode():
            return eager(*tensors)[0].numpy()

    return run


def _train_tinygraph(model: Any, graph: Graph, arrays: list[Array], threads: int) -> Run:
    import tinygraph
    from tinygraph.nn import functional as F
    from tinygraph.trace import Spec

    x, labels = _examples(graph, arrays)
    inputs = [Spec(x.shape), Spec(labels.shape, np.int64)]
    optimizer = tinygraph.optim.SGD(LR, momentum=MOMENTUM)
    step = tinygraph.train_step(model.module, optimizer, F.cross_entropy, inputs, threads=threads)
    return lambda: step(x, labels)


def _train_torch(model: Any, graph: Graph, arrays: list[Array], threads: int) -> Run:
    import torch  # type: ignore[import-not-found, import-untyped, unused-ignore]

    from tinygraph.tools.torch_eager import Eager, trainer

    torch.set_num_threads(threads)
    x, labels = _examples(graph, arrays)
    step = trainer(Eager(graph), LR, MOMENTUM)
    return lambda: step(x, labels)


def _examples(graph: Graph, arrays: list[Array]) -> tuple[Array, Array]:
    """The input, and a label for each of its images."""
    classes = graph.outputs[0][1].type.dims[-1]
    return arrays[0], np.random.default_rng(1).integers(0, classes, len(arrays[0]))


_INFERENCE = {"tinygraph": _tinygraph, "onnxruntime": _onnxruntime, "openvino": _openvino, "torch": _torch}
_TRAINING = {"tinygraph": _train_tinygraph, "torch": _train_torch}


def _timed(run: Run) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _tell(stream: Any, answer: dict[str, Any]) -> None:
    stream.write(json.dumps(answer) + "\n")
    stream.flush()


if __name__ == "__main__":
    main()
