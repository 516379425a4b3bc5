"""Simplification of adjoints: sums of products, collected and cancelled; quotients that the forward pass has already.

An adjoint is expanded into terms ``coefficient * factors / divisors``; equal terms are collected. The result is taken
only where it has fewer operations than what stood there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Final

from bpcompile.calculus.algebra import ZERO, add, is_number, mul, neg, select, sub
from bpcompile.nodes.expressions import Axis, Expr, children_first, const, node

MOST_TERMS: Final = 24
UNIT: Final = Fraction(1)

Factors = tuple[Expr, ...]
Term = tuple[Fraction, Factors, Factors]
Quotients = Callable[[Expr, Expr], Expr | None]
"""Given ``a`` and ``b``: a load of the tensor that holds ``a / b``, or None."""


def simplify(e: Expr, quotient: Quotients) -> Expr:
    """The simplest form found of an adjoint expression."""
    if _is_product_of_loads(e):
        return e
    if e.op == "where":
        return select(e.args[0], simplify(e.args[1], quotient), simplify(e.args[2], quotient))
    typed = [(x, m) for x in children_first(e) if x.op == "div" and (m := _monomial(x)) and m[0] == 1 and m[1] and m[2]]
    for expand in (True, False):
        terms = _terms(e, expand)
        if terms is None:
            continue
        collected = _collect([_with_typed(_with_quotients(t, quotient), typed) for t in terms])
        # More terms than before are terms that nearly cancel: z*s*(1 - s) is small where z*s - z*s*s is a difference.
        if expand and len(collected) > _summands(e):
            continue
        candidate = _sum(collected)
        if candidate is e or _cost(candidate) <= _cost(e):
            return candidate
    return e


def _is_product_of_loads(e: Expr) -> bool:
    """True for ``a*b*c``, which is as simple as it gets: most adjoints are so."""
    while e.op == "mul" and e.args[1].op == "load":
        e = e.args[0]
    return e.op == "load"


def _summands(e: Expr) -> int:
    """The number of terms that are added up as the expression stands."""
    if e.op in ("add", "sub"):
        return _summands(e.args[0]) + _summands(e.args[1])
    if e.op == "neg" or (e.op in ("mul", "div") and _is_scalar(e.args[1])):
        return _summands(e.args[0])
    return _summands(e.args[1]) if e.op == "mul" and _is_scalar(e.args[0]) else 1


def _cost(e: Expr) -> float:
    """Operations on elements; what does not depend on any element costs next to nothing."""
    heavy = {"div": 4.0, "axis": 0.0, "load": 0.5}
    total = 0.0
    varying: set[Expr] = set()
    for x in children_first(e):
        if x.op in ("load", "axis") or not varying.isdisjoint(x.args):
            varying.add(x)
        if x not in varying:
            total += 0.0 if x.op == "const" else 0.01
            continue
        total += heavy.get(x.op, 8.0 if len(x.args) == 1 and x.op not in ("neg", "stop") else 1.0)
    return total


def _terms(e: Expr, expand: bool) -> list[Term] | None:
    """The terms of an expression; None if there are too many. Without ``expand`` a sum stays a factor of its products."""
    if e.op == "const" and e.kind in ("int", "real") and abs(e.value) < 1e300 and e.value == e.value:
        return [(Fraction(e.value), (), ())]
    if e.op == "neg":
        inner = _terms(e.args[0], expand)
        return None if inner is None else [(-c, n, d) for c, n, d in inner]
    if e.op in ("add", "sub") and e.kind == "real":
        left, right = _terms(e.args[0], expand), _terms(e.args[1], expand)
        if left is None or right is None:
            return None
        return _limited(left + (right if e.op == "add" else [(-c, n, d) for c, n, d in right]))
    if e.op == "mul" and e.kind == "real":
        left, right = (_factor_terms(a, expand) for a in e.args)
        if left is None or right is None:
            return None
        return _limited([(_times(a, b), m + n, p + q) for a, m, p in left for b, n, q in right])
    if e.op == "div":
        left = _factor_terms(e.args[0], expand)
        below = _monomial(e.args[1])
        if left is None:
            return None
        if below is None:
            return [(c, n, (*d, e.args[1])) for c, n, d in left]
        coefficient, above, under = below
        return [(c if coefficient is UNIT else c / coefficient, n + under, d + above) for c, n, d in left]
    if expand and e.op == "sigmoid" and e.args[0].op == "neg":
        return [(UNIT, (), ()), (Fraction(-1), (node("sigmoid", e.args[0].args),), ())]
    if e.op == "where" and is_number(e.args[2], 0) and _is_scalar(e.args[1]) and not is_number(e.args[1], 1):
        # A number that is selected is that number times a Kronecker delta.
        inner = _terms(e.args[1], expand)
        delta = select(e.args[0], const(1), ZERO)
        return None if inner is None else [(c, (*n, delta), d) for c, n, d in inner]
    return [(UNIT, (e,), ())]


def _times(a: Fraction, b: Fraction) -> Fraction:
    return a if b is UNIT else b if a is UNIT else a * b


def _factor_terms(e: Expr, expand: bool) -> list[Term] | None:
    terms = _terms(e, expand)
    return terms if expand or terms is None or len(terms) == 1 else [(UNIT, (e,), ())]


def _monomial(e: Expr) -> Term | None:
    terms = _terms(e, expand=True)
    return terms[0] if terms is not None and len(terms) == 1 and terms[0][0] else None


def _limited(terms: list[Term]) -> list[Term] | None:
    return terms if len(terms) <= MOST_TERMS else None


def _with_quotients(term: Term, quotient: Quotients) -> Term:
    """Replace a factor and a divisor whose quotient the forward pass has by that value."""
    coefficient, above, below = term
    for x in above:
        for y in below:
            value = quotient(x, y)
            if value is not None:
                rest = (coefficient, (*_less(above, x), value), _less(below, y))
                return _with_quotients(rest, quotient)
    return term


def _with_typed(term: Term, typed: Sequence[tuple[Expr, Term]]) -> Term:
    """Put together again what stood as a quotient, where it is divided by more than once.

    Each of ``x/m * (x/m) / m`` is of the size of its value; ``x*x`` overflows where that is not large at all.
    """
    coefficient, above, below = term
    for quotient, (_, over, under) in typed:
        again = any(under.count(d) < term[2].count(d) for d in under)
        while again and _within(over, above) and _within(under, below):
            above, below = (quotient, *_without(above, over)), _without(below, under)
    return coefficient, above, below


def _within(some: Factors, factors: Factors) -> bool:
    return all(some.count(f) <= factors.count(f) for f in some)


def _less(factors: Factors, one: Expr) -> Factors:
    k = factors.index(one)
    return factors[:k] + factors[k + 1 :]


def _collect(terms: Sequence[Term]) -> list[Term]:
    """Add the coefficients of equal terms; keep the order of first appearance."""
    found: dict[tuple[frozenset[tuple[Expr, int]], frozenset[tuple[Expr, int]]], Term] = {}
    for c, above, below in terms:
        key = (_multiset(above), _multiset(below))
        old = found.get(key)
        found[key] = (c, above, below) if old is None else (old[0] + c, old[1], old[2])
    return [t for t in found.values() if t[0]]


def _multiset(factors: Factors) -> frozenset[tuple[Expr, int]]:
    return frozenset((f, factors.count(f)) for f in factors)


def _sum(terms: Sequence[Term]) -> Expr:
    """The terms added up, the factors that all of them share taken out."""
    if not terms:
        return ZERO
    if len(terms) == 1:
        c, above, below = terms[0]
        product = _monomial_expr(c if c is UNIT else abs(c), above, below)
        return neg(product) if c < 0 else product
    shared_above = _shared([t[1] for t in terms])
    shared_below = _shared([t[2] for t in terms])
    scale = abs(terms[0][0]) if len({abs(t[0]) for t in terms}) == 1 else UNIT
    if scale == 1 and not shared_above and not shared_below:
        return _added(_ordered(terms))
    rest = [(c / scale, _without(n, shared_above), _without(d, shared_below)) for c, n, d in _ordered(terms)]
    inner = _added(rest)
    return _monomial_expr(scale, (*shared_above, inner), shared_below)


def _ordered(terms: Sequence[Term]) -> list[Term]:
    """Positive terms first, so that no sum begins with a minus."""
    return sorted(terms, key=lambda t: t[0] < 0)


def _added(terms: Sequence[Term]) -> Expr:
    total: Expr | None = None
    for c, above, below in terms:
        part = _monomial_expr(c if c is UNIT else abs(c), above, below)
        start = part if c > 0 else neg(part)
        total = start if total is None else add(total, part) if c > 0 else sub(total, part)
    assert total is not None
    return total


def _shared(lists: Sequence[Factors]) -> Factors:
    first, *others = lists
    shared: list[Expr] = []
    for f in first:
        if shared.count(f) < min(o.count(f) for o in (first, *others)):
            shared.append(f)
    return tuple(shared)


def _without(factors: Factors, gone: Factors) -> Factors:
    for f in gone:
        factors = _less(factors, f)
    return factors


def _number(c: Fraction) -> Expr:
    return const(int(c)) if c.denominator == 1 else const(float(c))


def _monomial_expr(c: Fraction, above: Factors, below: Factors) -> Expr:
    """``(scalars) * factors / divisors``: what does not depend on elements stands together and first."""
    scalar_above = [f for f in above if _is_scalar(f)]
    scalar_below = [f for f in below if _is_scalar(f)]
    simple = c is not UNIT and c.denominator != 1 and max(c.denominator, abs(c.numerator)) < 2**20 and Fraction(float(c)) != c
    scalar: Expr = _product([const(c.numerator) if simple else _number(c), *scalar_above])
    bottom = _product([*([const(c.denominator)] if simple else []), *scalar_below])
    if not is_number(bottom, 1):
        scalar = node("div", (scalar, bottom))
    result = _product([f for f in above if not _is_scalar(f)])
    for d in below:
        if not _is_scalar(d):
            result = node("div", (result, d))
    return mul(scalar, result)


@lru_cache(maxsize=4096)
def _is_scalar(e: Expr) -> bool:
    return not any(x.op in ("load", "axis", "draw", "reduce") for x in children_first(e))


def _product(factors: Sequence[Expr]) -> Expr:
    total: Expr = const(1)
    for f in factors:
        total = mul(total, f)
    return total


def matched(pattern: Expr, e: Expr, free: Sequence[Axis]) -> dict[Axis, Expr] | None:
    """What the ``free`` axes of ``pattern`` must be so that it equals ``e``; None if that cannot be."""
    found: dict[Axis, Expr] = {}

    def same(p: Expr, x: Expr) -> bool:
        if p.op == "axis" and p.value in free:
            return found.setdefault(p.value, x) is x
        if p.op != x.op or len(p.args) != len(x.args):
            return False
        if not p.args:
            return p is x
        return p.value == x.value and all(same(a, b) for a, b in zip(p.args, x.args, strict=True))

    return found if same(pattern, e) else None
