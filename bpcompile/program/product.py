"""A summand as a product: guards, factors and a sign.

``where(c, -a*b/d, 0)`` is the guard ``c``, the factors ``a``, ``b`` and ``1/d``, and a minus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bpcompile.nodes.expressions import ONE, ZERO, Expr, children_first, const, node
from bpcompile.nodes.quotients import kept_quotients


@dataclass(frozen=True, slots=True)
class Product:
    """``where(all guards, (-1)^negative * prod(factors) / prod(divisors), 0)``."""

    negative: bool
    guards: tuple[Expr, ...]
    factors: tuple[Expr, ...]
    divisors: tuple[Expr, ...]


def as_product(e: Expr) -> Product:
    """Take an expression apart, as far as products, quotients, signs and guards go."""
    return _product(e, kept_quotients(e))


def _product(e: Expr, kept: frozenset[Expr]) -> Product:
    if e.op == "neg" and e.kind == "real":
        inner = _product(e.args[0], kept)
        return Product(not inner.negative, inner.guards, inner.factors, inner.divisors)
    if e.op == "mul" and e.kind == "real":
        a, b = _product(e.args[0], kept), _product(e.args[1], kept)
        return Product(
            a.negative != b.negative, (*a.guards, *b.guards), (*a.factors, *b.factors), (*a.divisors, *b.divisors)
        )
    if e.op == "div" and e not in kept:
        a, b = _product(e.args[0], kept), _product(e.args[1], kept)
        if not b.guards:
            return Product(
                a.negative != b.negative, a.guards, (*a.factors, *b.divisors), (*a.divisors, *b.factors)
            )
        return Product(a.negative, a.guards, a.factors, (*a.divisors, e.args[1]))
    if e.op == "where" and is_zero(e.args[2]):
        inner = _product(e.args[1], kept)
        return Product(inner.negative, (*_conditions(e.args[0]), *inner.guards), inner.factors, inner.divisors)
    if e.op == "stop":
        return _product(e.args[0], kept)
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


def without_factor(e: Expr, factor: Expr) -> Expr | None:
    """What an expression is times a factor of all its terms; nothing if it is not such a product.

    At least one term must have the factor whatever conditions say: then it makes the sum infinite or NaN where it is so
    itself, as it does outside the sum.
    """
    found = _without(e, factor, frozenset(x for x in children_first(e) if factor in children_first(x)))
    return found[0] if found is not None and found[1] else None


def _without(e: Expr, factor: Expr, holders: frozenset[Expr]) -> tuple[Expr, bool] | None:
    """The other factor, and whether no condition stands before it."""
    if e is factor:
        return ONE, True
    inside = [a in holders for a in e.args]
    if e.op == "neg" and (part := _without(e.args[0], factor, holders)):
        return node("neg", (part[0],)), part[1]
    if e.op in ("add", "sub") and (parts := [p for a in e.args if (p := _without(a, factor, holders))])[1:]:
        return node(e.op, (parts[0][0], parts[1][0])), parts[0][1] or parts[1][1]
    if e.op in ("mul", "div") and inside in ([True, False], [False, True][: 2 * (e.op == "mul")]):
        left = inside[0]
        part = _without(e.args[0 if left else 1], factor, holders)
        if part is None:
            return None
        pair = (part[0], e.args[1]) if left else (e.args[0], part[0])
        alone = [x for x in pair if not (e.op == "mul" and is_one(x))]
        return alone[0] if len(alone) == 1 else node(e.op, pair), part[1]
    if e.op == "where" and not inside[0]:
        branches = [(a, False) if is_zero(a) else _without(a, factor, holders) for a in e.args[1:]]
        if all(branches):
            return node("where", (e.args[0], *(b[0] for b in branches if b))), False
    return None


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
