"""Adam and AdamW: steps by moving averages of the gradient and of its square."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tinygraph import ops
from tinygraph.errors import UsageError
from tinygraph.nn.init import ZEROS, Initializer
from tinygraph.ops.base import Tensor
from tinygraph.optim.checks import check_number
from tinygraph.optim.optimizer import Optimizer, mixed
from tinygraph.optim.schedules import Schedule


@dataclass(frozen=True)
class Adam(Optimizer):
    """p - lr * m' / (sqrt(v') + eps), where m' = m / (1 - beta1 ** t) and v' = v / (1 - beta2 ** t) at update t.

    m = beta1 * m + (1 - beta1) * g and v = beta2 * v + (1 - beta2) * g * g start at 0, which
    the divisors make up for.

    Args:
        lr: learning rate or schedule.
        betas: beta1 and beta2.
        eps: keeps the divisor from 0.
        weight_decay: times p, is added to g.
        amsgrad: in the place of v, takes the largest v so far.

    Raises:
        UsageError: a negative argument, or a beta outside [0, 1).

    Source: torch.optim.Adam; Kingma and Ba 2014, arXiv:1412.6980; AMSGrad: Reddi, Kale and Kumar 2018.
    """

    lr: float | Schedule = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("eps")
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            raise UsageError(f"{type(self).__name__}: betas is {self.betas!r}; give two numbers")
        for beta in self.betas:
            check_number(type(self).__name__, "a beta", beta, below=1)

    @property
    def slots(self) -> Mapping[str, Initializer]:
        """exp_avg (m), exp_avg_sq (v); with amsgrad max_exp_avg_sq."""
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
        return dict.fromkeys(names if self.amsgrad else names[:2], ZEROS)

    def scalars(self, lr: Tensor, weight_decay: Tensor | None, step: Tensor) -> dict[str, Tensor]:
        """The corrected rate and eps, so that m and v themselves need no division."""
        rest1, rest2 = (1 - _power(beta, step) for beta in self.betas)
        root = ops.sqrt(rest2)
        decay = {} if weight_decay is None else self.decay_scalar(lr, weight_decay)
        return {"rate": lr * root / rest1, "eps": self.eps * root} | decay

    def decay_scalar(self, lr: Tensor, weight_decay: Tensor) -> dict[str, Tensor]:
        """What `decayed` needs."""
        return {"weight_decay": weight_decay}

    def move(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], scalars: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        beta1, beta2 = self.betas
        m = mixed(slots["exp_avg"], g, beta1)
        v = mixed(slots["exp_avg_sq"], g * g, beta2)
        new = {"exp_avg": m, "exp_avg_sq": v}
        if self.amsgrad:
            v = new["max_exp_avg_sq"] = ops.maximum(slots["max_exp_avg_sq"], v)
        return p - m * scalars["rate"] / (ops.sqrt(v) + scalars["eps"]), new


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: p shrinks by the factor 1 - lr * weight_decay, and g stays as it is.

    Args:
        lr, betas, eps, amsgrad: see Adam.
        weight_decay: times lr, the share of p that goes.

    Source: torch.optim.AdamW; Loshchilov and Hutter 2017, arXiv:1711.05101.
    """

    weight_decay: float = 1e-2

    def decay_scalar(self, lr: Tensor, weight_decay: Tensor) -> dict[str, Tensor]:
        """What `decayed` needs."""
        return {"keep": 1 - lr * weight_decay}

    def decayed(self, p: Tensor, g: Tensor, scalars: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The smaller parameter, and the gradient."""
        return p * scalars["keep"], g


def _power(base: float, exponent: Tensor) -> Tensor:
    """base ** exponent for 0 <= base < 1 and exponent > 0."""
    return ops.exp(exponent * math.log(base)) if base else 0.0
