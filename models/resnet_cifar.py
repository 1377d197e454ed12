"""Residual networks for CIFAR-10 (He et al. 2015, section 4.2, arXiv:1512.03385).

6n + 2 layers: one convolution, three stages of n blocks of two, one linear layer. Shortcuts
have no parameters (option A). Names of modules, and so of weights, are those of
https://github.com/akamaster/pytorch_resnet_cifar10.
"""

from __future__ import annotations

from typing import Any

from tinygraph import nn
from tinygraph.nn import functional as F
from tinygraph.nn.init import KaimingNormal


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False, weight_init=KaimingNormal())


class Shortcut(nn.Module):
    """Every second row and column, and channels of zeros on both sides to make up the number.

    Args:
        extra: channels that are missing.
    """

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: Any) -> Any:
        """[N, C, H, W] -> [N, C + extra, H / 2, W / 2]."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2))


class BasicBlock(nn.Module):
    """relu(shortcut(x) + f(x)), f being two 3 x 3 convolutions.

    Args:
        inputs: channels of x.
        planes: channels of the convolutions.
        stride: of the first of them, 1 or 2.
    """

    def __init__(self, inputs: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = Shortcut(planes - inputs) if stride == 2 else nn.Identity()

    def forward(self, x: Any) -> Any:
        """[N, inputs, H, W] -> [N, planes, H / stride, W / stride]."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class CifarResNet(nn.Module):
    """Stages of 16, 32 and 64 channels on 32, 16 and 8 rows and columns.

    Args:
        blocks: in each stage.
        num_classes: scores.
    """

    def __init__(self, blocks: int, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = _conv3x3(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(64, num_classes, weight_init=KaimingNormal())

    def forward(self, x: Any) -> Any:
        """Scores [N, num_classes] of images x [N, 3, 32, 32], or of any other size."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.flatten(self.avgpool(x)))


def _stage(inputs: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    rest = [BasicBlock(planes, planes) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(inputs, planes, stride), *rest)


def resnet20_cifar(num_classes: int = 10) -> CifarResNet:
    """20 layers."""
    return CifarResNet(3, num_classes)


def resnet32_cifar(num_classes: int = 10) -> CifarResNet:
    """32 layers."""
    return CifarResNet(5, num_classes)


def resnet44_cifar(num_classes: int = 10) -> CifarResNet:
    """44 layers."""
    return CifarResNet(7, num_classes)


def resnet56_cifar(num_classes: int = 10) -> CifarResNet:
    """56 layers."""
    return CifarResNet(9, num_classes)


def resnet110_cifar(num_classes: int = 10) -> CifarResNet:
    """110 layers."""
    return CifarResNet(18, num_classes)


def resnet1202_cifar(num_classes: int = 10) -> CifarResNet:
    """1202 layers."""
    return CifarResNet(200, num_classes)
