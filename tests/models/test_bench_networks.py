"""The networks of examples/bench_networks.py: published counts, shapes, and what makes them what they are."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from examples.bench_networks import VDSR, UNet, unet, vdsr
from tests.models.references import rows
from tinygraph.ir import Array, Graph


def traced(net: tg.nn.Module, *shape: int) -> Graph:
    return tg.trace(net, tg.Spec(shape))


def test_vdsr_has_the_published_counts() -> None:
    totals = tg.analyze(traced(vdsr(), 1, 1, 720, 1280)).totals
    row = rows()["vdsr"]
    assert (totals.params, totals.macs) == (int(row["params"]), int(row["macs"]))


def test_unet_has_the_published_parameters_and_an_answer_for_each_pixel() -> None:
    """Padding changes no parameter. MACs by hand, a line a level: pairs of 3 x 3 down, up, and 2 x 2 on the way up."""
    graph = traced(unet(), 1, 1, 256, 256)
    assert graph.outputs[0][1].type.shape == (1, 2, 256, 256)
    totals = tg.analyze(graph).totals
    assert totals.params == int(rows()["unet"]["params"])
    places = 256 * 256
    level = [9 * 64 * (1 + 64) * places, *(9 * n * (n // 2 + n) * places // (n // 64) ** 2 for n in (128, 256, 512))]
    bottom = 9 * 1024 * (512 + 1024) * places // 256
    rise = [9 * n * 3 * n * places // (n // 64) ** 2 for n in (512, 256, 128, 64)]
    widened = [4 * n * 2 * n * places // (2 * n // 64) ** 2 for n in (512, 256, 128, 64)]
    assert totals.macs == sum(level) + bottom + sum(rise) + sum(widened) + 64 * 2 * places


def image(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_vdsr_without_its_last_convolution_is_the_identity() -> None:
    net = VDSR(depth=4, maps=4)
    x = image(2, 1, 9, 7)
    assert np.abs(net(x) - x).max() > 0.01
    state = net.state_dict()
    last = list(state)[-1]
    net.load_state_dict({**state, last: np.zeros_like(state[last])})
    np.testing.assert_array_equal(net(x), x)


@pytest.mark.parametrize("level", range(4))
def test_every_level_of_unet_goes_on_beside_the_levels_below(level: int) -> None:
    """The first half of what a merge reads is the map of its own level, the second what comes from below."""
    net = UNet(maps=2)
    x = image(1, 1, 32, 32)
    whole = net(x)
    state = net.state_dict()
    name = f"merge.{3 - level}.0.weight"
    half = state[name].shape[1] // 2
    for part in (slice(half), slice(half, None)):
        weight = state[name].copy()
        weight[:, part] = 0
        net.load_state_dict({**state, name: weight})
        assert np.abs(net(x) - whole).max() > 1e-4 * np.abs(whole).max()
