"""A network of one's own: ResNet's basic block (He et al. 2015).

From the folder above this one:

    tinygraph summary examples.block:block --input-size 1,64,56,56
    tinygraph render examples.block:block --input-size 1,64,56,56 --optimized -o block.png
"""

from tinygraph import nn
from tinygraph.nn import functional as F


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm; the input is added before the last ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + x)


def block() -> nn.Module:
    """The network that the command line asks for."""
    return BasicBlock(64)
