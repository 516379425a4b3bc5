"""Integer expressions as subscripts: intervals, affine form, and the simplification of ``//`` and ``%``.

An affine form is ``constant + sum(coefficient * term)`` where a term is an axis, or an integer expression that is not
affine itself (``i // 4``, ``token[n, t]``). It is the normal form of subscripts: two subscripts are equal if their forms
are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Final

from bpcompile.nodes.expressions import Expr, const, node

Interval = tuple[float, float]
UNBOUNDED: Final[Interval] = (float("-inf"), float("inf"))


@dataclass(frozen=True, slots=True)
class Affine:
    """``constant + sum(coefficient * term)``; the terms are in order of first appearance, no coefficient is zero."""

    constant: int
    terms: tuple[tuple[Expr, int], ...]

    def coefficient(self, term: Expr) -> int:
        """The coefficient of a term (0 where it does not occur)."""
        return next((c for t, c in self.terms if t is term), 0)

    def without(self, term: Expr) -> Affine:
        """The form with one term left out."""
        return Affine(self.constant, tuple(t for t in self.terms if t[0] is not term))


def _combined(left: Affine, right: Affine, factor: int) -> Affine:
    terms = dict(left.terms)
    for term, coefficient in right.terms:
        terms[term] = terms.get(term, 0) + factor * coefficient
    return Affine(left.constant + factor * right.constant, tuple((t, c) for t, c in terms.items() if c))


@lru_cache(maxsize=8192)
def affine(e: Expr) -> Affine:
    """The affine form of an integer expression."""
    if e.op == "const" and e.kind == "int":
        return Affine(int(e.value), ())
    if e.op in ("add", "sub"):
        return _combined(affine(e.args[0]), affine(e.args[1]), 1 if e.op == "add" else -1)
    if e.op == "neg":
        return _combined(Affine(0, ()), affine(e.args[0]), -1)
    if e.op == "mul":
        left, right = affine(e.args[0]), affine(e.args[1])
        if not left.terms:
            return _combined(Affine(0, ()), right, left.constant)
        if not right.terms:
            return _combined(Affine(0, ()), left, right.constant)
    return Affine(0, ((e, 1),))


def from_affine(form: Affine) -> Expr:
    """The expression of an affine form: terms first, then the constant."""
    total: Expr | None = None
    for term, coefficient in form.terms:
        part = term if abs(coefficient) == 1 else node("mul", (const(abs(coefficient)), term))
        if total is None:
            total = part if coefficient > 0 else node("neg", (part,))
        else:
            total = node("add" if coefficient > 0 else "sub", (total, part))
    if total is None:
        return const(form.constant)
    if form.constant:
        total = node("add" if form.constant > 0 else "sub", (total, const(abs(form.constant))))
    return total


def interval(e: Expr, known: Mapping[Expr, Interval] | None = None) -> Interval:
    """Bounds (inclusive) of an integer expression over all values of its axes; ``known`` narrows nodes."""
    if known and e in known:
        return known[e]
    if e.op == "const":
        return (e.value, e.value)
    if e.op == "axis":
        extent = e.value.extent
        return (0, float("inf") if extent is None else extent - 1)
    if e.op == "size":
        return (1, float("inf"))
    if e.op == "floordiv" and _positive_constant(e.args[1]):
        low, high = interval(e.args[0], known)
        return (low // e.args[1].value, high // e.args[1].value if high != float("inf") else high)
    if e.op == "mod" and _positive_constant(e.args[1]):
        low, high = interval(e.args[0], known)
        return (low, high) if low >= 0 and high < e.args[1].value else (0, e.args[1].value - 1)
    if e.op in ("min", "max"):
        left, right = (interval(x, known) for x in e.args)
        pick = min if e.op == "min" else max
        return (pick(left[0], right[0]), pick(left[1], right[1]))
    if e.op == "where":
        left, right = interval(e.args[1], known), interval(e.args[2], known)
        return (min(left[0], right[0]), max(left[1], right[1]))
    if e.op in ("add", "sub", "neg", "mul"):
        form = affine(e)
        if form.terms != ((e, 1),):
            total_low = total_high = float(form.constant)
            for term, coefficient in form.terms:
                a, b = interval(term, known)
                total_low += coefficient * (a if coefficient > 0 else b)
                total_high += coefficient * (b if coefficient > 0 else a)
            return (total_low, total_high)
    return UNBOUNDED


def _positive_constant(e: Expr) -> bool:
    return e.op == "const" and e.kind == "int" and e.value > 0


def simplify_integer(e: Expr, known: Mapping[Expr, Interval] | None = None) -> Expr:
    """Normalize an integer expression.

    Affine parts are merged, ``(c*k*a + b) // c`` becomes ``k*a + b // c``, ``b % c`` becomes ``b`` where its bounds allow.
    """
    if e.kind != "int" or e.op in ("axis", "const", "size"):
        return e
    args = tuple(simplify_integer(a, known) if a.kind == "int" else a for a in e.args)
    e = e if args == e.args else node(e.op, args, e.value)
    if e.op in ("add", "sub", "neg", "mul"):
        return from_affine(_joined_digits(affine(e)))
    if e.op in ("floordiv", "mod") and _positive_constant(e.args[1]):
        return _divided(e.op, affine(e.args[0]), int(e.args[1].value), known)
    return e


def _joined_digits(form: Affine) -> Affine:
    """``c*(f // c) + f % c`` as ``f``."""
    for term, factor in form.terms:
        if term.op == "mod" and _positive_constant(term.args[1]):
            high = node("floordiv", term.args)
            if form.coefficient(high) == factor * term.args[1].value:
                return _joined_digits(_combined(form.without(term).without(high), affine(term.args[0]), factor))
    return form


def _divided(op: str, form: Affine, divisor: int, known: Mapping[Expr, Interval] | None) -> Expr:
    """``form // divisor`` or ``form % divisor``, the multiples of the divisor taken out first."""
    whole = Affine(form.constant // divisor, tuple((t, c // divisor) for t, c in form.terms if c % divisor == 0))
    rest = Affine(form.constant % divisor, tuple((t, c) for t, c in form.terms if c % divisor))
    low, high = interval(from_affine(rest), known)
    inside = low >= 0 and high < divisor
    if op == "mod":
        if inside:
            return from_affine(rest)
        common = _common_factor(rest, divisor, known)
        if common == 1:
            return node("mod", (from_affine(rest), const(divisor)))
        # (g*x + b) % (g*k) = g*(x % k) + b where 0 <= b < g
        coarse = Affine(rest.constant // common, tuple((t, c // common) for t, c in rest.terms if c % common == 0))
        fine = Affine(rest.constant % common, tuple((t, c) for t, c in rest.terms if c % common))
        digit = affine(_divided("mod", coarse, divisor // common, known))
        return from_affine(_combined(fine, digit, common))
    if inside:
        return from_affine(whole)
    common = _common_factor(rest, divisor, known)
    if common > 1:
        # (g*x + b) // (g*k) = x // k where 0 <= b < g
        coarse = Affine(rest.constant // common, tuple((t, c // common) for t, c in rest.terms if c % common == 0))
        quotient = _divided("floordiv", coarse, divisor // common, known)
        return from_affine(_combined(whole, affine(quotient), 1))
    quotient = node("floordiv", (from_affine(rest), const(divisor)))
    return from_affine(_combined(whole, Affine(0, ((quotient, 1),)), 1))


def _common_factor(form: Affine, divisor: int, known: Mapping[Expr, Interval] | None) -> int:
    """The largest proper factor g of the divisor so that the terms that are no multiples of g stay within 0 .. g-1."""
    for g in sorted({gcd(abs(c), divisor) for _, c in form.terms}, reverse=True):
        small = Affine(form.constant % g, tuple((t, c) for t, c in form.terms if c % g))
        low, high = interval(from_affine(small), known)
        if 1 < g < divisor and low >= 0 and high < g:
            return g
    return 1
