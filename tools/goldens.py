"""Makes tests/data/goldens.json anew from the reference implementations, as far as pip has them.

    python -m tinygraph.tools.goldens torchvision/resnet18 torchvision/vgg16
    python -m tinygraph.tools.goldens            every entry whose source is torchvision

Needs torch and torchvision beside tinygraph:

    pip install torch==2.13.0 && pip install torchvision==0.28.0 --no-deps

An entry holds facts about a network's answer to one input: the first eight numbers, sum, L2
norm, largest number and its place. Weights and input come from a hash of their names, so that
anybody can make the same ones (`fill`). Entries of other sources (timm, the authors' own
repositories) are kept as they are. Nothing in tinygraph imports this file; the tests borrow
`fill` and `facts` from it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
_CHUNK = 1 << 16  # elements hashed at a time: they stay in the cache


def fill(name: str, shape: Sequence[int], gain: float = 1.0) -> Array:
    """The numbers of a parameter or buffer, or of the input: a hash of its name and of the place.

    Args:
        name: its key in the reference's state_dict; "input" for the input.
        shape: its shape.
        gain: scales the weights of convolutions and linear layers; networks with many
            residual blocks want less than 1, or their numbers grow out of bounds.

    Returns:
        float32, uniform in an interval that depends on the kind of parameter.
    """
    low, width = _interval(name, shape, gain)
    seed = np.uint32(zlib.crc32(name.encode()))
    filled = np.empty(math.prod(shape), np.float32)
    for start in range(0, filled.size, _CHUNK):
        stop = min(start + _CHUNK, filled.size)
        filled[start:stop] = low + width * _uniform(start, stop, seed)
    return filled.reshape(shape)


def _interval(name: str, shape: Sequence[int], gain: float) -> tuple[float, float]:
    """Where the numbers begin, and how far they reach."""
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return 0.0, 0.0
    if last == "running_var":
        return 0.75, 0.5
    if last == "input":
        return -1.0, 2.0
    if len(shape) > 1:
        bound = math.sqrt(2) * gain * math.sqrt(3 / math.prod(shape[1:]))
        return -bound, 2 * bound
    return (0.9 if last == "weight" else -0.1), 0.2


def _uniform(start: int, stop: int, seed: np.uint32) -> Array:
    """The numbers from `start` to `stop` of an endless row of numbers in (0, 1)."""
    x = np.arange(start, stop, dtype=np.uint32) * np.uint32(0x9E3779B1) + seed
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    uniform: Array = (x + 0.5) / 2**32
    return uniform


def facts(array: Array) -> dict[str, Any]:
    """What an entry says of an answer; sums in float64."""
    flat = np.asarray(array, np.float64).ravel()
    return {
        "shape": list(array.shape),
        "first8": flat[:8].tolist(),
        "sum": float(flat.sum()),
        "l2": float(np.sqrt((flat * flat).sum())),
        "max": float(flat.max()),
        "argmax": int(flat.argmax()),
        "finite": bool(np.isfinite(flat).all()),
    }


def entry(reference: Any, size: Sequence[int], gain: float) -> dict[str, Any]:
    """The entry of a torch module, whose weights are replaced.

    Args:
        reference: a torch.nn.Module that answers a tensor, or a dict of tensors.
        size: of the input.
        gain: see `fill`.
    """
    import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    shapes = {name: tuple(t.shape) for name, t in reference.state_dict().items()}
    reference.load_state_dict({name: torch.from_numpy(fill(name, shape, gain)) for name, shape in shapes.items()})
    with torch.no_grad():
        answer = reference.eval()(torch.from_numpy(fill("input", size)))
    arrays = list(answer.values()) if isinstance(answer, dict) else [answer]
    return {"input": list(size), "gain": gain, "outputs": [facts(array.numpy()) for array in arrays]}


def torchvision_model(name: str) -> Any:
    """Torchvision's own network of that name, without weights."""
    _declare_missing_ops()
    import torchvision  # type: ignore[import-not-found,unused-ignore]

    options = {"init_weights": False} if name == "googlenet" else {}
    return torchvision.models.get_model(name, weights=None, **options)


def _declare_missing_ops() -> None:
    """Lets torchvision be imported where its compiled ops do not fit the installed torch.

    At import it registers rules for two of them, which asks that they have a schema; networks
    that classify never call them.
    """
    import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        _LIBRARIES.append(library)
        for name in ("nms", "qnms"):
            library.define(f"{name}() -> ()")


_LIBRARIES: list[Any] = []  # a library's declarations end with it


def main() -> None:
    """Renews entries in place and says on stderr how much each has changed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="entries to renew; by default all of torchvision")
    parser.add_argument("--file", type=Path, default=Path("tests/data/goldens.json"))
    options = parser.parse_args()
    document = json.loads(options.file.read_text())
    entries = document["synthetic"]
    for name in options.names or [name for name in entries if name.startswith("torchvision/")]:
        source, _, model = name.partition("/")
        if source != "torchvision" or name not in entries:
            parser.error(f"{name}: only entries that start with torchvision/ can be renewed")
        old = entries[name]
        entries[name] = entry(torchvision_model(model), old["input"], old["gain"])
        now, before = entries[name]["outputs"][0]["l2"], old["outputs"][0]["l2"]
        sys.stderr.write(f"{name}: l2 {before} -> {now}\n")
    options.file.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
