"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinygraph import ops
from tinygraph.errors import UsageError
from tinygraph.nn.init import ZEROS, Initializer
from tinygraph.ops.base import Tensor
from tinygraph.optim.optimizer import Optimizer, shared
from tinygraph.optim.schedules import Schedule


@dataclass(frozen=True)
class SGD(Optimizer):
    """p - lr * g; with momentum p - lr * b, where b = momentum * b + (1 - dampening) * g.

    The first update takes b = g, without dampening.

    Args:
        lr: learning rate or schedule.
        momentum: share of the last b that is kept.
        dampening: share of g that does not go into b.
        weight_decay: times p, is added to g.
        nesterov: moves by g + momentum * b instead of b.

    Raises:
        UsageError: a negative argument; nesterov without momentum, or with dampening.

    Source: torch.optim.SGD; Sutskever, Martens, Dahl and Hinton 2013.
    """

    lr: float | Schedule = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("momentum", "dampening")
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise UsageError(
                f"SGD: nesterov with momentum {self.momentum:g} and dampening {self.dampening:g}; "
                "it wants momentum above 0 and no dampening"
            )

    @property
    def slots(self) -> Mapping[str, Initializer]:
        """momentum_buffer, if there is momentum."""
        return {"momentum_buffer": ZEROS} if self.momentum else {}

    def scalars(self, lr: Tensor, weight_decay: Tensor | None, step: Tensor) -> dict[str, Tensor]:
        """lr, weight_decay, and the share of the gradient that goes into the buffer."""
        fresh = {"fresh": ops.where(ops.compare(step, 1, ">"), 1 - self.dampening, 1.0)} if self.dampening else {}
        return shared(lr, weight_decay) | fresh

    def move(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], scalars: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        lr = scalars["lr"]
        if not self.momentum:
            return p - g * lr, {}
        b = slots["momentum_buffer"] * self.momentum + (g * scalars["fresh"] if self.dampening else g)
        direction = g + b * self.momentum if self.nesterov else b
        return p - direction * lr, {"momentum_buffer": b}
