"""Parameters and MACs of the built-in networks, against published and independently made ones."""

from __future__ import annotations

import ast
import math
import re

import pytest

import tinygraph as tg
from tests.models.references import rows

# Published by torchvision with its weights; the table of networks does not have them.
PUBLISHED = {"vgg11_bn": (132_868_840, 7_609_090_048), "vgg13_bn": (133_053_736, 11_308_466_176)}

# Counted by hand: 16 filters of 9 taps at 36 places, 32 of 144 at 16, 10 scores of 512 numbers.
BY_HAND = {"digits_cnn": (144 + 32 + 4_608 + 64 + 5_130, 144 * 36 + 4_608 * 16 + 5_120)}


def parse(model: str) -> tuple[str, dict[str, object]]:
    """`net(a=1)` as ("net", {"a": 1})."""
    call = ast.parse(model, mode="eval").body
    if isinstance(call, ast.Name):
        return call.id, {}
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    return call.func.id, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}


TABLED = [model for model in rows() if parse(model)[0] in tg.models.names()]


@pytest.mark.parametrize("model", TABLED)
def test_params_and_macs_of_the_table(model: str) -> None:
    name, arguments = parse(model)
    specs = tg.models.inputs(name, **arguments)
    row = rows()[model]
    wanted = re.match(r"[\dx]+", row["input"])
    assert wanted
    assert specs[0].shape == (1, *map(int, wanted[0].split("x")[: len(specs[0].shape) - 1]))
    totals = tg.analyze(tg.trace(tg.models.create(name, **arguments), *specs)).totals
    assert (totals.params, totals.macs) == (int(row["params"]), int(row["macs"]))


@pytest.mark.parametrize(("name", "wanted"), [*PUBLISHED.items(), *BY_HAND.items()])
def test_params_and_macs_of_the_others(name: str, wanted: tuple[int, int]) -> None:
    totals = tg.analyze(tg.trace(tg.models.create(name), *tg.models.inputs(name))).totals
    assert (totals.params, totals.macs) == wanted


def test_every_network_is_counted() -> None:
    assert set(tg.models.names()) == {parse(model)[0] for model in TABLED} | {*PUBLISHED, *BY_HAND}


def test_no_row_of_a_built_in_family_is_forgotten() -> None:
    families = ("linear_classifier", "mlp", "cnn_39x31", "lenet", "alexnet", "vgg", "resnet")
    wanted = {model for model in rows() if model.startswith(families)}
    assert len(wanted) >= 32
    assert wanted <= set(TABLED)


@pytest.mark.parametrize("name", ["alexnet_2012", "lenet5", "resnet50", "resnet20_cifar", "vgg16"])
def test_each_layer_has_a_weight_per_input_of_a_unit_and_a_mac_per_weight_and_place(name: str) -> None:
    """K filters of C x R x S numbers (and a bias) on P x Q places: K (C R S + 1) params, K C R S P Q MACs."""
    graph = tg.trace(tg.models.create(name), *tg.models.inputs(name))
    report = {row.name: row for row in tg.analyze(graph).rows}
    layers = [node for node in graph.nodes if node.op.name in ("conv", "linear")]
    for node in layers:
        units, *window = node.inputs[1].type.dims
        places = math.prod(node.outputs[0].type.dims[2:])
        has_bias = len(node.inputs) == 3
        row = report[node.name]
        assert row.params == units * (math.prod(window) + has_bias)
        assert row.macs == math.prod(window) * units * places
    assert sum(report[node.name].macs for node in layers) == tg.analyze(graph).totals.macs


@pytest.mark.parametrize("batch", [2, 7])
def test_macs_grow_with_the_batch_and_params_do_not(batch: int) -> None:
    net = tg.models.create("resnet18")
    one = tg.analyze(tg.trace(net, tg.Spec((1, 3, 64, 64)))).totals
    many = tg.analyze(tg.trace(net, tg.Spec((batch, 3, 64, 64)))).totals
    assert many.macs == batch * one.macs
    assert many.params == one.params


def test_a_network_of_1202_layers_is_traced_without_recursion_and_without_numbers() -> None:
    graph = tg.trace(tg.models.create("resnet1202_cifar"), *tg.models.inputs("resnet1202_cifar"))
    assert sum(node.op.name == "conv" for node in graph.nodes) == 1201
    assert not any(hasattr(data, "flags") for data in graph.data.values())
