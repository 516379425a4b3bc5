"""Building derivatives: constructors that drop neutral factors and keep selections outermost.

Only the calculus uses them, on expressions that it makes itself. What a user typed is never rebuilt by them.
``select(c, g, 0) * d`` is ``select(c, g*d, 0)``: a branch that is not taken gives 0 even where ``d`` is NaN or infinite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bpcompile.nodes.expressions import Expr, const, node

ZERO = const(0)


def is_number(e: Expr, value: float) -> bool:
    """True if the node is this number."""
    return e.op == "const" and not isinstance(e.value, bool) and e.value == value


def _selects_zero(e: Expr) -> int | None:
    """2 for ``where(c, x, 0)``, 1 for ``where(c, 0, x)``, else None: the argument that is zero."""
    if e.op != "where":
        return None
    return 2 if is_number(e.args[2], 0) else 1 if is_number(e.args[1], 0) else None


def select(condition: Expr, a: Expr, b: Expr) -> Expr:
    """``a`` where the condition holds, else ``b``."""
    if condition.op == "const":
        return a if condition.value else b
    if a is b or (is_number(a, 0) and is_number(b, 0)):
        return a
    return node("where", (condition, a, b))


def _inside(e: Expr, change: Callable[[Expr, Expr], Expr], other: Expr, left: bool) -> Expr:
    """Apply a binary constructor within the branch of ``e`` that is not zero."""
    zero = _selects_zero(e)
    assert zero is not None
    branch = e.args[3 - zero]
    changed = change(branch, other) if left else change(other, branch)
    return select(e.args[0], changed, ZERO) if zero == 2 else select(e.args[0], ZERO, changed)


def mul(a: Expr, b: Expr) -> Expr:
    """``a * b``."""
    if is_number(a, 0) or is_number(b, 0):
        return ZERO
    if is_number(a, 1):
        return b
    if is_number(b, 1):
        return a
    if _selects_zero(a) is not None:
        return _inside(a, mul, b, left=True)
    if _selects_zero(b) is not None:
        return _inside(b, mul, a, left=False)
    if a.op == "neg":
        return neg(mul(a.args[0], b))
    if b.op == "neg":
        return neg(mul(a, b.args[0]))
    if _adds_selections(a):
        return _ADDITIVE[a.op](mul(a.args[0], b), mul(a.args[1], b))
    if _adds_selections(b):
        return _ADDITIVE[b.op](mul(a, b.args[0]), mul(a, b.args[1]))
    if is_number(a, -1):
        return neg(b)
    if is_number(b, -1):
        return neg(a)
    if b.op == "const":
        return const(a.value * b.value) if a.op == "const" else mul(b, a)
    if a.op == "const" and b.op == "mul" and b.args[0].op == "const":
        return mul(const(a.value * b.args[0].value), b.args[1])
    if b.op == "mul" and b.args[0].op == "const" and a.op != "const":
        return mul(b.args[0], mul(a, b.args[1]))
    return node("mul", (a, b))


def div(a: Expr, b: Expr) -> Expr:
    """``a / b``."""
    if is_number(a, 0):
        return ZERO
    if is_number(b, 1):
        return a
    if _selects_zero(a) is not None:
        return _inside(a, div, b, left=True)
    if a.op == "neg":
        return neg(div(a.args[0], b))
    if _adds_selections(a):
        return _ADDITIVE[a.op](div(a.args[0], b), div(a.args[1], b))
    return node("div", (a, b))


def neg(a: Expr) -> Expr:
    """``-a``."""
    if a.op == "neg":
        return a.args[0]
    if a.op == "const" and not isinstance(a.value, bool):
        return const(-a.value) if a.value else ZERO
    if _selects_zero(a) is not None:
        zero = _selects_zero(a)
        branches = [neg(x) for x in a.args[1:]]
        return select(a.args[0], ZERO if zero == 1 else branches[0], ZERO if zero == 2 else branches[1])
    if a.op == "sub":
        return node("sub", (a.args[1], a.args[0]))
    return node("neg", (a,))


def add(a: Expr, b: Expr) -> Expr:
    """``a + b``."""
    if is_number(a, 0):
        return b
    if is_number(b, 0):
        return a
    if b.op == "neg":
        return sub(a, b.args[0])
    if a.op == "neg":
        return sub(b, a.args[0])
    if a.op == b.op == "where" and a.args[0] is b.args[0] and {_selects_zero(a), _selects_zero(b)} == {1, 2}:
        first, second = (a, b) if _selects_zero(a) == 2 else (b, a)
        return select(a.args[0], first.args[1], second.args[2])
    if a.op == b.op == "where" and a.args[0] is b.args[0] and _selects_zero(a) == _selects_zero(b) is not None:
        together = [add(x, y) for x, y in zip(a.args[1:], b.args[1:], strict=True)]
        return select(a.args[0], *together)
    if a.op == "add" and b.op == a.args[1].op == "where" and b.args[0] is a.args[1].args[0] and _selects_zero(b) is not None:
        return add(a.args[0], add(a.args[1], b))
    return node("add", (a, b))


def sub(a: Expr, b: Expr) -> Expr:
    """``a - b``."""
    if is_number(b, 0):
        return a
    if is_number(a, 0):
        return neg(b)
    if b.op == "neg":
        return add(a, b.args[0])
    return node("sub", (a, b))


_ADDITIVE: Final = {"add": add, "sub": sub}


def _adds_selections(e: Expr) -> bool:
    """True for a sum in which a term selects zero: a factor goes to each term, so that it stays in their branches.

    A number that is selected is a Kronecker delta: it is finite, and may stay where it is.
    """
    return e.op in _ADDITIVE and any(_selects_value(x) or _adds_selections(x) for x in e.args)


def _selects_value(e: Expr) -> bool:
    zero = _selects_zero(e)
    return zero is not None and e.args[3 - zero].op != "const"
