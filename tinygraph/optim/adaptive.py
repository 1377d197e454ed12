"""Optimizers that divide the gradient by the root of its squares so far: AdaGrad, AdaDelta, RMSprop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinygraph import ops
from tinygraph.nn.init import ZEROS, Constant, Initializer
from tinygraph.ops.base import Tensor
from tinygraph.optim.optimizer import Optimizer, mixed, shared
from tinygraph.optim.schedules import Schedule


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """p - rate * g / (sqrt(s) + eps), where s = s + g * g and rate = lr / (1 + (t - 1) * lr_decay) at update t.

    Args:
        lr: learning rate or schedule.
        lr_decay: how fast the rate falls.
        weight_decay: times p, is added to g.
        initial_accumulator_value: what s starts at.
        eps: keeps the divisor from 0.

    Raises:
        UsageError: a negative argument.

    Source: torch.optim.Adagrad; Duchi, Hazan and Singer 2011.
    """

    lr: float | Schedule = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("lr_decay", "initial_accumulator_value", "eps")

    @property
    def slots(self) -> Mapping[str, Initializer]:
        """sum (s)."""
        return {"sum": Constant(self.initial_accumulator_value)}

    def scalars(self, lr: Tensor, weight_decay: Tensor | None, step: Tensor) -> dict[str, Tensor]:
        """The rate, and weight_decay."""
        return shared(lr / (1 + (step - 1) * self.lr_decay) if self.lr_decay else lr, weight_decay)

    def move(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], scalars: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        s = slots["sum"] + g * g
        return p - g * scalars["lr"] / (ops.sqrt(s) + self.eps), {"sum": s}


@dataclass(frozen=True)
class AdaDelta(Optimizer):
    """p - lr * d, where d = sqrt(u + eps) / sqrt(s + eps) * g: steps in the unit of the parameter.

    s = rho * s + (1 - rho) * g * g, then u = rho * u + (1 - rho) * d * d.

    Args:
        lr: learning rate or schedule.
        rho: share of s and u that is kept.
        eps: keeps the divisor from 0, and lets the first steps begin.
        weight_decay: times p, is added to g.

    Raises:
        UsageError: a negative argument, or rho not below 1.

    Source: torch.optim.Adadelta; Zeiler 2012, arXiv:1212.5701.
    """

    lr: float | Schedule = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("rho", below=1)
        self.check("eps")

    @property
    def slots(self) -> Mapping[str, Initializer]:
        """square_avg (s), acc_delta (u)."""
        return {"square_avg": ZEROS, "acc_delta": ZEROS}

    def scalars(self, lr: Tensor, weight_decay: Tensor | None, step: Tensor) -> dict[str, Tensor]:
        """lr and weight_decay."""
        return shared(lr, weight_decay)

    def move(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], scalars: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        u = slots["acc_delta"]
        s = mixed(slots["square_avg"], g * g, self.rho)
        d = ops.sqrt((u + self.eps) / (s + self.eps)) * g
        return p - d * scalars["lr"], {"square_avg": s, "acc_delta": mixed(u, d * d, self.rho)}


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """p - lr * d, where d = g / (sqrt(s) + eps) and s = alpha * s + (1 - alpha) * g * g.

    Args:
        lr: learning rate or schedule.
        alpha: share of s that is kept.
        eps: keeps the divisor from 0.
        weight_decay: times p, is added to g.
        momentum: if above 0, moves by b = momentum * b + d instead of d.
        centered: takes s - a * a, the variance, in the place of s; a = alpha * a + (1 - alpha) * g.

    Raises:
        UsageError: a negative argument, or alpha not below 1.

    Source: torch.optim.RMSprop; Tieleman and Hinton 2012; centered: Graves 2013, arXiv:1308.0850.
    """

    lr: float | Schedule = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("alpha", below=1)
        self.check("eps", "momentum")

    @property
    def slots(self) -> Mapping[str, Initializer]:
        """square_avg (s); with momentum momentum_buffer (b); if centered grad_avg (a)."""
        names = ["square_avg"] + ["momentum_buffer"] * bool(self.momentum) + ["grad_avg"] * self.centered
        return dict.fromkeys(names, ZEROS)

    def scalars(self, lr: Tensor, weight_decay: Tensor | None, step: Tensor) -> dict[str, Tensor]:
        """lr and weight_decay."""
        return shared(lr, weight_decay)

    def move(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], scalars: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        s = mixed(slots["square_avg"], g * g, self.alpha)
        new = {"square_avg": s}
        if self.centered:
            a = new["grad_avg"] = mixed(slots["grad_avg"], g, self.alpha)
            s = ops.maximum(s - a * a, 0)  # where g hardly changes, rounding would take it below 0
        d = g / (ops.sqrt(s) + self.eps)
        if self.momentum:
            d = new["momentum_buffer"] = slots["momentum_buffer"] * self.momentum + d
        return p - d * scalars["lr"], new


Adagrad = AdaGrad
Adadelta = AdaDelta
