"""Which tensors a loss depends on, through reads that carry a gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sympy

from bpcompile.language.equation import accesses
from bpcompile.language.integers import has_integer_source
from bpcompile.language.records import Call
from bpcompile.language.symbols import Access, Draw, Reduction, StopGradient, Where

__all__ = ["reached_tensors", "uses_as_subscript"]


def reached_tensors(calls: Sequence[Call], losses: Iterable[str]) -> set[str]:
    """Return the global names of all tensors whose change can change a loss."""
    reached = set(losses)
    for call in reversed(calls):
        states = {call.resolve[name] for name in call.layer.state}
        changed = True
        while changed:  # recurrences may read what is defined further down
            before = len(reached)
            for equation in reversed(call.equations):
                target = call.resolve[equation.lhs.tensor]
                if target in reached and target not in states:
                    reached.update(call.resolve[name] for name in _differentiable(equation.rhs))
            changed = len(reached) > before
    return reached


def _differentiable(expression: Any) -> list[str]:
    """The tensors that `expression` reads and hands a gradient to."""
    if isinstance(expression, (StopGradient, Draw, sympy.floor, sympy.ceiling, sympy.sign)):
        return []
    if isinstance(expression, Reduction) and expression.kind in ("argmax", "argmin"):
        return []
    if isinstance(expression, Access):
        return [expression.tensor]
    arguments = expression.args[1:] if isinstance(expression, Where) else expression.args
    return [name for a in arguments for name in _differentiable(a)]


def uses_as_subscript(call: Call, local: str) -> bool:
    """Whether the call subscripts with tensor `local`, or hands its integers on."""
    for equation in call.equations:
        if has_integer_source(equation.rhs, {local}) and call.tensors[equation.lhs.tensor].integer:
            return True
        for outer in accesses(equation.rhs):
            if any(a.tensor == local for s in outer.subscripts for a in ([s] if isinstance(s, Access) else accesses(s))):
                return True
    return False
