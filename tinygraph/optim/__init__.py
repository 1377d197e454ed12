"""Optimizers as graph updates, learning-rate schedules, and clipping of gradients.

Names, defaults, formulas and the names of what is kept for each parameter are torch.optim's.
"""

from tinygraph.optim.adam import Adam, AdamW
from tinygraph.optim.adaptive import AdaDelta, Adadelta, AdaGrad, Adagrad, RMSprop
from tinygraph.optim.clipping import clip_norm, clip_value
from tinygraph.optim.optimizer import Optimizer
from tinygraph.optim.schedules import (
    Schedule,
    constant,
    cosine,
    exponential,
    multi_step,
    polynomial,
    step_decay,
    warm_up,
)
from tinygraph.optim.sgd import SGD

__all__ = [
    "AdaDelta",
    "AdaGrad",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "SGD",
    "Schedule",
    "clip_norm",
    "clip_value",
    "constant",
    "cosine",
    "exponential",
    "multi_step",
    "polynomial",
    "step_decay",
    "warm_up",
]
