"""Initializers: how a parameter's numbers are made, once somebody needs them.

An initializer is a frozen description; `initializer(rng, shape)` makes the numbers. With a
shape, a seed and a key (the parameter's name) it forms a Seeded recipe, which always makes
the same numbers, whatever else was made before it.

    weight = nn.Parameter((10, 84), init.TruncNormal(std=0.02))
    conv = nn.Conv2d(3, 8, 3, weight_init=init.KaimingNormal("out", init.gain("leaky_relu", 0.1)))
    init.initialize(net, {"*.bias": init.ZEROS, "conv*.weight": init.XavierUniform()}, seed=1)
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tinygraph.errors import BudgetError, UsageError
from tinygraph.ir import Array, TensorType

if TYPE_CHECKING:
    from tinygraph.nn.module import Module

INITIALIZERS: dict[str, type[Initializer]] = {}


class Initializer:
    """Base of all initializers; subclasses are frozen dataclasses, filed by name."""

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        INITIALIZERS[cls.name] = cls

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Numbers of that shape, in float32 or float64."""
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Initializer):
    """The same value everywhere."""

    value: float = 0.0
    name: ClassVar[str] = "constant"

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return np.full(shape, self.value)


@dataclass(frozen=True)
class Uniform(Initializer):
    """Uniform in [low, bound); low is -bound unless it is given."""

    bound: float
    low: float | None = None
    name: ClassVar[str] = "uniform"

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        if self.low is None:
            return _uniform(rng, shape, self.bound)
        return self.low + (self.bound - self.low) * rng.random(shape, np.float32)


@dataclass(frozen=True)
class Normal(Initializer):
    """Normal, by its standard deviation and mean."""

    std: float = 1.0
    mean: float = 0.0
    name: ClassVar[str] = "normal"

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return _normal(rng, shape, self.std) + np.float32(self.mean)


@dataclass(frozen=True)
class TruncNormal(Initializer):
    """Normal, given that the numbers lie from a to b; exactly so distributed, however narrow or far off that is.

    a and b are bounds of the numbers themselves, as PyTorch has them, and not multiples of std.
    """

    std: float = 1.0
    mean: float = 0.0
    a: float = -2.0
    b: float = 2.0
    name: ClassVar[str] = "trunc_normal"

    def __post_init__(self) -> None:
        if not (self.std > 0 and self.a < self.b):
            raise UsageError(f"TruncNormal wants std > 0 and a < b, got std={self.std}, a={self.a}, b={self.b}")

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        low, high = (self.a - self.mean) / self.std, (self.b - self.mean) / self.std
        made = self.mean + self.std * _truncated(rng, math.prod(shape), low, high)
        return np.clip(made, self.a, self.b).reshape(shape)  # rounding may have stepped over a bound


@dataclass(frozen=True)
class _Kaiming:
    """What both kinds of He et al. 2015 share.

    Attributes:
        fan: "in" keeps the variance of what flows forward, "out" that of gradients.
        gain: of the activation behind the layer; see `gain`.
    """

    fan: Literal["in", "out"] = "in"
    gain: float = math.sqrt(2)

    def __post_init__(self) -> None:
        if self.fan not in ("in", "out"):
            raise UsageError(f"fan={self.fan!r}: choose 'in' or 'out'")

    def count(self, shape: tuple[int, ...]) -> int:
        """The fan that is meant."""
        fan_in, fan_out = fans(shape)
        return fan_in if self.fan == "in" else fan_out


@dataclass(frozen=True)
class KaimingUniform(_Kaiming, Initializer):
    """Uniform with bound gain * sqrt(3 / fan) (He et al. 2015); PyTorch's layers start with gain sqrt(1/3)."""

    name: ClassVar[str] = "kaiming_uniform"

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return _uniform(rng, shape, self.gain * math.sqrt(3 / self.count(shape)))


@dataclass(frozen=True)
class KaimingNormal(_Kaiming, Initializer):
    """Normal with deviation gain / sqrt(fan) (He et al. 2015)."""

    name: ClassVar[str] = "kaiming_normal"

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return _normal(rng, shape, self.gain / math.sqrt(self.count(shape)))


@dataclass(frozen=True)
class XavierUniform(Initializer):
    """Uniform with bound gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""

    gain: float = 1.0
    name: ClassVar[str] = "xavier_uniform"

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return _uniform(rng, shape, self.gain * math.sqrt(6 / sum(fans(shape))))


@dataclass(frozen=True)
class XavierNormal(Initializer):
    """Normal with deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""

    gain: float = 1.0
    name: ClassVar[str] = "xavier_normal"

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return _normal(rng, shape, self.gain * math.sqrt(2 / sum(fans(shape))))


ZEROS = Constant(0.0)
ONES = Constant(1.0)

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}


def gain(nonlinearity: str, slope: float = 0.01) -> float:
    """What weights are multiplied by, so that the activation behind them keeps the variance.

    Args:
        nonlinearity: "linear", "sigmoid", "tanh", "relu", "leaky_relu" or "selu".
        slope: of a leaky ReLU.

    Raises:
        UsageError: another name.

    Source: He et al. 2015 for ReLU and, with sqrt(2 / (1 + slope^2)), for leaky ReLU; the others as PyTorch has them.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise UsageError(f"no gain is known for {nonlinearity!r}: choose {', '.join(_GAINS)} or leaky_relu")
    return _GAINS[nonlinearity]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs and outputs of one unit of a weight [out, in, *kernel].

    As in PyTorch, a transposed convolution's weight [in, out, *kernel] is read in the same way.

    Raises:
        UsageError: the shape has fewer than two axes.
    """
    if len(shape) < 2:
        raise UsageError(f"the shape {shape} has no inputs and outputs to count: give it Normal, Uniform or Constant")
    taps = math.prod(shape[2:])
    return max(1, shape[1] * taps), max(1, shape[0] * taps)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> Array:
    return (rng.random(shape, np.float32) * 2 - 1) * np.float32(bound)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], std: float) -> Array:
    return rng.standard_normal(shape, np.float32) * np.float32(std)


def _truncated(rng: np.random.Generator, size: int, low: float, high: float) -> Array:
    """Standard normal numbers, given that they lie from low to high.

    By rejection: what is drawn from a density that is simpler, and nowhere smaller, is kept with
    the ratio of the two as its probability, which is a quarter at least on the average.
    """
    if high <= 0:
        return -_truncated(rng, size, -high, -low)
    inside = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    propose = _from_normal if inside > 0.25 else _from_exponential
    made, missing = np.empty(size), np.arange(size)
    while missing.size:
        drawn, kept = propose(rng, missing.size, low, high)
        made[missing[kept]] = drawn[kept]
        missing = missing[~kept]
    return made


def _from_normal(rng: np.random.Generator, count: int, low: float, high: float) -> tuple[Array, Array]:
    """Normal numbers, and which of them to keep."""
    drawn = rng.standard_normal(count)
    return drawn, (low <= drawn) & (drawn <= high)


def _from_exponential(rng: np.random.Generator, count: int, low: float, high: float) -> tuple[Array, Array]:
    """Numbers of density exp(-low x) from low to high, or even if 0 lies between, and which of them to keep.

    Source: Robert 1995, Simulation of Truncated Normal Variables.
    """
    rate, uniform = max(low, 0.0), rng.random(count)
    width = high - low
    steps = -np.log1p(uniform * np.expm1(-rate * width)) / rate if rate else uniform * width
    drawn = low + steps
    return drawn, rng.random(count) < np.exp(-0.5 * (drawn - rate) ** 2)


def initialize(module: Module, rules: Mapping[str, Initializer], seed: int = 0) -> None:
    """Starts parameters anew, each by the first rule whose pattern its name matches.

    Args:
        module: the network. Parameters that no pattern matches stay as they are.
        rules: patterns as of file names, "*.weight" or "layer?.*.bias", and initializers.
        seed: with it, and with the name, a parameter always gets the same numbers.

    Raises:
        UsageError: a pattern matches no parameter.
    """
    parameters = dict(module.named_parameters())
    for pattern in rules:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            raise UsageError(f"no parameter is named {pattern!r}: named_parameters() of the module has the names")
    for name, parameter in parameters.items():
        found = next((init for pattern, init in rules.items() if fnmatchcase(name, pattern)), None)
        if found is not None:
            parameter.data = Seeded(parameter.type, found, seed, name)


_counter = itertools.count()


def _next_key() -> str:
    return f"#{next(_counter)}"


@dataclass(frozen=True)
class Seeded:
    """A recipe: type, initializer, seed and key. Equal ones make equal numbers.

    The default key counts the recipes made so far, so that two layers of one network never
    start alike; Module.reseed replaces it by the parameter's name.
    """

    type: TensorType
    init: Initializer
    seed: int = 0
    key: str = field(default_factory=_next_key)

    def array(self) -> Array:
        """The numbers, made at the first call and kept; read-only.

        Raises:
            UsageError: the initializer does not fit the shape.
            BudgetError: there is no room for them.
        """
        return self._made

    @cached_property
    def _made(self) -> Array:
        rng = np.random.Generator(
            np.random.Philox(key=[self.seed, zlib.crc32(self.key.encode(errors="surrogatepass"))])
        )
        try:
            made: np.ndarray[Any, Any] = np.asarray(self.init(rng, self.type.dims)).astype(self.type.dtype)
        except UsageError as error:
            raise UsageError(f"{self.key}: {error}") from None
        except (MemoryError, ValueError):  # NumPy's for sizes that no array can have
            raise BudgetError(f"there is no room for {self.type} of {self.type.nbytes:,} bytes ({self.key})") from None
        made.flags.writeable = False
        return made
