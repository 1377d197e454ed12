"""Initializers: what is drawn is distributed as it should be, from a seed and a name alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.ir import Array, TensorType
from tinygraph.nn import init
from tinygraph.nn.init import INITIALIZERS, Initializer, Seeded

SAMPLES = 40_000
DEVIATIONS = 5.0  # of an estimate from its expectation: one in 1.7 million, if all is well


def draw(how: Initializer, shape: tuple[int, ...] = (SAMPLES,), seed: int = 0, key: str = "w") -> Array:
    return Seeded(TensorType(shape, np.dtype(np.float64)), how, seed, key).array()


def check_moments(numbers: Array, mean: float, std: float, kurtosis: float) -> None:
    """Mean and deviation of the sample lie within the errors that its size leaves them."""
    n = numbers.size
    assert abs(numbers.mean() - mean) < DEVIATIONS * std / math.sqrt(n)
    assert abs(numbers.std() - std) < DEVIATIONS * std * math.sqrt((kurtosis - 1) / (4 * n))


def check_uniform(numbers: Array, low: float, high: float) -> None:
    check_moments(numbers, (low + high) / 2, (high - low) / math.sqrt(12), kurtosis=1.8)
    assert low <= numbers.min() < low + (high - low) * 20 / numbers.size
    assert high - (high - low) * 20 / numbers.size < numbers.max() <= high * (1 + 1e-7)


def check_normal(numbers: Array, mean: float, std: float) -> None:
    check_moments(numbers, mean, std, kurtosis=3)
    tail = np.abs(numbers - mean) > 2 * std
    check_moments(tail, 0.0455, math.sqrt(0.0455 * 0.9545), kurtosis=19)


# ---- uniform and normal ------------------------------------------------------------------------


def test_uniform() -> None:
    check_uniform(draw(init.Uniform(0.25)), -0.25, 0.25)
    check_uniform(draw(init.Uniform(3.0, low=1.0)), 1, 3)
    check_uniform(draw(init.Uniform(1.0, low=0.0)), 0, 1)


def test_normal() -> None:
    check_normal(draw(init.Normal(0.02)), 0, 0.02)
    check_normal(draw(init.Normal(2.0, mean=-3.0)), -3, 2)


def test_constants() -> None:
    assert (draw(init.ZEROS) == 0).all()
    assert (draw(init.ONES) == 1).all()
    assert (draw(init.Constant(-2.5)) == -2.5).all()


# ---- the truncated normal distribution ---------------------------------------------------------


def above(z: float) -> float:
    """How much of the normal distribution lies above z; exact far out."""
    return math.erfc(z / math.sqrt(2)) / 2


def share_below(x: Array, how: init.TruncNormal) -> Array:
    """The distribution function of a truncated normal distribution."""
    low, high = (how.a - how.mean) / how.std, (how.b - how.mean) / how.std
    sign = -1 if high <= 0 else 1  # to compute with the smaller tail
    near, far = (low, high) if sign > 0 else (-high, -low)
    inside = above(near) - above(far)
    z = sign * (x - how.mean) / how.std
    share = np.array([(above(near) - above(v)) / inside for v in z])
    return share if sign > 0 else 1 - share


@pytest.mark.parametrize(
    "how",
    [
        init.TruncNormal(),
        init.TruncNormal(std=0.02),
        init.TruncNormal(std=0.5, mean=1.0, a=0.0, b=1.25),
        init.TruncNormal(a=-0.1, b=0.3),
        init.TruncNormal(a=0.0, b=math.inf),
        init.TruncNormal(a=0.0, b=0.2),
        init.TruncNormal(a=1.0, b=1.5),
        init.TruncNormal(a=0.7, b=math.inf),
        init.TruncNormal(a=-math.inf, b=-3.0),
        init.TruncNormal(a=6.0, b=6.01),
        init.TruncNormal(a=30.0, b=31.0),
        init.TruncNormal(mean=-30.0),
    ],
    ids=repr,
)
def test_the_truncated_normal_distribution_is_exact(how: init.TruncNormal) -> None:
    x = np.sort(draw(how))
    assert how.a <= x[0]
    assert x[-1] <= how.b
    wanted = share_below(x, how)
    found = np.arange(SAMPLES + 1) / SAMPLES
    gap = max(np.abs(wanted - found[1:]).max(), np.abs(wanted - found[:-1]).max())
    assert gap < 2.6 / math.sqrt(SAMPLES)  # Kolmogorov and Smirnov: one in 400,000


@pytest.mark.parametrize(("mean", "std"), [(100.0, 1.0), (1e4, 0.1), (-1e4, 0.1)])
def test_far_out_the_truncated_distribution_is_exponential(mean: float, std: float) -> None:
    away = 2 - math.copysign(1, mean) * draw(init.TruncNormal(std, mean))
    expected = std**2 / (abs(mean) - 2)
    assert away.min() >= 0
    check_moments(away, expected, expected, kurtosis=9)


@pytest.mark.parametrize("wrong", [{"std": 0.0}, {"std": -1.0}, {"a": 2.0}, {"a": 3.0}, {"b": math.nan}])
def test_a_truncated_distribution_of_nothing_is_refused(wrong: Any) -> None:
    with pytest.raises(tg.UsageError, match="std > 0 and a < b"):
        init.TruncNormal(**wrong)


def test_a_truncated_distribution_fits_any_shape() -> None:
    assert draw(init.TruncNormal(), (3, 0, 2)).shape == (3, 0, 2)
    assert draw(init.TruncNormal(), ()).shape == ()
    assert draw(init.TruncNormal(), (7, 5)).std() > 0.5


# ---- scaled by the fans ------------------------------------------------------------------------

# A convolution [out, in, kernel, kernel], a linear layer [out, in], a transposed convolution that
# PyTorch reads as if it were a convolution, and one of groups [out, in / groups, kernel].
SHAPES = {(64, 16, 5, 5): (400, 1600), (120, 300): (300, 120), (32, 256, 3, 3): (2304, 288), (96, 4, 9): (36, 864)}


@pytest.mark.parametrize(("shape", "wanted"), SHAPES.items())
def test_fans(shape: tuple[int, ...], wanted: tuple[int, int]) -> None:
    assert init.fans(shape) == wanted


def test_fans_of_layers_are_those_that_torch_counts() -> None:
    assert init.fans(nn.ConvTranspose2d(32, 256, 3).weight.shape) == (2304, 288)
    assert init.fans(nn.Conv1d(16, 96, 9, groups=4).weight.shape) == (36, 864)
    assert init.fans(nn.Linear(300, 120).weight.shape) == (300, 120)


@pytest.mark.parametrize("shape", SHAPES)
def test_kaiming_and_xavier(shape: tuple[int, ...]) -> None:
    fan_in, fan_out = SHAPES[shape]
    for fan, count in (("in", fan_in), ("out", fan_out)):
        for gain in (init.gain("relu"), init.gain("tanh"), init.gain("leaky_relu", math.sqrt(5))):
            std = gain / math.sqrt(count)
            check_normal(draw(init.KaimingNormal(fan, gain), shape), 0, std)
            check_uniform(draw(init.KaimingUniform(fan, gain), shape), -std * math.sqrt(3), std * math.sqrt(3))
    for gain in (1.0, 2.5):
        std = gain * math.sqrt(2 / (fan_in + fan_out))
        check_normal(draw(init.XavierNormal(gain), shape), 0, std)
        check_uniform(draw(init.XavierUniform(gain), shape), -std * math.sqrt(3), std * math.sqrt(3))


def test_layers_start_as_those_of_torch() -> None:
    layer = nn.Linear(400, 100)
    check_uniform(layer.weight.array(), -0.05, 0.05)
    assert np.abs(layer.bias.array()).max() <= 0.05
    assert np.abs(layer.bias.array()).max() > 0.04


def test_kaiming_keeps_the_variance_through_relus() -> None:
    x = np.random.default_rng(0).standard_normal((200, 512))
    for layer in range(6):
        x = np.maximum(x, 0) @ draw(init.KaimingNormal(), (512, 512), key=f"layer{layer}").T
    assert 0.5 < x.var() < 2


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("linear", 1), ("sigmoid", 1), ("tanh", 5 / 3), ("relu", 1.4142135623730951), ("selu", 0.75)],
)
def test_gains_are_torchs(name: str, wanted: float) -> None:
    assert init.gain(name) == wanted


def test_the_gain_of_a_leaky_relu_depends_on_its_slope() -> None:
    assert init.gain("leaky_relu") == math.sqrt(2 / 1.0001)
    assert init.gain("leaky_relu", 0) == init.gain("relu")
    assert init.gain("leaky_relu", 1) == 1
    assert init.gain("leaky_relu", math.sqrt(5)) == pytest.approx(1 / math.sqrt(3), rel=1e-15)


def test_what_has_no_gain_or_fan_is_refused() -> None:
    with pytest.raises(tg.UsageError, match="'swish': choose linear, sigmoid, tanh, relu, selu or leaky_relu"):
        init.gain("swish")
    for kind in (init.KaimingNormal, init.KaimingUniform):
        with pytest.raises(tg.UsageError, match="fan='fan_in': choose 'in' or 'out'"):
            kind("fan_in")
    with pytest.raises(tg.UsageError, match=r"^bn\.weight: the shape \(64,\) has no inputs and outputs"):
        draw(init.KaimingNormal(), (64,), key="bn.weight")


# ---- seeds -------------------------------------------------------------------------------------

EVERY = [kind(**({"bound": 1.0} if name == "uniform" else {})) for name, kind in INITIALIZERS.items()]
RANDOM = [how for how in EVERY if not isinstance(how, init.Constant)]


def test_initializers_have_torchs_names() -> None:
    kaiming, xavier = {"kaiming_uniform", "kaiming_normal"}, {"xavier_uniform", "xavier_normal"}
    assert set(INITIALIZERS) == {"constant", "uniform", "normal", "trunc_normal"} | kaiming | xavier


@pytest.mark.parametrize("how", RANDOM, ids=repr)
def test_numbers_depend_on_the_seed_and_the_name_alone(how: Initializer) -> None:
    shape = (16, 9, 2)
    first = draw(how, shape, 1, "a")
    draw(how, shape, 5, "c")
    assert draw(how, shape, 1, "a").tobytes() == first.tobytes()
    for seed, key in ((2, "a"), (1, "b")):
        assert not (draw(how, shape, seed, key) == first).any()


@pytest.mark.parametrize("how", EVERY, ids=repr)
def test_float32_parameters(how: Initializer) -> None:
    wide = draw(how, (8, 9))
    narrow = nn.Parameter((8, 9), how)
    narrow.data = Seeded(narrow.type, how, 0, "w")
    assert narrow.array().dtype == np.float32
    np.testing.assert_array_equal(narrow.array(), wide.astype(np.float32))


# ---- networks ----------------------------------------------------------------------------------


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def test_initialize_goes_by_the_first_pattern() -> None:
    net, before = network(), network().state_dict()
    init.initialize(net, {"0.*": init.Constant(0.5), "*.bias": init.ZEROS, "4.weight": init.TruncNormal(0.02)}, seed=3)
    after = net.state_dict()
    assert (after["0.weight"] == 0.5).all()
    assert (after["0.bias"] == 0.5).all()
    assert (after["1.bias"] == 0).all()
    assert (after["4.bias"] == 0).all()
    assert 0.01 < after["4.weight"].std() < 0.03
    np.testing.assert_array_equal(after["1.weight"], before["1.weight"])
    np.testing.assert_array_equal(after["1.running_var"], before["1.running_var"])


def test_initialize_is_reproducible() -> None:
    nets = [network() for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        init.initialize(net, {"[04].weight": init.KaimingNormal()}, seed)
    first, same, other = (net.state_dict()["4.weight"] for net in nets)
    np.testing.assert_array_equal(first, same)
    assert not (first == other).any()


def test_initialize_replaces_trained_numbers_and_the_network_shows_it() -> None:
    net = network()
    x = np.ones((1, 1, 4, 4), np.float32)
    assert np.asarray(net(x)).any()
    net.load_state_dict(net.state_dict())
    init.initialize(net, {"4.*": init.ZEROS})
    assert not np.asarray(net(x)).any()


def test_a_pattern_that_nothing_matches_is_refused() -> None:
    net = network()
    before = net.state_dict()
    with pytest.raises(tg.UsageError, match=r"no parameter is named '\*\.wieght'"):
        init.initialize(net, {"*.bias": init.ONES, "*.wieght": init.ONES})
    np.testing.assert_array_equal(net.state_dict()["4.bias"], before["4.bias"])
