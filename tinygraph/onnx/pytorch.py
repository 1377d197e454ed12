"""Where in a PyTorch module tree a node of a file stands, as PyTorch's exporters note it.

The one of TorchScript does so in the names of nodes, `/layer1/layer1.0/conv1/Conv`; the one of
torch.export in metadata: the paths `['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d_1']`, of which
the last is the call.
"""

from __future__ import annotations

import re

import onnx

_SCOPES = "pkg.torch.onnx.name_scopes"
_REWRITTEN = "pkg.onnxscript.rewriter.rule_name"


def module(node: onnx.NodeProto) -> str:
    """The path of the module that made a node, like layer1.0.conv1; "" if that is not told, or it is the network."""
    noted = {entry.key: entry.value for entry in node.metadata_props}
    if _SCOPES in noted:
        scopes = re.findall(r"'([^']*)'", noted[_SCOPES])
        folded = "FuseBatchNorm" in noted.get(_REWRITTEN, "")
        return _owner(node) if folded else ".".join(scopes[-2:-1])
    return _from_name(node.name) if node.name.startswith("/") else ""


def _owner(node: onnx.NodeProto) -> str:
    """The module that the weight of a node belongs to: a convolution has the place of the BatchNorm folded into it."""
    return next((name.rpartition(".")[0] for name in node.input if name.endswith(".weight")), "")


def _from_name(name: str) -> str:
    """The path in a node's name, whose last part is the operator.

    What stands in a Sequential or a ModuleList has the name of that as well: layer1, layer1.0.
    """
    path: list[str] = []
    for part in name.split("/")[1:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    return ".".join(path)
