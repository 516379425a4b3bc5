"""What a compiled network costs: operations, memory, and what compiling took."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from bpcompile.emit.c.limits import Limits
from bpcompile.nodes.access import TYPICAL_BATCH, volume
from bpcompile.nodes.expressions import ARITY, Expr, walk_nodes
from bpcompile.nodes.statements import Program, Statement, TimeLoop
from bpcompile.program.dead import restrict


@dataclass(frozen=True)
class Cost:
    """Operations for one example (counted at a typical batch, when asked for), memory, and facts of the build.

    Attributes
    ----------
    predict, gradient : Program
        What is counted: predictions; loss and gradients.
    derive_unshared : callable
        Gives loss and gradients before values were shared, for each derivative on its own; made when somebody asks.
    seconds : mapping of str to float
        How long each stage of compiling took.
    facts : mapping of str to object
        The compiler, its flags, the path of what was built, whether the cache had it.
    arena : callable
        Bytes of scratch memory for a number of examples.
    """

    predict: Program
    gradient: Program | None
    derive_unshared: Callable[[], Program | None]
    seconds: Mapping[str, float]
    facts: Mapping[str, object]
    arena: Callable[[int], int]

    def __repr__(self) -> str:
        counted = f"{self.forward_ops:,.0f} operations forward and {self.backward_ops:,.0f} backward for an example"
        took = ", ".join(f"{stage} {seconds:.2g} s" for stage, seconds in self.seconds.items())
        return f"<Cost: {counted}; {took}>"

    @property
    def tuned(self) -> Mapping[int, Limits]:
        """The kernels that a search gave other limits than the default ones."""
        found: Mapping[int, Limits] = self.facts.get("tuned", {})  # type: ignore[assignment]
        return found

    @cached_property
    def forward_ops(self) -> float:
        """Scalar operations of the forward pass."""
        return operations(self.predict) if self.gradient is None else operations(self.gradient, "forward")

    @cached_property
    def backward_ops(self) -> float:
        """Scalar operations of the backward pass."""
        return 0.0 if self.gradient is None else operations(self.gradient) - self.forward_ops

    @cached_property
    def unshared(self) -> Program | None:
        """Loss and gradients before values were shared."""
        return self.derive_unshared()

    @cached_property
    def unshared_ops(self) -> float:
        """Scalar operations of both passes before common values were shared."""
        return self.forward_ops if self.unshared is None else operations(self.unshared)

    @cached_property
    def separate_ops(self) -> float:
        """Scalar operations of computing each gradient on its own, with a forward pass of its own."""
        if self.unshared is None:
            return self.forward_ops
        gradients = [t.name for t in self.unshared.tensors.values() if t.role == "gradient"]
        return sum(operations(restrict(self.unshared, [name])) for name in gradients)

    def arena_bytes(self, n: int) -> int:
        """Bytes of scratch memory that a call with `n` examples uses."""
        return self.arena(n)


def operations(program: Program, phase: str | None = None) -> float:
    """Count the scalar operations of a program for one example, at a typical batch.

    Parameters
    ----------
    program : Program
        What to count.
    phase : str, optional
        Only the statements of this phase.
    """
    total = 0
    for step in program.steps:
        inner = step.body if isinstance(step, TimeLoop) else (step,)
        times = (step.axis.extent or TYPICAL_BATCH) if isinstance(step, TimeLoop) else 1
        total += sum(times * statement_operations(s) for s in inner if phase is None or s.origin.phase == phase)
    return total / TYPICAL_BATCH


def statement_operations(s: Statement) -> int:
    """Count the scalar operations of one execution of a statement, at a typical batch."""
    each = sum(1 for e in walk_nodes((s.body,)) if _counts(e))
    reducing = 1 if s.reduce is not None or s.accumulate else 0
    return volume(s.axes) * volume(s.over) * (each + reducing)


def _counts(e: Expr) -> bool:
    return e.op in ARITY and e.op != "stop" and e.kind != "int"
