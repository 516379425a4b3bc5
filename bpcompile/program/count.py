"""Count the scalar operations of a program, forward and backward, as ``each * n + fixed`` for ``n`` examples.

An operation is one evaluation of an arithmetic node or scalar function on reals; additions of a sum or of an accumulation
count, loads, stores, subscripts and conditions do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bpcompile.nodes.access import step_statements
from bpcompile.nodes.expressions import ARITY, COMPARISONS, LOGIC, Expr, children_first
from bpcompile.nodes.statements import Phase, Program, Statement, TimeLoop


@dataclass(frozen=True, slots=True)
class Operations:
    """A number of operations: ``each`` for every example, and ``fixed``."""

    each: int = 0
    fixed: int = 0

    def __add__(self, other: Operations) -> Operations:
        return Operations(self.each + other.each, self.fixed + other.fixed)

    def total(self, n: int) -> int:
        """The number for ``n`` examples."""
        return self.each * n + self.fixed


def count_operations(program: Program) -> Mapping[Phase, Operations]:
    """The operations of each phase of a program."""
    found: dict[Phase, Operations] = {"forward": Operations(), "backward": Operations(), "update": Operations()}
    for step in program.steps:
        times = (step.axis.extent or 1) if isinstance(step, TimeLoop) else 1
        for s in step_statements(step):
            counted = statement_operations(s)
            phase = s.origin.phase
            found[phase] += Operations(counted.each * times, counted.fixed * times)
    return found


def statement_operations(s: Statement) -> Operations:
    """The operations of one statement."""
    outer, batch = 1, False
    for a in s.axes:
        outer, batch = outer * (a.extent or 1), batch or a.extent is None
    if not s.reduce:
        number = outer * (_operations(s.body) + s.accumulate)
        return Operations(number, 0) if batch else Operations(0, number)
    inner, inner_batch = 1, False
    for a in s.over:
        inner, inner_batch = inner * (a.extent or 1), inner_batch or a.extent is None
    number = outer * inner * (_operations(s.body) + 1)
    saved = -outer * (1 - s.accumulate)
    if batch:
        return Operations(number + saved, 0)
    return Operations(number, saved) if inner_batch else Operations(0, number + saved)


def _operations(body: Expr) -> int:
    """Evaluations of arithmetic on reals, each distinct node once."""
    quiet = {*COMPARISONS, *LOGIC, "where", "stop"}
    return sum(1 for e in children_first(body) if e.op in ARITY and e.op not in quiet and e.kind == "real")
