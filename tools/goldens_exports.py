"""Makes tests/data/torch: small networks as PyTorch's two exporters write them, an input of each and its answer.

    python -m tinygraph.tools.goldens_exports

Needs torch and onnxscript beside tinygraph: pip install torch==2.13.0 onnxscript. The answers are
PyTorch's own. Nothing in tinygraph imports this file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch  # type: ignore[import-not-found,unused-ignore]  # no dependency of tinygraph
from torch import nn
from torch.nn import functional as F  # type: ignore[import-not-found,unused-ignore]

from tinygraph.tools.torch_exports import EXPORTERS, export
from tinygraph.tools.torch_networks import settle

_TRACES = ("pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node")  # long, and they name the machine's folders


class Block(nn.Module):  # type: ignore[misc,unused-ignore]
    """Two convolutions and a shortcut."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU()
        self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Any) -> Any:
        """Adds the shortcut before the last activation."""
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Residual(nn.Module):  # type: ignore[misc,unused-ignore]
    """Two residual blocks in a row and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(Block(3, 4, 1), Block(4, 6, 2))
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Any) -> Any:
        """Scores; the mean of each map is flattened."""
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(self.layer1(x), 1), 1))


class Inception(nn.Module):  # type: ignore[misc,unused-ignore]
    """Branches side by side; the shape of what is flattened is computed from that of the maps."""

    def __init__(self) -> None:
        super().__init__()
        self.branch1 = nn.Conv2d(3, 4, 1)
        self.branch2 = nn.Sequential(nn.Conv2d(3, 2, (1, 3), padding=(0, 1)), nn.Conv2d(2, 4, (3, 1), padding=(1, 0)))
        self.branch3 = nn.Conv2d(3, 4, 3, padding=2, dilation=2)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.fc = nn.Linear(60, 5)

    def forward(self, x: Any) -> Any:
        """Scores."""
        average = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        y = torch.cat([self.branch1(x), self.branch2(x), F.relu(self.branch3(x)), average], 1)
        a, b = self.pool(y).chunk(2, 1)
        y = F.adaptive_avg_pool2d(torch.cat([b, a], 1), (2, 2))
        return self.fc(y.view(y.size(0), y.size(1) * y.size(2) * y.size(3)))


class Decoder(nn.Module):  # type: ignore[misc,unused-ignore]
    """Maps grow again: by transposed convolution, by a factor, and to the size of other maps."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(3, 4, 3, 2, 1)
        self.down2 = nn.Conv2d(4, 8, 3, 2, 1)
        self.up = nn.ConvTranspose2d(8, 4, 3, 2, 1, output_padding=1)
        self.mix = nn.Conv2d(8, 2, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Any) -> Any:
        """Maps of the size of the input, and one of half the size."""
        small = F.leaky_relu(self.down1(x), 0.1)
        y = self.up(F.silu(self.down2(small)))
        y = F.interpolate(y, size=small.shape[-2:], mode="nearest")
        half = self.mix(torch.cat([y, small], 1))
        full = F.interpolate(half, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return full, F.interpolate(half, scale_factor=2, mode="bilinear", align_corners=True)


class Attention(nn.Module):  # type: ignore[misc,unused-ignore]
    """One layer of a transformer on patches, with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.places = nn.Parameter(torch.randn(1, 5, 8))
        self.norm = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.proj = nn.Linear(8, 8)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x: Any) -> Any:
        """The class token when it has looked at the patches."""
        batch = x.shape[0]
        y = self.patches(x)
        y = y.reshape(batch, y.shape[1], -1).permute(0, 2, 1)
        y = torch.cat([self.token.expand(batch, -1, -1), y], 1) + self.places
        batch, length, width = y.shape
        q, k, v = self.qkv(self.norm(y)).reshape(batch, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width)
        y = y + self.proj(seen)
        return (y + self.mlp(y))[:, 0]


def networks() -> Iterator[tuple[str, nn.Module, Any]]:
    """Name, network and its input."""
    shapes = {Residual: (2, 3, 8, 8), Inception: (2, 3, 9, 9), Decoder: (2, 3, 10, 12), Attention: (2, 3, 8, 8)}
    for make, shape in shapes.items():
        torch.manual_seed(0)
        x = torch.randn(shape)
        yield make.__name__.lower(), settle(make(), (x,)), x


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("tests/data/torch"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, network, x in networks():
        with torch.no_grad():
            answers = network(x)
        answers = [y.numpy() for y in (answers if isinstance(answers, tuple) else (answers,))]
        np.savez(folder / f"{name}.npz", *answers, input=x.numpy())
        for exporter in EXPORTERS:
            path = folder / f"{name}_{exporter}.onnx"
            export(network, (x,), path, exporter, open_batch=True)
            _strip(path)
    sys.stderr.write(f"wrote {len(list(folder.iterdir()))} files to {folder}\n")


def _strip(path: Path) -> None:
    """Takes out of a file what is of no use for a test."""
    model = onnx.load(path)
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key not in _TRACES]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
        node.doc_string = ""
    onnx.save(model, path)


if __name__ == "__main__":
    main()
