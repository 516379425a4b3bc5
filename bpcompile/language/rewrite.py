"""Substitution that keeps expressions as they were typed: SymPy's own `xreplace` rebuilds them with evaluation on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sympy
from sympy.core.relational import Relational

__all__ = ["rebuild", "rewrite"]

_EVALUATING = (sympy.Add, sympy.Mul, sympy.Pow, sympy.Function, Relational)


def rebuild(expression: sympy.Basic, arguments: Sequence[Any]) -> Any:
    """Return an expression of the same kind with other arguments, without evaluation."""
    arguments = tuple(arguments)
    if arguments == expression.args:
        return expression
    if isinstance(expression, _EVALUATING):
        return expression.func(*arguments, evaluate=False)
    return expression.func(*arguments)


def rewrite(expression: sympy.Basic, change: Callable[[Any], Any | None]) -> Any:
    """Replace, from the root down, every node for which `change` returns something; the rest stays as typed."""
    changed = change(expression)
    if changed is not None:
        return changed
    if not expression.args:
        return expression
    return rebuild(expression, [rewrite(a, change) for a in expression.args])
