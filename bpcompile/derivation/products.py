"""Products: their factors, powers, and where a dot keeps two factors apart."""

from __future__ import annotations

from bpcompile.derivation.notation import Fraction, Group, Notation, Number, Row, Script, Symbol, height
from bpcompile.nodes.expressions import Expr


def factors(e: Expr, op: str = "mul") -> list[Expr]:
    """The factors of a product, laid flat."""
    return [*factors(e.args[0], op), *factors(e.args[1], op)] if e.op == op else [e]


def powers(parts: list[Expr]) -> list[tuple[Expr, int]]:
    """Equal neighbours counted."""
    found: list[tuple[Expr, int]] = []
    for p in parts:
        if found and found[-1][0] is p:
            found[-1] = (p, found[-1][1] + 1)
        else:
            found.append((p, 1))
    return found


def needs_dot(left: Notation, right: Notation) -> bool:
    """True where two factors side by side would read as one thing."""
    first = right.items[0] if isinstance(right, Row) else right
    while isinstance(first, Script):
        first = first.base
    last = left.items[-1] if isinstance(left, Row) else left
    if isinstance(first, Number):
        return True
    word = isinstance(last, Symbol) and last.style == "upright" and len(last.text) > 1
    both = isinstance(last, Fraction) and isinstance(first, Fraction)
    return word or (both and height(left) < 2)


def raised(base: Notation, exponent: Notation) -> Notation:
    """A power; what has a superscript already stands in parentheses."""
    if isinstance(base, Script):
        return Script(base.base, base.sub, exponent) if base.sup is None else Script(Group(base), None, exponent)
    return Script(base, None, exponent)


def is_zero(e: Expr) -> bool:
    """True for the number 0."""
    return e.op == "const" and not isinstance(e.value, bool) and e.value == 0
