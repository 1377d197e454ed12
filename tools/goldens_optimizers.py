"""Makes tests/data/training_optimizers.json anew: what torch's optimizers do.

    python -m tinygraph.tools.goldens_optimizers

Needs torch beside tinygraph (pip install torch==2.13.0). Everything is float64. Nothing in
tinygraph imports this file; the tests read the arguments and the start from what it writes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

# Where the path begins, and the weights of the squares of "m".
START = {"w": [-1.2, 1.0, 0.5, -0.3, 1.5], "m": [[0.4, -2.0, 0.0], [1.0, 3.0, -0.5]]}
CURVATURE = [[1.0, 0.1, 2.0], [0.5, 0.01, 3.0]]
STEPS = 25
KEPT = (1, 2, 10, 25)  # the updates whose parameters are stored

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"lr": 0.01, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.005, "momentum": 0.9}),
    ("SGD", {"lr": 0.005, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.003, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.3, "betas": [0.9, 0.7], "amsgrad": True}),
    ("Adam", {"lr": 0.05, "betas": [0.0, 0.0]}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "betas": [0.8, 0.95], "weight_decay": 0.2}),
    ("AdamW", {"lr": 0.3, "betas": [0.9, 0.7], "weight_decay": 0.0, "amsgrad": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.2, "lr_decay": 0.1, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.2, "initial_accumulator_value": 0.5, "eps": 1e-3}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.7, "eps": 1e-2, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.005, "alpha": 0.9, "momentum": 0.8}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "centered": True, "eps": 1e-3}),
    ("RMSprop", {"lr": 0.002, "alpha": 0.9, "momentum": 0.8, "centered": True, "weight_decay": 0.1, "eps": 1e-2}),
]

SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 4, "gamma": 0.3}),
    ("MultiStepLR", {"milestones": [2, 3, 9], "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {"total_iters": 8, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 14, "eta_min": 0.05}),
]


def objective(w: Any, m: Any) -> Any:
    """Rosenbrock's valley in w, and a bowl in m: sum 10 (w' - w²)² + (1 - w)², plus half the sum of c m²."""
    import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    valley = 10 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2
    return valley.sum() + (torch.tensor(CURVATURE, dtype=m.dtype) * m**2).sum() / 2


def path(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Parameters along the way of one of torch's optimizers, and what it keeps at the end."""
    import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    params = {key: torch.tensor(start, dtype=torch.float64, requires_grad=True) for key, start in START.items()}
    optimizer = getattr(torch.optim, name)(params.values(), **arguments)
    kept = {}
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        objective(**params).backward()
        optimizer.step()
        if step in KEPT:
            kept[step] = {key: p.tolist() for key, p in params.items()}
    state = {
        key: {slot: a.tolist() for slot, a in optimizer.state[p].items() if slot != "step"} for key, p in params.items()
    }
    return {"optimizer": name, "arguments": arguments, "params": kept, "state": state}


def rates(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The first learning rates of one of torch's schedules that starts at 0.5."""
    import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    schedule = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)
    found = []
    for _ in range(15):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return {"schedule": name, "arguments": arguments, "rates": found}


def clipped(most: float) -> dict[str, Any]:
    """The start, taken for gradients and clipped to a norm."""
    import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    params = {key: torch.zeros_like(torch.tensor(start, dtype=torch.float64)) for key, start in START.items()}
    for key, p in params.items():
        p.grad = torch.tensor(START[key], dtype=torch.float64)
    norm = torch.nn.utils.clip_grad_norm_(params.values(), most)
    return {"most": most, "norm": norm.item(), "grads": {key: p.grad.tolist() for key, p in params.items()}}


def main() -> None:
    """Writes the file anew."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("tests/data"))
    options = parser.parse_args()
    document = {
        "start": START,
        "curvature": CURVATURE,
        "optimizers": [path(*row) for row in OPTIMIZERS],
        "schedules": [rates(*row) for row in SCHEDULES],
        "clipped": [clipped(most) for most in (1.0, 4.0, 100.0)],
    }
    (options.folder / "training_optimizers.json").write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
