"""Makes tests/data/weights anew: small files as PyTorch writes them, and the numbers that are in them.

    python -m tinygraph.tools.goldens_weights

Needs torch beside tinygraph: pip install torch==2.13.0. Nothing in tinygraph imports this file.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def objects() -> dict[str, Any]:
    """What is saved, by the name of its file."""
    import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    row = torch.arange(24, dtype=torch.float32)
    dtypes = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    tied = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    return {
        "dtypes.pth": {name: torch.tensor([[-0.0, 1, 2.5], [3, 100, 7]]).to(getattr(torch, name)) for name in dtypes}
        | {"bool": torch.tensor([True, False]), "scalar": torch.tensor(3), "empty": torch.zeros(0, 2)},
        "views.pth": {
            "transposed": row.reshape(4, 6).t(),
            "every_third": row[1::3],
            "inner": row.reshape(2, 3, 4)[:, 1:, ::2],
            "expanded": row[5:6].expand(3),
            "channels_last": row.reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
            "narrow": row[20:],
        },
        "tied.pt": {"embedding.weight": tied, "head.weight": tied, "head.bias": torch.nn.Parameter(torch.ones(2))},
        "network.pth": network.state_dict(),
        "checkpoint.pth.tar": {
            "epoch": 3,
            "best": 0.5,
            "names": ["a", ("b", None, True)],
            "state_dict": torch.nn.DataParallel(network).state_dict(),
            "optimizer": torch.optim.SGD(network.parameters(), 0.1, momentum=0.9).state_dict(),
        },
    }


def main() -> None:
    """Writes the files and what is in them."""
    import torch  # type: ignore[import-not-found,unused-ignore]

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("tests/data/weights"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {}
    for name, saved in objects().items():
        torch.save(saved, folder / name)
        facts[name] = {key: _facts(tensor) for key, tensor in saved.get("state_dict", saved).items()}
    torch.save({"x": torch.arange(3.0)}, folder / "protocol4.pth", pickle_protocol=4)
    facts["protocol4.pth"] = {"x": _facts(torch.arange(3.0))}
    torch.save({"x": torch.arange(3.0)}, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(1, 1), folder / "module.pth")
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), folder / "script.pt")
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
    sys.stderr.write(f"wrote {len(list(folder.iterdir()))} files to {folder}\n")


def _facts(tensor: Any) -> dict[str, Any]:
    """Dtype, shape and numbers."""
    return {
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "values": tensor.detach().flatten().tolist(),
    }


if __name__ == "__main__":
    main()
