"""The contract of an optimizer: what it keeps for each parameter, and how a gradient moves it.

An optimizer is a frozen description that holds no arrays. What it computes are ordinary ops,
so that one step of training is one graph, and the same code runs on arrays.
"""

from __future__ import annotations

from collections.abc import Mapping

from tinygraph import ops
from tinygraph.nn.init import Initializer
from tinygraph.ops.base import Tensor, type_of
from tinygraph.optim.checks import check_number
from tinygraph.optim.schedules import Schedule


class Optimizer:
    """Base of all optimizers; subclasses are frozen dataclasses and define `scalars` and `move`.

    Attributes:
        lr: the learning rate, or the schedule that gives it for the number of updates so far.
        weight_decay: how strongly parameters are drawn to 0.
    """

    lr: float | Schedule
    weight_decay: float

    def __post_init__(self) -> None:
        """Raises UsageError for an argument out of its range."""
        if not callable(self.lr):
            self.check("lr")
        self.check("weight_decay")

    def check(self, *names: str, below: float = float("inf")) -> None:
        """Raises UsageError unless the arguments of these names are numbers in [0, below)."""
        for name in names:
            check_number(type(self).__name__, name, getattr(self, name), below=below)

    def rate(self, updates: int) -> float:
        """The learning rate after that many updates.

        Raises:
            UsageError: the schedule gives something else than a number of at least 0.
        """
        if not callable(self.lr):
            return float(self.lr)
        rate = self.lr(updates)
        check_number(type(self).__name__, f"the learning rate of update {updates + 1}", rate)
        return float(rate)

    @property
    def slots(self) -> Mapping[str, Initializer]:
        """Arrays kept for each parameter, of its shape and dtype: name -> how they start."""
        return {}

    def scalars(self, lr: Tensor, weight_decay: Tensor | None, step: Tensor) -> dict[str, Tensor]:
        """What all parameters share in one update; made once, in float64.

        Args:
            lr: learning rate, float64 [].
            weight_decay: float64 []; None if the optimizer has none.
            step: number of this update, from 1; float64 [].

        Returns:
            Scalars by the names that `update` knows, float64 [].
        """
        raise NotImplementedError

    def update(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], scalars: Mapping[str, Tensor], decay: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Moves one parameter.

        Args:
            p: the parameter, floating, of any shape.
            g: its gradient, of p's shape and dtype.
            slots: what `slots` names, of p's shape and dtype.
            scalars: what `scalars` made; used in p's dtype.
            decay: False for a parameter without weight decay.

        Returns:
            The new parameter and the new slots.
        """
        own = {name: ops.cast(scalar, type_of(p).dtype) for name, scalar in scalars.items()}
        if decay and self.weight_decay:
            p, g = self.decayed(p, g, own)
        return self.move(p, g, slots, own)

    def decayed(self, p: Tensor, g: Tensor, scalars: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Parameter and gradient with weight decay: here g + weight_decay * p, the gradient of an L2 penalty."""
        return p, g + p * scalars["weight_decay"]

    def move(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], scalars: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The formula proper: see `update`; weight decay is done, scalars are of p's dtype."""
        raise NotImplementedError


def shared(lr: Tensor, weight_decay: Tensor | None) -> dict[str, Tensor]:
    """The scalars that optimizers have whose learning rate and weight decay need no correction."""
    return {"lr": lr} if weight_decay is None else {"lr": lr, "weight_decay": weight_decay}


def mixed(old: Tensor, new: Tensor, keep: float) -> Tensor:
    """An exponential moving average: keep * old + (1 - keep) * new."""
    return old * keep + new * (1 - keep)
