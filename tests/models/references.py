"""Which built-in network is which reference implementation, and what the references say."""

from __future__ import annotations

import csv
import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "data"

TORCHVISION = (
    *("alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "vgg16_bn", "vgg19_bn"),
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
)

# reference: built-in network
BUILT_IN = {f"torchvision/{name}": name for name in TORCHVISION}
BUILT_IN |= {f"akamaster/resnet{depth}": f"resnet{depth}_cifar" for depth in (20, 32, 44, 56, 110, 1202)}


@cache
def rows() -> dict[str, dict[str, str]]:
    """networks.csv: input, parameters and MACs of every network, by its name in tinygraph."""
    with (DATA / "networks.csv").open(newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


@cache
def state_dicts() -> dict[str, list[tuple[str, tuple[int, ...]]]]:
    """(name, shape) of everything in the state_dict of each reference."""
    with gzip.open(DATA / "state_dicts.json.gz") as file:
        return {name: [(key, tuple(shape)) for key, shape in state] for name, state in json.load(file).items()}


@cache
def goldens() -> dict[str, dict[str, Any]]:
    """Input size, gain of the weights and facts about the answer of each reference."""
    entries: dict[str, dict[str, Any]] = json.loads((DATA / "goldens.json").read_text())["synthetic"]
    return entries
