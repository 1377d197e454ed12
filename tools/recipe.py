"""How `tinygraph train` trains: what its options say, made into an optimizer and an augmentation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

import click

from tinygraph import optim
from tinygraph.data import augment
from tinygraph.data.augment import Augment
from tinygraph.errors import UsageError
from tinygraph.ir import Graph
from tinygraph.optim import Optimizer, Schedule, cosine, multi_step, warm_up
from tinygraph.tools.options import F

SCHEDULES = ("constant", "cosine", "step")
_AUGMENTATION = re.compile(r"(flip)|(shift|crop)=([1-9]\d{0,3})")


@dataclass(frozen=True)
class Rule:
    """An optimizer of the command line.

    Attributes:
        name: of the class in tinygraph.optim.
        lr: learning rate where none is given.
        momentum: where none is given; None if the optimizer has no such thing.
    """

    name: str
    lr: float
    momentum: float | None = None


OPTIMIZERS = {
    "sgd": Rule("SGD", 0.05, 0.9),
    "adam": Rule("Adam", 1e-3),
    "adamw": Rule("AdamW", 3e-3),
    "adagrad": Rule("AdaGrad", 1e-2),
    "adadelta": Rule("AdaDelta", 1.0),
    "rmsprop": Rule("RMSprop", 1e-3, 0.0),
}


_COUNT = click.IntRange(min=1)
_SIZE = click.FloatRange(min=0)
_SHARE = click.FloatRange(0, 1, max_open=True)
_RATES = ", ".join(f"{name} {rule.lr:g}" for name, rule in OPTIMIZERS.items())

_OPTIONS = (
    click.option("--epochs", type=_COUNT, default=30, show_default=True, help="Times through the images."),
    click.option("-b", "--batch-size", type=_COUNT, default=64, show_default=True, help="Images an update."),
    click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), default="adamw", show_default=True),
    click.option("--lr", type=_SIZE, help=f"Highest learning rate [{_RATES}]."),
    click.option("--momentum", type=_SIZE, help="Of sgd [0.9] and rmsprop [0]."),
    click.option("--weight-decay", type=_SIZE, help="Of weights; biases and BatchNorm have none [0; adamw 0.01]."),
    click.option(
        "--schedule",
        type=click.Choice(SCHEDULES),
        default="cosine",
        show_default=True,
        help="How the rate falls; step: to a tenth after 1/2, and again after 3/4 of the epochs.",
    ),
    click.option("--warmup", type=click.IntRange(min=0), help="Epochs in which the rate rises [1, if there are more]."),
    click.option(
        "--label-smoothing",
        type=_SHARE,
        default=0.1,
        show_default=True,
        help="Share of a label that is spread over all classes.",
    ),
    click.option(
        "--clip-norm", type=click.FloatRange(min=0, min_open=True), help="Gradients are scaled down to this norm."
    ),
    click.option("--augment", metavar="LIST", help="Of flip, shift=PIXELS, crop=PIXELS; or none [digits: crop=1]."),
    click.option("--held-out", type=_SHARE, default=0.2, show_default=True, help="Share of each class to judge by."),
    click.option(
        "--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Of weights, order, held-out images [0]."
    ),
    click.option("--freeze", multiple=True, metavar="PATTERN", help="Parameters to leave alone: 'layer1.*'."),
    click.option("--no-decay", multiple=True, metavar="PATTERN", help="More parameters without weight decay."),
)


def recipe_options(command: F) -> F:
    """The options that are fields of a Recipe."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class Recipe:
    """What decides, with network and images, how a training goes; see the options of the command.

    Attributes:
        lr, momentum, weight_decay: None for the optimizer's default.
        warmup: epochs in which the rate rises.
        augment: names with commas between: flip, shift=PIXELS, crop=PIXELS; or none.
        freeze, no_decay: patterns of parameter names.
    """

    epochs: int
    batch_size: int
    optimizer: str
    lr: float | None
    momentum: float | None
    weight_decay: float | None
    schedule: str
    warmup: int
    label_smoothing: float
    clip_norm: float | None
    augment: str
    held_out: float
    seed: int
    freeze: tuple[str, ...]
    no_decay: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises UsageError for options that do not go together."""
        if self.momentum is not None and OPTIMIZERS[self.optimizer].momentum is None:
            able = ", ".join(name for name, rule in OPTIMIZERS.items() if rule.momentum is not None)
            raise UsageError(f"--momentum: {self.optimizer} has none; {able} have")
        if self.warmup >= self.epochs and self.warmup:
            raise UsageError(f"--warmup {self.warmup} leaves nothing of {self.epochs} epochs")
        self.augmentation()

    def make_optimizer(self, updates: int) -> Optimizer:
        """The optimizer with its schedule.

        Args:
            updates: in one epoch.
        """
        rule = OPTIMIZERS[self.optimizer]
        given: dict[str, Any] = {"lr": self.make_schedule(updates)}
        if self.weight_decay is not None:
            given["weight_decay"] = self.weight_decay
        if rule.momentum is not None:
            given["momentum"] = rule.momentum if self.momentum is None else self.momentum
        made: Optimizer = getattr(optim, rule.name)(**given)
        return made

    def make_schedule(self, updates: int) -> float | Schedule:
        """The learning rate for the number of updates so far, of which an epoch has so many."""
        lr = OPTIMIZERS[self.optimizer].lr if self.lr is None else self.lr
        first = self.warmup * updates
        rest = self.epochs * updates - first
        schedule: float | Schedule = lr
        if self.schedule == "cosine":
            schedule = cosine(lr, rest)
        elif self.schedule == "step":
            # a short run may reach both milestones at once
            schedule = multi_step(lr, sorted({max(1, rest // 2), max(1, rest * 3 // 4)}))
        return warm_up(schedule, first) if first else schedule

    def augmentation(self) -> Augment | None:
        """What is done to the images of a batch; None for nothing.

        Raises:
            UsageError: there is no such augmentation.
        """
        made = []
        for text in self.augment.split(",") if self.augment != "none" else ():
            found = _AUGMENTATION.fullmatch(text.strip())
            if found is None:
                raise UsageError(f"--augment {text!r}: write flip, shift=2 or crop=4, with commas between; or none")
            if found[1]:
                made.append(augment.flip())
            else:
                made.append({"shift": augment.shift, "crop": augment.crop}[found[2]](int(found[3])))
        return augment.compose(*made) if made else None

    def refuse_far_moves(self, size: Sequence[int]) -> None:
        """Raises UsageError if the augmentation may move an image of this size out of sight."""
        for _, name, pixels in _AUGMENTATION.findall(self.augment):
            if name and int(pixels) >= min(size):
                raise UsageError(f"--augment {name}={pixels}: give less than the {min(size)} pixels of the images")

    def spared(self, graph: Graph) -> tuple[str, ...]:
        """Biases, and what scales a channel: parameters that have no weight decay, which is for weights."""
        vectors = [value.name for value in graph.data if value.kind == "param" and value.type.ndim < 2]
        return tuple(name for name in vectors if not any(fnmatchcase(name, pattern) for pattern in self.freeze))

    def changes(self, other: Recipe) -> list[str]:
        """The options in which another recipe differs, as they are written on the command line."""
        return [
            f"--{field.name.replace('_', '-')}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]
