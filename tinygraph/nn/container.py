"""Modules that hold other modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from tinygraph.errors import UsageError
from tinygraph.nn.module import Module


class _Row(Module):
    """What rows of modules share: they are counted, indexed and walked like a list."""

    def append(self, module: Module) -> None:
        """Adds a module behind the others, under the next number."""
        self._put(str(len(self)), module)

    def _put(self, name: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise UsageError(f"{type(self).__name__} holds modules, got a {type(module).__name__} for {name!r}")
        setattr(self, name, module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(tuple(self._modules.values()))

    def __getitem__(self, index: int) -> Module:
        modules = tuple(self)
        if not -len(modules) <= index < len(modules):
            raise IndexError(f"{type(self).__name__} has {len(modules)} modules, not one at {index}")
        return modules[index]


class Sequential(_Row):
    """Runs modules one after another.

    Args:
        modules: in their order, named "0", "1" and so on; or one dict that names them.
    """

    @overload
    def __init__(self, modules: Mapping[str, Module], /) -> None: ...
    @overload
    def __init__(self, *modules: Module) -> None: ...
    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named: Iterable[tuple[str, Module]] = modules[0].items()
        else:
            named = ((str(i), module) for i, module in enumerate(modules))
        for name, module in named:
            self._put(name, module)

    def forward(self, x: Any) -> Any:
        """The last module's answer."""
        for module in self:
            x = module(x)
        return x


class ModuleList(_Row):
    """A list of modules, named "0", "1" and so on; whoever owns it runs them."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        for module in modules:
            self.append(module)
