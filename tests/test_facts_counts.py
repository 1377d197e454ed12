"""Counts that lectures and papers state about networks built of these layers."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.nn import functional as F


def price(net: nn.Module, *shape: int) -> tuple[int, int]:
    """Parameters and multiply-adds of a network for one input."""
    totals = tg.analyze(tg.trace(net, tg.Spec(shape))).totals
    return totals.params, totals.macs


def weights(net: nn.Module) -> int:
    """Elements of all parameters but the biases."""
    return sum(p.type.size for name, p in net.named_parameters() if not name.endswith("bias"))


class Inception(nn.Module):
    """An inception module of GoogLeNet: four branches side by side."""

    def __init__(self, inputs: int, one: int, to3: int, three: int, to5: int, five: int, pooled: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(inputs, one, 1)
        self.three = nn.Sequential(nn.Conv2d(inputs, to3, 1), nn.Conv2d(to3, three, 3, padding=1))
        self.five = nn.Sequential(nn.Conv2d(inputs, to5, 1), nn.Conv2d(to5, five, 5, padding=2))
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(inputs, pooled, 1))

    def forward(self, x):
        return F.concat([self.one(x), self.three(x), self.five(x), self.pool(x)], axis=1)


# Table 1 of the paper: 1x1; 3x3 and its reduction; 5x5 and its reduction; behind the pool. None is a pool.
MODULES = [
    (192, 64, 96, 128, 16, 32, 32),
    (256, 128, 128, 192, 32, 96, 64),
    None,
    (480, 192, 96, 208, 16, 48, 64),
    (512, 160, 112, 224, 24, 64, 64),
    (512, 128, 128, 256, 24, 64, 64),
    (512, 112, 144, 288, 32, 64, 64),
    (528, 256, 160, 320, 32, 128, 128),
    None,
    (832, 256, 160, 320, 32, 128, 128),
    (832, 384, 192, 384, 48, 128, 128),
]


def halving() -> nn.Module:
    """GoogLeNet's pools round up."""
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def test_an_inception_module_concatenates_its_branches_to_256_channels() -> None:
    graph = tg.trace(Inception(192, 64, 96, 128, 16, 32, 32), tg.Spec((1, 192, 28, 28)))
    assert [v.type.dims[1] for v in graph.nodes[-1].inputs] == [64, 128, 32, 32]
    assert graph.outputs[0][1].type.shape == (1, 256, 28, 28)


def test_nine_inception_modules_make_a_network_22_layers_deep() -> None:
    stem = [nn.Conv2d(3, 64, 7, 2, 3), halving(), nn.Conv2d(64, 64, 1), nn.Conv2d(64, 192, 3, padding=1), halving()]
    body = [halving() if row is None else Inception(*row) for row in MODULES]
    head = [nn.AvgPool2d(7), nn.Flatten(), nn.Linear(1024, 1000)]
    net = nn.Sequential(*stem, *body, *head)
    assert sum(isinstance(module, Inception) for _, module in net.named_modules()) == 9
    assert price(net, 1, 3, 224, 224) == (6_998_552, 1_582_671_872)
    depth: dict[tg.Value, int] = {}
    for node in tg.trace(net, tg.Spec((1, 3, 224, 224))).nodes:
        deepest = max(depth.get(v, 0) for v in node.inputs)
        depth[node.outputs[0]] = deepest + (node.op.name in ("conv", "linear"))
    assert max(depth.values()) == 22


class Residual(nn.Module):
    """Twenty 3x3 convolutions of 64 maps; the input is added to the output."""

    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, 64, 3, padding=1, bias=bias), nn.ReLU()]
        for _ in range(18):
            layers += [nn.Conv2d(64, 64, 3, padding=1, bias=bias), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.last = nn.Conv2d(64, 1, 3, padding=1, bias=bias)

    def forward(self, x):
        return x + self.last(self.body(x))


def test_super_resolution_networks_of_3_and_20_layers() -> None:
    small = nn.Sequential(nn.Conv2d(1, 64, 9), nn.ReLU(), nn.Conv2d(64, 32, 1), nn.ReLU(), nn.Conv2d(32, 1, 5))
    large = nn.Sequential(nn.Conv2d(1, 64, 9), nn.ReLU(), nn.Conv2d(64, 32, 5), nn.ReLU(), nn.Conv2d(32, 1, 5))
    assert (weights(small), price(small, 1, 1, 33, 33)[0]) == (8_032, 8_129)
    assert (weights(large), price(large, 1, 1, 33, 33)[0]) == (57_184, 57_281)
    assert price(Residual(), 1, 1, 720, 1280) == (664_704, 612_591_206_400)
    assert price(Residual(bias=True), 1, 1, 33, 33)[0] == 664_704 + 1_217
    graph = tg.trace(Residual(), tg.Spec((1, 1, 33, 33)))
    assert [sum(node.op.name == op for node in graph.nodes) for op in ("conv", "max_pool", "add")] == [20, 0, 1]


def test_a_residual_network_whose_last_layer_is_zero_returns_its_input() -> None:
    net = Residual()
    state = dict(net.state_dict())
    state["last.weight"] = np.zeros_like(state["last.weight"])
    net.load_state_dict(state)
    x = np.random.default_rng(0).standard_normal((1, 1, 9, 11)).astype(np.float32)
    np.testing.assert_array_equal(net(x), x)


class CaffeNet(nn.Module):
    """The convolutions of Caffe's Fast R-CNN on AlexNet: padded so that the map covers the image."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 96, 11, stride=4, padding=5),
            nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
            nn.Conv2d(96, 256, 5, padding=2, groups=2),
            nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
            nn.Conv2d(256, 384, 3, padding=1),
            nn.Conv2d(384, 384, 3, padding=1, groups=2),
            nn.Conv2d(384, 256, 3, padding=1, groups=2),
        )

    def forward(self, x):
        return self.layers(x)


class Head(nn.Module):
    """What runs on each region's 6x6 map: two dense layers, 21 scores and 4 x 21 box offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(256 * 6 * 6, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 5 * 21)
        )

    def forward(self, x):
        return self.layers(x)


def test_2000_crops_cost_12_times_2000_regions_of_one_shared_map() -> None:
    _, crop = price(tg.models.create("alexnet_2012", num_classes=21), 1, 3, 227, 227)
    assert 2000 * crop == 1_440_793_664_000
    shared_map = price(CaffeNet(), 1, 3, 600, 1000)[1]
    region = price(Head(), 1, 256 * 6 * 6)[1]
    assert shared_map + region == 9_272_180_608
    assert (2000 * crop / 1e9, (shared_map + 2000 * region) / 1e9) == pytest.approx((1440.8, 119.1), abs=0.05)
    assert 2000 * crop / (shared_map + 2000 * region) == pytest.approx(12.1, abs=0.05)


@pytest.mark.parametrize(("boxes", "outputs"), [(2, 1_470), (5, 2_205)])
def test_a_grid_of_7x7_cells_predicts_5_numbers_a_box_and_20_classes(boxes: int, outputs: int) -> None:
    graph = tg.trace(nn.Linear(4096, 7 * 7 * (5 * boxes + 20)), tg.Spec((1, 4096)))
    assert graph.outputs[0][1].type.size == outputs


def test_nine_anchors_at_each_place_of_a_vgg16_map() -> None:
    features = tg.models.create("vgg16").features
    body = nn.Sequential(*list(features)[:-1])  # without the last pool: stride 16
    scores = nn.Sequential(body, nn.Conv2d(512, 512, 3, padding=1), nn.ReLU(), nn.Conv2d(512, 2 * 9, 1))
    boxes = nn.Sequential(body, nn.Conv2d(512, 512, 3, padding=1), nn.ReLU(), nn.Conv2d(512, 4 * 9, 1))
    image = tg.Spec((1, 3, 600, 1000))
    _, channels, height, width = tg.trace(scores, image).outputs[0][1].type.dims
    # Caffe's pools round up: 600 -> 300 -> 150 -> 75 -> 38, where the floor gives 37 and 62.
    assert (channels, height, width) == (18, 37, 62)
    assert tg.trace(boxes, image).outputs[0][1].type.shape[1] == 36
    ceiled = [nn.MaxPool2d(2, 2, ceil_mode=True) if isinstance(layer, nn.MaxPool2d) else layer for layer in body]
    _, _, height, width = tg.trace(nn.Sequential(*ceiled), image).outputs[0][1].type.dims
    assert (height, width, height * width * 9) == (38, 63, 21_546)


def test_a_strided_convolution_in_place_of_a_pool_adds_parameters() -> None:
    def net(*downsample: nn.Module) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 96, 3, padding=1),
            nn.Conv2d(96, 96, 3, padding=1),
            downsample[0],
            nn.Conv2d(96, 192, 3, padding=1),
            nn.Conv2d(192, 192, 3, padding=1),
            downsample[1],
            nn.Conv2d(192, 192, 3),
            nn.Conv2d(192, 192, 1),
            nn.Conv2d(192, 10, 1),
        )

    pooled = net(nn.MaxPool2d(3, 2), nn.MaxPool2d(3, 2))
    strided = net(nn.Conv2d(96, 96, 3, stride=2, padding=1), nn.Conv2d(192, 192, 3, stride=2, padding=1))
    assert price(pooled, 1, 3, 32, 32)[0] == 954_730
    assert price(strided, 1, 3, 32, 32)[0] == 1_369_738
    assert price(pooled, 1, 3, 32, 32)[1] < price(strided, 1, 3, 32, 32)[1]


def test_a_convolution_shares_its_weights_where_a_dense_layer_cannot() -> None:
    conv = nn.Conv2d(3, 6, 5)
    assert tg.trace(conv, tg.Spec((1, 3, 32, 32))).outputs[0][1].type.shape == (1, 6, 28, 28)
    assert price(conv, 1, 3, 32, 32)[0] == 456
    assert weights(nn.Linear(3 * 32 * 32, 6 * 28 * 28)) == 14_450_688
