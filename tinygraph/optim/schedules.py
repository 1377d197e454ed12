"""Learning rates that change as training goes on.

A schedule is a function of the number of updates made so far: schedule(0) is the rate of the
first update. An optimizer takes one in the place of a number.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

from tinygraph.errors import UsageError
from tinygraph.optim.checks import check_count, check_number, check_positive

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """The same rate always. UsageError if it is negative."""
    check_number("constant", "lr", lr)
    return lambda updates: float(lr)


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr * factor ** (t // every): falls by the factor after each `every` updates.

    Raises:
        UsageError: lr or factor is negative, or `every` is no whole number above 0.

    Source: torch.optim.lr_scheduler.StepLR.
    """
    check_number("step_decay", "lr", lr)
    check_count("step_decay", "every", every)
    check_number("step_decay", "factor", factor)
    return lambda updates: lr * factor ** (updates // every)


def multi_step(lr: float, milestones: Sequence[int], factor: float = 0.1) -> Schedule:
    """lr * factor ** k, where k is how many of the milestones t has reached.

    Raises:
        UsageError: lr or factor is negative, or the milestones are not rising whole numbers above 0.

    Source: torch.optim.lr_scheduler.MultiStepLR.
    """
    check_number("multi_step", "lr", lr)
    check_number("multi_step", "factor", factor)
    for milestone in milestones:
        check_count("multi_step", "a milestone", milestone)
    if sorted(set(milestones)) != list(milestones):
        raise UsageError(f"multi_step: the milestones {list(milestones)} do not rise; sort them, each once")
    return lambda updates: lr * factor ** bisect_right(milestones, updates)


def exponential(lr: float, factor: float) -> Schedule:
    """lr * factor ** t.

    Raises:
        UsageError: lr or factor is negative.

    Source: torch.optim.lr_scheduler.ExponentialLR.
    """
    check_number("exponential", "lr", lr)
    check_number("exponential", "factor", factor)
    return lambda updates: lr * factor**updates


def polynomial(lr: float, steps: int, power: float = 1.0) -> Schedule:
    """lr * (1 - t / steps) ** power, and 0 from update `steps` on. A straight line if the power is 1.

    Raises:
        UsageError: lr is negative, the power not above 0, or `steps` no whole number above 0.

    Source: torch.optim.lr_scheduler.PolynomialLR.
    """
    check_number("polynomial", "lr", lr)
    check_count("polynomial", "steps", steps)
    check_positive("polynomial", "power", power)
    return lambda updates: lr * (1 - min(updates, steps) / steps) ** power


def cosine(lr: float, steps: int, floor: float = 0.0) -> Schedule:
    """floor + (lr - floor) * (1 + cos(pi * t / steps)) / 2, and the floor from update `steps` on.

    Raises:
        UsageError: lr or floor is negative, or `steps` is no whole number above 0.

    Source: torch.optim.lr_scheduler.CosineAnnealingLR; Loshchilov and Hutter 2016, arXiv:1608.03983.
    """
    check_number("cosine", "lr", lr)
    check_count("cosine", "steps", steps)
    check_number("cosine", "floor", floor)
    return lambda updates: floor + (lr - floor) * (1 + math.cos(math.pi * min(updates, steps) / steps)) / 2


def warm_up(lr: float | Schedule, steps: int) -> Schedule:
    """Rises in a straight line to the first rate of another schedule, which then begins.

    Update t has the rate lr(0) * (t + 1) / (steps + 1) for t < steps, and lr(t - steps) from then on.

    Args:
        lr: a rate that stays, or the schedule to follow.
        steps: updates below the first rate of it.

    Raises:
        UsageError: lr is negative, or `steps` is no whole number above 0.

    Source: Goyal et al. 2017, arXiv:1706.02677.
    """
    check_count("warm_up", "steps", steps)
    rest = lr if callable(lr) else constant(lr)

    def rate(updates: int) -> float:
        return rest(0) * (updates + 1) / (steps + 1) if updates < steps else rest(updates - steps)

    return rate
