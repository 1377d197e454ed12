"""Names of weights that are older than the network, or wrapped."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.weights.names import fitted


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("features.denseblock1.denselayer1.norm.1.weight", "features.denseblock1.denselayer1.norm1.weight"),
        ("features.denseblock4.denselayer16.conv.2.weight", "features.denseblock4.denselayer16.conv2.weight"),
        (
            "features.denseblock1.denselayer2.norm.2.running_var",
            "features.denseblock1.denselayer2.norm2.running_var",
        ),
        ("encoder.layers.encoder_layer_0.mlp.linear_1.weight", "encoder.layers.encoder_layer_0.mlp.0.weight"),
        ("encoder.layers.encoder_layer_11.mlp.linear_2.bias", "encoder.layers.encoder_layer_11.mlp.3.bias"),
    ],
)
def test_names_that_torchvision_renames(old: str, new: str) -> None:
    assert fitted({old: 1}, [new]) == {new: 1}
    assert fitted({"module." + old: 1}, [new]) == {new: 1}
    assert fitted({old: 1}, [old]) == {old: 1}
    assert fitted({old: 1, new: 2}, [new]) == {old: 1, new: 2}
    assert fitted({old: 1}, ["other"]) == {old: 1}


def test_names_that_only_look_like_it() -> None:
    for name in ("denselayer1.norm.3.weight", "transition1.norm.1.weight", "mlp.linear_3.weight", "linear_1.weight"):
        assert fitted({name: 1}, ["x"]) == {name: 1}


def test_auxiliary_classifiers_are_dropped_where_a_network_has_none() -> None:
    state = {"conv.weight": 0, "aux1.fc1.weight": 1, "aux2.fc2.bias": 2, "AuxLogits.fc.weight": 3}
    assert fitted(state, ["conv.weight"]) == {"conv.weight": 0}
    assert fitted(state, list(state)) == state
    assert fitted({"aux1.odd": 1}, ["aux1.fc1.weight"]) == {"aux1.odd": 1}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_what_wrappers_put_before_every_name_goes(prefix: str) -> None:
    state = {f"{prefix}a": 1, f"{prefix}b.c": 2}
    assert fitted(state, ["a", "b.c"]) == {"a": 1, "b.c": 2}
    assert fitted(state | {"d": 3}, ["a", "b.c"]) == state | {"d": 3}
    assert fitted({}, ["a"]) == {}


class DenseLayer(nn.Module):
    """As far as names go."""

    def __init__(self) -> None:
        super().__init__()
        self.denselayer1 = nn.Sequential()
        self.denselayer1.norm1 = nn.BatchNorm2d(2)


def test_networks_take_old_names_and_tell_wrong_ones_as_they_are_in_the_file() -> None:
    net = DenseLayer()
    names = ("weight", "bias", "running_mean", "running_var")
    state = {f"denselayer1.norm.1.{name}": np.full(2, i) for i, name in enumerate(names)}
    net.load_state_dict(state)
    assert net.state_dict()["denselayer1.norm1.running_var"].tolist() == [3, 3]
    with pytest.raises(tg.UsageError, match=r"unexpected: denselayer1\.norm\.3\.weight$"):
        net.load_state_dict(state | {"denselayer1.norm.3.weight": np.ones(2)})
