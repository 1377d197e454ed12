"""A table of benches in Markdown: each network by `tinygraph bench`, one after the other.

    python -m tinygraph.tools.bench_table --threads 2
    python -m tinygraph.tools.bench_table --rounds 5 resnet50 model.onnx torchvision:googlenet
    python -m tinygraph.tools.bench_table --precision fast --keep benches.json package.module:net@1,3,64,64

A network is what the command takes for MODEL, behind @ the size of its input; or `torchvision:NAME`,
which is exported first, with weights made at random, for one image of 224 x 224. Without networks the
table has those of the README; two of them are found from the folder of the repository only. The others in
the race are those that are installed. Exporting needs torch, torchvision and onnxscript
(see torch_exports.py).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinygraph.tools.bench import RIVALS, caption

NETWORKS = (
    *("vgg16", "resnet18", "resnet50"),
    *(f"torchvision:{name}" for name in ("googlenet", "densenet121", "resnext50_32x4d", "mobilenet_v2")),
    *(f"examples.bench_networks:{name}@1,1,256,256" for name in ("vdsr", "unet")),
)
SIDE = 224


def export(name: str, path: Path) -> None:
    """Writes a network of torchvision as ONNX, for one image; BatchNorm stays, as PyTorch runs it."""
    import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    from tinygraph.tools import torch_networks

    generator = torch.Generator().manual_seed(0)
    images = torch.randn((4, 3, SIDE, SIDE), generator=generator)
    network = torch_networks.settle(torch_networks.create(name), (images,))
    kept = torch.onnx.TrainingMode.PRESERVE
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (images[:1],), str(path), dynamo=False, input_names=["input"], training=kept)


def bench(network: str, options: Sequence[str], folder: Path) -> dict[str, Any]:
    """What `tinygraph bench --format json` answers; its `model` is the network as it was typed.

    Raises:
        subprocess.CalledProcessError: it failed, and has said why.
    """
    model, _, size = network.partition("@")
    sizes = ["--input-size", size] if size else []
    origin, _, name = model.partition(":")
    if origin == "torchvision":
        model = str(folder / f"{name}.onnx")
        export(name, Path(model))
    command = [sys.executable, "-m", "tinygraph", "bench", model, *sizes, *options, "--format", "json"]
    answer: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return {**answer, "model": network}


def table(answers: Sequence[dict[str, Any]]) -> str:
    """The answers of benches of the same runtimes: medians in ms, ratios to tinygraph's, peak memory in MiB."""
    runtimes = [result["runtime"] for result in answers[0]["results"]]
    head = ["network", "input", *runtimes, "peak memory"]
    lines = [f"| {' | '.join(head)} |", "|---|---|" + "--:|" * (len(runtimes) + 1)]
    for answer in answers:
        shapes = ", ".join("x".join(map(str, given["shape"])) for given in answer["inputs"])
        own, *others = answer["results"]
        times = [f"{own['median_ms']:.1f} ms", *(f"{x['median_ms']:.1f} ({x['ratio']:.2f})" for x in others)]
        memory = " / ".join(f"{x['peak_bytes'] / 2**20:,.0f}" for x in (own, *others))
        lines.append(f"| {' | '.join([answer['model'].partition('@')[0], shapes, *times, f'{memory} MiB'])} |")
    return "\n".join(lines) + "\n"


def about(answers: Sequence[dict[str, Any]], options: Sequence[str]) -> str:
    """What the table is of: the machine, the versions and the command."""
    first = answers[0]
    versions = ", ".join(f"{result['runtime']} {result['version']}" for result in first["results"])
    return (
        f"Medians of {first['rounds']} runs of each in turn, float32, {first['threads']} thread(s); in brackets "
        f"tinygraph's time over the other's: below 1, tinygraph is faster. Peak memory is that of the whole process, "
        f"in the order of the columns. {versions}; {caption(first['machine'])}. "
        f"`tinygraph bench NETWORK {' '.join(options)}`\n"
    )


def main() -> int:
    """Runs the benches, prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("networks", nargs="*", help="by default those of the README")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--precision", default="exact", help="of tinygraph")
    parser.add_argument("--against", default=",".join(name for name in RIVALS if importlib.util.find_spec(name)))
    parser.add_argument("--keep", type=Path, metavar="FILE", help="a JSON file for all answers")
    given = parser.parse_args()
    options = ["--against", given.against] if given.against else []
    options += ["--threads", str(given.threads), "--rounds", str(given.rounds), "--precision", given.precision]
    answers = []
    with tempfile.TemporaryDirectory(prefix="tinygraph-bench-") as folder:
        for network in given.networks or NETWORKS:
            answers.append(bench(network, options, Path(folder)))
            sys.stderr.write(table(answers).splitlines()[-1] + "\n")
            if given.keep:
                given.keep.write_text(json.dumps(answers, indent=1) + "\n")
    sys.stdout.write(f"{table(answers)}\n{about(answers, options)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
