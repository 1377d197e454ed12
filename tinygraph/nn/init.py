"""Initializers: how a parameter's numbers are made, once somebody needs them.

An initializer is a frozen description; `initializer(rng, shape)` makes the numbers. With a
shape, a seed and a key (the parameter's name) it forms a Seeded recipe, which always makes
the same numbers, whatever else was made before it.
"""

from __future__ import annotations

import itertools
import math
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from tinygraph.errors import BudgetError
from tinygraph.ir import Array, TensorType

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
    """Uniform in [-bound, bound)."""

    bound: float
    name: ClassVar[str] = "uniform"

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return _uniform(rng, shape, self.bound)


@dataclass(frozen=True)
class Normal(Initializer):
    """Normal with mean 0."""

    std: float = 1.0
    name: ClassVar[str] = "normal"

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return _normal(rng, shape, self.std)


@dataclass(frozen=True)
class KaimingUniform(Initializer):
    """Uniform with bound gain * sqrt(3 / fan_in) (He et al. 2015); PyTorch's default is gain sqrt(1/3)."""

    gain: float = math.sqrt(2)
    name: ClassVar[str] = "kaiming_uniform"

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return _uniform(rng, shape, self.gain * math.sqrt(3 / fans(shape)[0]))


@dataclass(frozen=True)
class KaimingNormal(Initializer):
    """Normal with deviation gain / sqrt(fan) (He et al. 2015)."""

    fan: Literal["in", "out"] = "in"
    gain: float = math.sqrt(2)
    name: ClassVar[str] = "kaiming_normal"

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        fan_in, fan_out = fans(shape)
        return _normal(rng, shape, self.gain / math.sqrt(fan_in if self.fan == "in" else fan_out))


@dataclass(frozen=True)
class XavierUniform(Initializer):
    """Uniform with bound sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""

    name: ClassVar[str] = "xavier_uniform"

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return _uniform(rng, shape, math.sqrt(6 / sum(fans(shape))))


ZEROS = Constant(0.0)
ONES = Constant(1.0)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs and outputs of one unit of a weight [out, in, *kernel]."""
    taps = math.prod(shape[2:])
    return max(1, shape[1] * taps), max(1, shape[0] * taps)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> Array:
    return (rng.random(shape, np.float32) * 2 - 1) * np.float32(bound)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], std: float) -> Array:
    return rng.standard_normal(shape, np.float32) * np.float32(std)


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
        """The numbers, made at the first call and kept; read-only. BudgetError if there is no room for them."""
        return self._made

    @cached_property
    def _made(self) -> Array:
        rng = np.random.Generator(
            np.random.Philox(key=[self.seed, zlib.crc32(self.key.encode(errors="surrogatepass"))])
        )
        try:
            made: np.ndarray[Any, Any] = np.asarray(self.init(rng, self.type.dims)).astype(self.type.dtype)
        except (MemoryError, ValueError):  # NumPy's for sizes that no array can have
            raise BudgetError(f"there is no room for {self.type} of {self.type.nbytes:,} bytes ({self.key})") from None
        made.flags.writeable = False
        return made
