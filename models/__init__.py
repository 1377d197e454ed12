"""The built-in networks: one family a file, one row of the table a network.

    net = tinygraph.models.create("resnet50", num_classes=10, seed=1)
    graph = tinygraph.trace(net, *tinygraph.models.inputs("resnet50"))

A file is imported when one of its networks is asked for.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from importlib import import_module
from numbers import Integral
from typing import TYPE_CHECKING, Any

from tinygraph.errors import UsageError
from tinygraph.trace import Spec

if TYPE_CHECKING:
    from tinygraph.nn.module import Module

__all__ = ["arguments", "create", "inputs", "names"]


def _input(*shape: int) -> tuple[Spec, ...]:
    """The usual interface: one float32 input x, a batch of one."""
    return (Spec((1, *shape), name="x"),)


# name: (file, inputs). The file has a function of that name that makes the network.
_NETWORKS: dict[str, tuple[str, tuple[Spec, ...]]] = {
    "linear_classifier": ("mlp", _input(3, 32, 32)),
    "mlp2": ("mlp", _input(3072)),
    "mlp3": ("mlp", _input(3072)),
    "digits_cnn": ("digits_cnn", _input(1, 8, 8)),
    "cnn_39x31": ("cnn_39x31", _input(1, 39, 31)),
    "lenet5": ("lenet", _input(1, 32, 32)),
    "lenet5_rgb": ("lenet", _input(3, 32, 32)),
    "lenet5_eecs498": ("lenet", _input(1, 28, 28)),
    "lenet_caffe": ("lenet", _input(1, 28, 28)),
    "lenet5_1998": ("lenet_1998", _input(1, 32, 32)),
    "alexnet": ("alexnet", _input(3, 224, 224)),
    "alexnet_2012": ("alexnet", _input(3, 227, 227)),
    "alexnet_ungrouped": ("alexnet", _input(3, 227, 227)),
    "vgg11": ("vgg", _input(3, 224, 224)),
    "vgg13": ("vgg", _input(3, 224, 224)),
    "vgg16": ("vgg", _input(3, 224, 224)),
    "vgg19": ("vgg", _input(3, 224, 224)),
    "vgg11_bn": ("vgg", _input(3, 224, 224)),
    "vgg13_bn": ("vgg", _input(3, 224, 224)),
    "vgg16_bn": ("vgg", _input(3, 224, 224)),
    "vgg19_bn": ("vgg", _input(3, 224, 224)),
    "resnet18": ("resnet", _input(3, 224, 224)),
    "resnet34": ("resnet", _input(3, 224, 224)),
    "resnet50": ("resnet", _input(3, 224, 224)),
    "resnet101": ("resnet", _input(3, 224, 224)),
    "resnet152": ("resnet", _input(3, 224, 224)),
    "resnet50_v1": ("resnet", _input(3, 224, 224)),
    "resnet101_v1": ("resnet", _input(3, 224, 224)),
    "resnet152_v1": ("resnet", _input(3, 224, 224)),
    "resnet20_cifar": ("resnet_cifar", _input(3, 32, 32)),
    "resnet32_cifar": ("resnet_cifar", _input(3, 32, 32)),
    "resnet44_cifar": ("resnet_cifar", _input(3, 32, 32)),
    "resnet56_cifar": ("resnet_cifar", _input(3, 32, 32)),
    "resnet110_cifar": ("resnet_cifar", _input(3, 32, 32)),
    "resnet1202_cifar": ("resnet_cifar", _input(3, 32, 32)),
}


def names() -> tuple[str, ...]:
    """The names of all built-in networks."""
    return tuple(_NETWORKS)


def create(name: str, *, seed: int = 0, **arguments: Any) -> Module:
    """Makes a network. Its weights are recipes until their numbers are needed.

    Args:
        name: one of names().
        seed: of the weights, which depend on it and on their own names alone.
        arguments: what the network takes, such as num_classes=10.

    Raises:
        UsageError: no such network, or an argument that it does not take.
    """
    if not _is_whole(seed) or not -(2**63) <= seed < 2**63:
        raise UsageError(f"seed is {seed!r}; it must be a whole number of 64 bits")
    net: Module = _factory(name, arguments)(**arguments)
    net.reseed(seed)
    return net


def inputs(name: str, **arguments: Any) -> tuple[Spec, ...]:
    """The inputs that a network is meant for: names, shapes (batch 1) and dtypes.

    Args:
        name: one of names().
        arguments: as for create.

    Raises:
        UsageError: no such network, or an argument that it does not take.
    """
    if arguments:
        _factory(name, arguments)
    return _row(name)[1]


def arguments(name: str) -> tuple[str, ...]:
    """The arguments that a network takes, beside its seed.

    Raises:
        UsageError: no such network.
    """
    return tuple(inspect.signature(_function(name)).parameters)


def _row(name: str) -> tuple[str, tuple[Spec, ...]]:
    if name not in _NETWORKS:
        close = difflib.get_close_matches(name, _NETWORKS)
        hint = f"did you mean {', '.join(close)}?" if close else "`tinygraph models` lists them all"
        raise UsageError(f"no network is named {name!r}; {hint}")
    return _NETWORKS[name]


def _factory(name: str, arguments: dict[str, Any]) -> Callable[..., Module]:
    """The function that makes the network; UsageError unless it takes the arguments."""
    factory = _function(name)
    accepted = inspect.signature(factory).parameters
    unknown = [argument for argument in arguments if argument not in accepted]
    if unknown:
        raise UsageError(f"{name} takes no {', '.join(unknown)}; it takes {', '.join([*accepted, 'seed'])}")
    for argument, value in arguments.items():
        if accepted[argument].annotation == "int" and not (_is_whole(value) and 0 < value < 2**31):
            raise UsageError(f"{name}: {argument} is {value!r}; it must be a whole number, at least 1")
    return factory


def _function(name: str) -> Callable[..., Module]:
    function: Callable[..., Module] = getattr(import_module(f"tinygraph.models.{_row(name)[0]}"), name)
    return function


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
