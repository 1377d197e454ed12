"""How much memory and work an answer may cost. A file of 152 bytes can ask for petabytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinygraph.errors import BudgetError, UsageError

if TYPE_CHECKING:
    from tinygraph.ir import Graph, Node, TensorType
    from tinygraph.ops.base import Op


@dataclass(frozen=True)
class Budget:
    """What loading a file or running a graph may take. Checked before anything is allocated.

    Attributes:
        bytes: of memory, by default 8 GiB: of weights and constants, of each array that is made, and of a
            run's arrays that live at one time. On the way, the plain kernels of some operators (those that
            sample at places that are computed, quantized ones) take up to some ten times their arrays.
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
            more = "allow more with Budget(bytes=...) or --max-bytes"
            raise BudgetError(f"{what} {wanted:,} bytes, the budget is {self.bytes:,}; {more}")

    def check_operations(self, wanted: int, what: str) -> None:
        """Raises BudgetError if that many operations are too many; `what` begins the message."""
        if wanted > self.operations:
            more = "allow more with Budget(operations=...) or --max-operations"
            raise BudgetError(f"{what} {wanted:,} operations, the budget is {self.operations:,}; {more}")


DEFAULT = Budget()


def check_work(graph: Graph, budget: Budget) -> None:
    """Looks at the types of a graph whose dimensions all have numbers, before anything is made of it.

    Raises:
        BudgetError: an array, that of an input too, or all the arithmetic together would exceed the budget.
    """
    for value in graph.inputs:
        budget.check_bytes(value.type.nbytes, f"the input {value.name!r} takes")
    operations = sum(check_node(node, node.op, node.input_types, node.output_types, budget) for node in graph.nodes)
    budget.check_operations(operations, "a run takes")


def check_node(node: Node, op: Op, inputs: Sequence[TensorType], outputs: Sequence[TensorType], budget: Budget) -> int:
    """Looks at the types of one node.

    Args:
        node: that messages name.
        op: what it computes, without open dimensions.
        inputs: their types, without open dimensions.
        outputs: likewise.
        budget: of this node alone.

    Returns:
        The steps that it takes at most.

    Raises:
        BudgetError: an array or the arithmetic would exceed the budget.
    """
    for type in outputs:
        budget.check_bytes(type.nbytes, f"{op.name} {node.name!r} makes")
    budget.check_bytes(op.scratch(inputs, outputs), f"{op.name} {node.name!r} needs on the way")
    work = op.work(inputs, outputs)
    budget.check_operations(work, f"{op.name} {node.name!r} takes")
    return work
