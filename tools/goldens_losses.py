"""Makes tests/data/losses.json: what PyTorch's losses, and their first and second gradients, are.

    python -m tinygraph.tools.goldens_losses

Needs torch beside tinygraph: pip install torch==2.13.0. All of it is computed in float64. An
entry has the arguments of one call and the results; nothing but tests/test_losses.py reads it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

LABELS = np.array([2, 0, 3])
PIXELS = np.array([[1, 0, -100], [2, 2, 1]])
WEIGHT = np.array([0.5, 2.0, 1.25, 0.0])


def weights_of(array: Array) -> Array:
    """Different numbers of that shape, which a result is multiplied by before it is summed: 1, 1.5, 2, ..."""
    return np.asarray(1 + 0.5 * np.arange(array.size).reshape(array.shape))


def cases() -> Iterator[tuple[str, str, Any, Any, dict[str, Any]]]:
    """Name, function, its first two arguments, and its options."""
    rng = np.random.default_rng(0)
    logits, maps = rng.standard_normal((3, 4)).round(3), rng.standard_normal((2, 3, 3)).round(3)
    p = rng.dirichlet(np.ones(4), 3).round(3)
    spatial = rng.dirichlet(np.ones(3), (2, 3)).transpose(0, 2, 1).round(3)
    some, none = np.array([2, -100, 1]), np.full(3, -100)
    huge = np.array([[1e30, -1e30, 0.0, 3.0], [-750.0, 0.0, 750.0, 1.0], [2.0, 2.0, 2.0, 2.0]])

    for reduction in ("mean", "sum", "none"):
        options = {"reduction": reduction}
        yield f"labels, {reduction}", "cross_entropy", logits, LABELS, options
        yield f"pixels, some ignored, {reduction}", "cross_entropy", maps, PIXELS, options
        full = {**options, "weight": WEIGHT, "label_smoothing": 0.1}
        yield f"weighted and smoothed, some ignored, {reduction}", "cross_entropy", logits, some, full
        yield f"weighted and smoothed probabilities, {reduction}", "cross_entropy", logits, p, full
        full = {**options, "weight": WEIGHT[:3], "label_smoothing": 0.3}
        yield f"weighted and smoothed pixels, {reduction}", "cross_entropy", maps, PIXELS, full
        yield f"probabilities of pixels, {reduction}", "cross_entropy", maps, spatial, full
    single: dict[str, dict[str, Any]] = {
        "weighted": {"weight": WEIGHT},
        "smoothed": {"label_smoothing": 0.1},
        "smoothed wholly": {"label_smoothing": 1.0},
    }
    for name, option in single.items():
        yield name, "cross_entropy", logits, LABELS, option
        yield f"{name} probabilities", "cross_entropy", logits, p, option
        yield f"{name}, some ignored", "cross_entropy", logits, some, option
    yield "another ignored", "cross_entropy", logits, LABELS, {"ignore_index": 2, "label_smoothing": 0.2}
    yield "probabilities that do not sum to 1", "cross_entropy", logits, 2 * p, {}
    yield "all ignored, sum", "cross_entropy", logits, none, {"reduction": "sum", "label_smoothing": 0.1}
    yield "all ignored, one by one", "cross_entropy", logits, none, {"reduction": "none", "weight": WEIGHT}
    for label in range(4):
        yield f"huge logits, label {label}", "cross_entropy", huge, np.full(3, label), {"reduction": "none"}
    yield "huge logits, smoothed", "cross_entropy", huge, LABELS, {"label_smoothing": 0.1}
    yield "huge logits, probabilities", "cross_entropy", huge, p, {}

    x, target = rng.standard_normal((2, 5)).round(3), rng.standard_normal((2, 5)).round(3)
    target[0, 0] = x[0, 0]
    far = np.array([[0.0, -0.0, 1e30, -1e30, 0.3], [-0.7, 5.0, -5.0, 1e-30, 300.0]])
    for reduction in ("mean", "sum", "none"):
        options = {"reduction": reduction}
        for function in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
            yield reduction, function, x, target, options
        share = rng.random((2, 5)).round(3)
        yield reduction, "binary_cross_entropy_with_logits", x, share, options
        full = {**options, "weight": np.array([[0.5], [2.0]]), "pos_weight": np.array([1.0, 3.0, 0.0, 0.5, 2.0])}
        yield f"weighted, {reduction}", "binary_cross_entropy_with_logits", x, share, full
    for function, name in (("smooth_l1_loss", "beta"), ("huber_loss", "delta")):
        for width in (0.25, 2.0):
            yield f"{name} {width}", function, x, target, {name: width}
        yield "far", function, far, np.zeros((2, 5)), {"reduction": "none"}
    yield "beta 0", "smooth_l1_loss", x, target, {"beta": 0.0}
    yield "far", "l1_loss", far, np.zeros((2, 5)), {}
    far_logits = np.array([[0.0, 0.0, 30.0, -30.0, 1e30, -1e30], [0.0, 700.0, 700.0, -700.0, -1e30, 1e30]])
    hard = np.array([[0.0, 1.0, 1.0, 0.0, 1.0, 0.0], [0.5, 0.0, 0.25, 1.0, 1.0, 0.0]])
    yield "huge logits", "binary_cross_entropy_with_logits", far_logits, hard, {"reduction": "none"}


def results(function: str, x: Any, target: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The value v; the gradients of sum(w v) by x and by a floating target; that of sum(w' gradient) by x.

    w and w' are `weights_of` what they multiply.
    """
    import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph

    given = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    x, target = torch.tensor(x, requires_grad=True), torch.tensor(target)
    sources = [x]
    if target.is_floating_point():
        sources.append(target.requires_grad_())
    value = getattr(torch.nn.functional, function)(x, target, **given)
    total = (value * torch.from_numpy(weights_of(value.detach().numpy()))).sum()
    gradients = torch.autograd.grad(total, sources, create_graph=True)
    slope = (gradients[0] * torch.from_numpy(weights_of(x.detach().numpy()))).sum()
    # A linear function's slope has no slope of its own to torch.
    second = torch.autograd.grad(slope, x, allow_unused=True)[0] if slope.requires_grad else None
    second = torch.zeros_like(x) + (0 if second is None else second)
    return {"value": value.tolist(), "gradients": [g.tolist() for g in gradients], "second": second.tolist()}


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--file", type=Path, default=Path("tests/data/losses.json"))
    entries = []
    for name, function, x, target, options in cases():
        plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in options.items()}
        call = {"name": name, "function": function, "x": x.tolist(), "target": target.tolist(), "options": plain}
        entries.append(json.dumps({**call, **results(function, x, target, options)}))
    parser.parse_args().file.write_text("[\n" + ",\n".join(entries) + "\n]\n")


if __name__ == "__main__":
    main()
