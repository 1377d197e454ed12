"""How much memory and work an answer may cost. A file of 152 bytes can ask for petabytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinygraph.errors import BudgetError, UsageError

if TYPE_CHECKING:
    from tinygraph.ir import Graph


@dataclass(frozen=True)
class Budget:
    """What loading a file or running a graph may take. Checked before anything is allocated.

    Attributes:
        bytes: of memory. By default 8 GiB.
        operations: arithmetic operations of one run; of a file, the nodes that its functions,
            branches and loops unfold to are counted as a million operations each. By default
            10**14, which takes the better part of an hour.
    """

    bytes: int = 8 * 2**30
    operations: int = 10**14

    def __post_init__(self) -> None:
        for name in ("bytes", "operations"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise UsageError(f"a budget of {number!r} {name} is none: give a whole number >= 0")

    def check_bytes(self, wanted: int, what: str) -> None:
        """Raises BudgetError if that many bytes are too many; `what` begins the message."""
        if wanted > self.bytes:
            raise BudgetError(f"{what} {wanted:,} bytes, the budget is {self.bytes:,}; allow more with a larger Budget")

    def check_operations(self, wanted: int, what: str) -> None:
        """Raises BudgetError if that many operations are too many; `what` begins the message."""
        if wanted > self.operations:
            raise BudgetError(
                f"{what} {wanted:,} operations, the budget is {self.operations:,}; allow more with a larger Budget"
            )


DEFAULT = Budget()


def check_work(graph: Graph, budget: Budget) -> None:
    """Looks at the types of a graph whose dimensions all have numbers, before anything is made of it.

    Raises:
        BudgetError: an array or all the arithmetic together would exceed the budget.
    """
    operations = 0
    for node in graph.nodes:
        for value in node.outputs:
            budget.check_bytes(value.type.nbytes, f"{node.op.name} {node.name!r} makes")
        operations += node.op.flops(node.input_types, node.output_types) + sum(t.size for t in node.output_types)
    budget.check_operations(operations, "a run takes")
