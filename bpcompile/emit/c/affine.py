"""Integer expressions as affine forms and as intervals: strides of an access, and whether it stays in its tensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from bpcompile.nodes.expressions import Axis, Expr

Interval = tuple[int | None, int | None]
"""Least and greatest value; ``None`` where there is no bound."""


@dataclass(frozen=True, slots=True)
class Affine:
    """``constant + sum(factor * term)``; a term is an axis or an integer node that is not affine itself."""

    constant: int
    terms: tuple[tuple[Expr, int], ...] = ()

    def scaled(self, factor: int) -> Affine:
        """The form times a constant."""
        if factor == 0:
            return Affine(0)
        return Affine(self.constant * factor, tuple((t, c * factor) for t, c in self.terms))

    def plus(self, other: Affine) -> Affine:
        """The sum of two forms, terms in order of first appearance."""
        total: dict[Expr, int] = {}
        for term, factor in (*self.terms, *other.terms):
            total[term] = total.get(term, 0) + factor
        return Affine(self.constant + other.constant, tuple((t, c) for t, c in total.items() if c))

    def factor(self, axis: Axis) -> int:
        """What the value of an axis is multiplied by."""
        return next((c for t, c in self.terms if t.op == "axis" and t.value == axis), 0)


@lru_cache(maxsize=8192)
def affine(e: Expr) -> Affine:
    """The affine form of an integer expression."""
    if e.op == "const":
        return Affine(int(e.value))
    if e.op == "neg":
        return affine(e.args[0]).scaled(-1)
    if e.op in ("add", "sub"):
        return affine(e.args[0]).plus(affine(e.args[1]).scaled(1 if e.op == "add" else -1))
    if e.op == "mul":
        left, right = affine(e.args[0]), affine(e.args[1])
        if not left.terms:
            return right.scaled(left.constant)
        if not right.terms:
            return left.scaled(right.constant)
    return Affine(0, ((e, 1),))


def interval(e: Expr) -> Interval:
    """Bounds of an integer expression; nothing is assumed of what tensors hold."""
    if e.op == "const":
        return int(e.value), int(e.value)
    if e.op == "axis":
        return 0, None if e.value.extent is None else e.value.extent - 1
    if e.op == "size":
        return 1, None
    if e.op in ("add", "sub", "neg", "mul"):
        return _affine_interval(affine(e))
    bounds = [interval(a) for a in e.args] if e.kind == "int" else []
    if e.op == "where":
        return _hull(interval(e.args[1]), interval(e.args[2]))
    if e.op in ("min", "max"):
        return _extreme(e.op, bounds[0], bounds[1])
    if e.op == "sign":
        return -1, 1
    if e.op in ("floordiv", "mod") and bounds and bounds[1][0] == bounds[1][1] and (bounds[1][0] or 0) > 0:
        return _division(e.op, bounds[0], bounds[1][0] or 1)
    return None, None


def inside(subscript: Expr, extent: int | None) -> bool:
    """True if a subscript provably lies in ``0 .. extent - 1`` (``None``: the batch, whose axis spans it)."""
    if extent is None:
        return subscript.op == "axis" and subscript.value.extent is None
    low, high = interval(subscript)
    return low is not None and low >= 0 and high is not None and high < extent


def _affine_interval(form: Affine) -> Interval:
    low: int | None = form.constant
    high: int | None = form.constant
    for term, factor in form.terms:
        first, last = interval(term) if term.op not in ("mul",) else _product(term)
        if factor < 0:
            first, last = last, first
        low = None if low is None or first is None else low + factor * first
        high = None if high is None or last is None else high + factor * last
    return low, high


def _product(e: Expr) -> Interval:
    (a, b), (c, d) = interval(e.args[0]), interval(e.args[1])
    if a is None or b is None or c is None or d is None:
        return None, None
    corners = (a * c, a * d, b * c, b * d)
    return min(corners), max(corners)


def _hull(a: Interval, b: Interval) -> Interval:
    low = None if a[0] is None or b[0] is None else min(a[0], b[0])
    high = None if a[1] is None or b[1] is None else max(a[1], b[1])
    return low, high


def _extreme(op: str, a: Interval, b: Interval) -> Interval:
    if op == "max":
        lows = [x for x in (a[0], b[0]) if x is not None]
        return max(lows, default=None), None if a[1] is None or b[1] is None else max(a[1], b[1])
    highs = [x for x in (a[1], b[1]) if x is not None]
    return None if a[0] is None or b[0] is None else min(a[0], b[0]), min(highs, default=None)


def _division(op: str, a: Interval, divisor: int) -> Interval:
    if op == "mod":
        within = a[0] is not None and a[1] is not None and a[0] >= 0 and a[1] < divisor
        return a if within else (0, divisor - 1)
    return None if a[0] is None else a[0] // divisor, None if a[1] is None else a[1] // divisor
