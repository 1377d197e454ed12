"""Residual networks for ImageNet (He, Zhang, Ren and Sun 2015, arXiv:1512.03385).

Names of modules, and so of weights, are torchvision's.
"""

from __future__ import annotations

from typing import Any, ClassVar

from tinygraph import nn
from tinygraph.nn import functional as F
from tinygraph.nn.init import KaimingNormal


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the size, or divides it by the stride."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False, weight_init=KaimingNormal("out"))


def conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 1 x 1 convolution."""
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False, weight_init=KaimingNormal("out"))


class BasicBlock(nn.Module):
    """relu(x + f(x)), f being two 3 x 3 convolutions; x is projected where shapes differ.

    Args:
        inputs: channels of x.
        planes: channels of the convolutions.
        stride: of the first of them.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _projection(inputs, planes, stride)

    def forward(self, x: Any) -> Any:
        """[N, inputs, H, W] -> [N, planes, H / stride, W / stride]."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        skip = self.downsample(x) if self.downsample else x
        return F.relu(out + skip)


class Bottleneck(nn.Module):
    """relu(x + f(x)), f being a 1 x 1, a 3 x 3 and a 1 x 1 convolution.

    The stride is in the 3 x 3 convolution (torchvision's choice, "v1.5").

    Args:
        inputs: channels of x.
        planes: channels of the first two convolutions; the third has four times as many.
        stride: of the block.
    """

    expansion: ClassVar[int] = 4
    stride_comes_first: ClassVar[bool] = False

    def __init__(self, inputs: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        first, second = (stride, 1) if self.stride_comes_first else (1, stride)
        outputs = planes * self.expansion
        self.conv1 = conv1x1(inputs, planes, first)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes, second)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = conv1x1(planes, outputs)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _projection(inputs, outputs, stride)

    def forward(self, x: Any) -> Any:
        """[N, inputs, H, W] -> [N, 4 planes, H / stride, W / stride]."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        skip = self.downsample(x) if self.downsample else x
        return F.relu(out + skip)


class PaperBottleneck(Bottleneck):
    """A Bottleneck with the stride in the first convolution, as in the paper: fewer MACs."""

    stride_comes_first: ClassVar[bool] = True


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """What brings x to the shape of f(x); None where it has that shape (option B)."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """A 7 x 7 stem, four stages of residual blocks, a global average and a linear layer.

    Args:
        block: the kind of block.
        counts: blocks in each stage.
        num_classes: scores.
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], counts: tuple[int, int, int, int], num_classes: int = 1000
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False, weight_init=KaimingNormal("out"))
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(block, 64, 64, counts[0])
        self.layer2 = _stage(block, 64 * block.expansion, 128, counts[1], stride=2)
        self.layer3 = _stage(block, 128 * block.expansion, 256, counts[2], stride=2)
        self.layer4 = _stage(block, 256 * block.expansion, 512, counts[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(512 * block.expansion, num_classes)

    def forward(self, x: Any) -> Any:
        """Scores [N, num_classes] of images x [N, 3, 224, 224], or of any other size."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.flatten(self.avgpool(x)))


def _stage(
    block: type[BasicBlock | Bottleneck], inputs: int, planes: int, count: int, stride: int = 1
) -> nn.Sequential:
    rest = [block(planes * block.expansion, planes) for _ in range(count - 1)]
    return nn.Sequential(block(inputs, planes, stride), *rest)


def resnet18(num_classes: int = 1000) -> ResNet:
    """18 layers, in basic blocks."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes)


def resnet34(num_classes: int = 1000) -> ResNet:
    """34 layers, in basic blocks."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes)


def resnet50(num_classes: int = 1000) -> ResNet:
    """50 layers, in bottlenecks."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes)


def resnet101(num_classes: int = 1000) -> ResNet:
    """101 layers, in bottlenecks."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes)


def resnet152(num_classes: int = 1000) -> ResNet:
    """152 layers, in bottlenecks."""
    return ResNet(Bottleneck, (3, 8, 36, 3), num_classes)


def resnet50_v1(num_classes: int = 1000) -> ResNet:
    """50 layers, strides where the paper has them."""
    return ResNet(PaperBottleneck, (3, 4, 6, 3), num_classes)


def resnet101_v1(num_classes: int = 1000) -> ResNet:
    """101 layers, strides where the paper has them."""
    return ResNet(PaperBottleneck, (3, 4, 23, 3), num_classes)


def resnet152_v1(num_classes: int = 1000) -> ResNet:
    """152 layers, strides where the paper has them."""
    return ResNet(PaperBottleneck, (3, 8, 36, 3), num_classes)
