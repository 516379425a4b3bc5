"""What a compiled network costs: operations, memory, and what compiling took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bpcompile.program.access import TYPICAL_BATCH, volume
from bpcompile.program.nodes import ARITY, Expr, walk_nodes
from bpcompile.program.statements import Program, Statement, TimeLoop


@dataclass(frozen=True)
class Cost:
    """Operation counts for one example (measured at a typical batch), and facts of the build.

    Attributes
    ----------
    forward_ops, backward_ops : float
        Scalar operations of the shared program.
    unshared_ops : float
        Those of both passes before common values were shared.
    separate_ops : float
        Those of deriving each parameter tensor on its own, with its own forward pass.
    seconds : mapping of str to float
        How long each stage of compiling took.
    facts : mapping of str to object
        The compiler, its flags, the path of what was built, whether the cache had it.
    """

    forward_ops: float = 0.0
    backward_ops: float = 0.0
    unshared_ops: float = 0.0
    separate_ops: float = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)


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
        total += sum(times * _statement(s) for s in inner if phase is None or s.origin.phase == phase)
    return total / TYPICAL_BATCH


def _statement(s: Statement) -> int:
    each = sum(1 for e in walk_nodes((s.body,)) if _counts(e))
    reducing = 1 if s.reduce is not None or s.accumulate else 0
    return volume(s.axes) * volume(s.over) * (each + reducing)


def _counts(e: Expr) -> bool:
    return e.op in ARITY and e.op != "stop" and e.kind != "int"
