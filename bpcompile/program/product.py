"""A summand as a product: guards, factors and a sign.

``where(c, -a*b/d, 0)`` is the guard ``c``, the factors ``a``, ``b`` and ``1/d``, and a minus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bpcompile.nodes.expressions import ONE, ZERO, Expr, const, node


@dataclass(frozen=True, slots=True)
class Product:
    """``where(all guards, (-1)^negative * prod(factors) / prod(divisors), 0)``."""

    negative: bool
    guards: tuple[Expr, ...]
    factors: tuple[Expr, ...]
    divisors: tuple[Expr, ...]


def as_product(e: Expr) -> Product:
    """Take an expression apart, as far as products, quotients, signs and guards go."""
    if e.op == "neg" and e.kind == "real":
        inner = as_product(e.args[0])
        return Product(not inner.negative, inner.guards, inner.factors, inner.divisors)
    if e.op == "mul" and e.kind == "real":
        a, b = as_product(e.args[0]), as_product(e.args[1])
        return Product(
            a.negative != b.negative, (*a.guards, *b.guards), (*a.factors, *b.factors), (*a.divisors, *b.divisors)
        )
    if e.op == "div":
        a, b = as_product(e.args[0]), as_product(e.args[1])
        if not b.guards:
            return Product(
                a.negative != b.negative, a.guards, (*a.factors, *b.divisors), (*a.divisors, *b.factors)
            )
        return Product(a.negative, a.guards, a.factors, (*a.divisors, e.args[1]))
    if e.op == "where" and is_zero(e.args[2]):
        inner = as_product(e.args[1])
        return Product(inner.negative, (*_conditions(e.args[0]), *inner.guards), inner.factors, inner.divisors)
    if e.op == "stop":
        return as_product(e.args[0])
    if e.op == "const" and e.kind != "bool" and e.value == 1:
        return Product(False, (), (), ())
    return Product(False, (), (e,), ())


def terms_of(e: Expr) -> list[tuple[bool, Expr]]:
    """The terms of a sum, each with True if it is subtracted; a guard around a sum goes to each term."""
    if e.op in ("add", "sub") and e.kind == "real":
        right = terms_of(e.args[1])
        return terms_of(e.args[0]) + [(minus != (e.op == "sub"), t) for minus, t in right]
    if e.op == "neg" and e.kind == "real":
        return [(not minus, t) for minus, t in terms_of(e.args[0])]
    if e.op == "where" and is_zero(e.args[2]):
        inner = terms_of(e.args[1])
        return [(minus, node("where", (e.args[0], t, e.args[2]))) for minus, t in inner]
    return [(False, e)]


def multiplied(factors: Sequence[Expr]) -> Expr:
    """The product of some expressions; one if there are none."""
    total: Expr | None = None
    for f in factors:
        total = f if total is None else node("mul", (total, f))
    return const(1.0) if total is None else total


def guarded(conditions: Sequence[Expr], value: Expr) -> Expr:
    """The value where all conditions hold, else zero."""
    if not conditions:
        return value
    condition = conditions[0]
    for c in conditions[1:]:
        condition = node("and", (condition, c))
    return node("where", (condition, value, ZERO if value.kind == "int" else const(0.0)))


def quotient(above: Expr, below: Sequence[Expr]) -> Expr:
    """One expression divided by the product of others."""
    return node("div", (above, multiplied(below))) if below else above


def is_zero(e: Expr) -> bool:
    """True for the number zero."""
    return e.op == "const" and e.kind != "bool" and e.value == 0


def is_one(e: Expr) -> bool:
    """True for the number one."""
    return e is ONE or (e.op == "const" and e.kind == "real" and e.value == 1)


def _conditions(e: Expr) -> tuple[Expr, ...]:
    return (*_conditions(e.args[0]), *_conditions(e.args[1])) if e.op == "and" else (e,)
