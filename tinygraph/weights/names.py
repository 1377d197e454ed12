"""Names in weight files that are older than the network's, or wrapped."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

T = TypeVar("T")

# What DataParallel and torch.compile put before every name.
_PREFIXES = ("module.", "_orig_mod.")
# Old names, and what torchvision makes of them when it loads its own files.
_RENAMED = (
    (re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)"), r"\1\2"),  # DenseNet
    (re.compile(r"(.*mlp)\.linear_1\.(weight|bias)"), r"\1.0.\2"),  # MLPs of transformers
    (re.compile(r"(.*mlp)\.linear_2\.(weight|bias)"), r"\1.3.\2"),
)
# The auxiliary classifiers of GoogLeNet and Inception v3, which torchvision drops from networks without them.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")


def fitted(state: Mapping[str, T], own: Collection[str]) -> dict[str, T]:
    """The arrays under the names that a network has.

    Args:
        state: arrays by name, out of a file.
        own: the network's names. One that is among them is never changed.
    """
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    found = {key: value for key, value in state.items() if key in own}
    absent = tuple(prefix for prefix in _AUXILIARY if not any(name.startswith(prefix) for name in own))
    for key, value in state.items():
        if key not in own:
            name = _renamed(key)
            if name in own and name not in found:
                found[name] = value
            elif not key.startswith(absent):
                found[key] = value
    return found


def _renamed(key: str) -> str:
    for pattern, name in _RENAMED:
        if match := pattern.fullmatch(key):
            return match.expand(name)
    return key
