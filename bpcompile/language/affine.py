"""Integer arithmetic on subscripts: their affine form, and the interval that a form can reach.

    2*i + p - 1   is   Affine(terms=(("i", 2), ("p", 1)), constant=-1)

Quotients and remainders by positive constants, and integer tensors, are atoms of such a form.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import sympy

from bpcompile.language.symbols import Access, FloorDivide, Index, LogicalAnd, LogicalNot, LogicalOr, Modulo, SizeOf
from bpcompile.language.text import to_text

__all__ = ["Affine", "Gather", "Interval", "NotAffineError", "Quotient", "Ranges", "Remainder", "affine", "facts_of",
           "interval"]  # fmt: skip

#: Least and greatest value; None where there is no bound.
Interval = tuple[int | None, int | None]


class NotAffineError(Exception):
    """An expression is no affine form of indices; the text says why."""


@dataclass(frozen=True)
class Affine:
    """``constant + sum(coefficient * atom)``; an atom is an index name, a `Quotient`, a `Remainder` or a `Gather`."""

    terms: tuple[tuple[Atom, int], ...]
    constant: int = 0

    def coefficient(self, atom: Atom) -> int:
        """The factor of an atom; 0 where it does not occur."""
        return dict(self.terms).get(atom, 0)


@dataclass(frozen=True)
class Quotient:
    """``form // divisor``."""

    form: Affine
    divisor: int


@dataclass(frozen=True)
class Remainder:
    """``form % divisor``."""

    form: Affine
    divisor: int


@dataclass(frozen=True)
class Gather:
    """An element of an integer tensor."""

    access: Access


Atom = str | Quotient | Remainder | Gather


@dataclass(frozen=True)
class Ranges:
    """What is known of the atoms: extents of indices, intervals of integer tensors, forms that are not negative."""

    extents: Mapping[str, int | None]
    tensors: Mapping[str, Interval] = field(default_factory=dict)
    facts: tuple[Affine, ...] = ()


def _combine(a: Affine, b: Affine, factor: int = 1) -> Affine:
    """``a + factor * b``."""
    terms = dict(a.terms)
    for atom, coefficient in b.terms:
        terms[atom] = terms.get(atom, 0) + factor * coefficient
    kept = sorted(((atom, c) for atom, c in terms.items() if c), key=lambda term: str(term[0]))
    return Affine(tuple(kept), a.constant + factor * b.constant)


def _constant(value: int) -> Affine:
    return Affine((), value)


@singledispatch
def affine(expression: Any, extents: Mapping[str, int | None]) -> Affine:  # noqa: ARG001
    """Return the affine form of an integer expression.

    Parameters
    ----------
    expression : sympy.Expr
        A subscript, or one side of a comparison.
    extents : mapping
        The extent of each index, for ``size(i)``.

    Raises
    ------
    NotAffineError
        If it has none.
    """
    raise NotAffineError(f"'{to_text(expression)}' is not made of indices and integers by + - * // %")


@affine.register
def _(expression: sympy.Integer, _extents: Mapping[str, int | None]) -> Affine:
    return _constant(int(expression))


@affine.register
def _(expression: sympy.Float, _extents: Mapping[str, int | None]) -> Affine:
    raise NotAffineError(f"{to_text(expression)} is not an integer")


@affine.register
def _(expression: Index, _extents: Mapping[str, int | None]) -> Affine:
    return Affine(((expression.name, 1),))


@affine.register
def _(expression: SizeOf, extents: Mapping[str, int | None]) -> Affine:
    extent = extents.get(expression.index.name)
    if extent is None:
        raise NotAffineError(f"'{to_text(expression)}' is known only at run time")
    return _constant(extent)


@affine.register
def _(expression: Access, _extents: Mapping[str, int | None]) -> Affine:
    return Affine(((Gather(expression), 1),))


@affine.register
def _(expression: sympy.Add, extents: Mapping[str, int | None]) -> Affine:
    total = _constant(0)
    for argument in expression.args:
        total = _combine(total, affine(argument, extents))
    return total


@affine.register
def _(expression: sympy.Mul, extents: Mapping[str, int | None]) -> Affine:
    total = _constant(1)
    for argument in expression.args:
        factor = affine(argument, extents)
        if factor.terms and total.terms:
            raise NotAffineError(f"'{to_text(expression)}' multiplies indices with each other")
        total = _combine(_constant(0), factor, total.constant) if not total.terms else \
            _combine(_constant(0), total, factor.constant)  # fmt: skip
    return total


@affine.register
def _(expression: sympy.Pow, extents: Mapping[str, int | None]) -> Affine:
    if expression.exp == -1:
        raise NotAffineError("a subscript divides by //, not by /")
    base, exponent = affine(expression.base, extents), affine(expression.exp, extents)
    if base.terms or exponent.terms or not 0 <= exponent.constant <= 64:
        raise NotAffineError(f"'{to_text(expression)}' is a power")
    return _constant(base.constant**exponent.constant)


def _divisor(expression: Any, extents: Mapping[str, int | None]) -> tuple[Affine, int]:
    form, divisor = (affine(a, extents) for a in expression.args)
    if divisor.terms or divisor.constant < 1:
        raise NotAffineError(f"'{to_text(expression)}' does not divide by a positive constant")
    return form, divisor.constant


@affine.register
def _(expression: FloorDivide, extents: Mapping[str, int | None]) -> Affine:
    form, divisor = _divisor(expression, extents)
    # (d*q + r) // d = q + r // d
    whole = Affine(tuple((a, c // divisor) for a, c in form.terms if c % divisor == 0), form.constant // divisor)
    rest = Affine(tuple((a, c) for a, c in form.terms if c % divisor), form.constant % divisor)
    return _combine(whole, Affine(((Quotient(rest, divisor), 1),))) if rest.terms else whole


@affine.register
def _(expression: Modulo, extents: Mapping[str, int | None]) -> Affine:
    form, divisor = _divisor(expression, extents)
    rest = Affine(tuple((a, c % divisor) for a, c in form.terms if c % divisor), form.constant % divisor)
    return Affine(((Remainder(rest, divisor), 1),)) if rest.terms else _constant(rest.constant)


# Intervals.


def interval(form: Affine, ranges: Ranges) -> Interval:
    """Return the least and greatest value that `form` can take; each fact ``f >= 0`` (and each pair) may narrow it."""
    low, high = _plain_interval(form, ranges)
    facts = [fact for fact in ranges.facts if _depth(fact) <= _depth(form)]  # so the recursion ends
    for count in (1, 2):
        for chosen in itertools.combinations(facts, count):
            less, more = form, form
            for fact in chosen:
                less, more = _combine(less, fact, -1), _combine(more, fact)
            low = _larger(low, _plain_interval(less, ranges)[0])
            high = _smaller(high, _plain_interval(more, ranges)[1])
    return low, high


def _depth(form: Affine) -> int:
    """How deep quotients and remainders are nested."""
    return max((1 + _depth(a.form) for a, _ in form.terms if isinstance(a, (Quotient, Remainder))), default=0)


def _larger(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)


def _smaller(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


def _plain_interval(form: Affine, ranges: Ranges) -> Interval:
    low: int | None = form.constant
    high: int | None = form.constant
    for atom, coefficient in form.terms:
        ends = _atom_interval(atom, ranges)
        least, greatest = ends if coefficient > 0 else (ends[1], ends[0])
        low = None if low is None or least is None else low + coefficient * least
        high = None if high is None or greatest is None else high + coefficient * greatest
    return low, high


def _atom_interval(atom: Atom, ranges: Ranges) -> Interval:
    if isinstance(atom, str):
        extent = ranges.extents.get(atom)
        return 0, None if extent is None else extent - 1
    if isinstance(atom, Gather):
        return ranges.tensors.get(atom.access.tensor, (None, None))
    low, high = interval(atom.form, ranges)
    if isinstance(atom, Quotient):
        return None if low is None else low // atom.divisor, None if high is None else high // atom.divisor
    inside = low is not None and high is not None and low >= 0 and high < atom.divisor
    return (low, high) if inside else (0, atom.divisor - 1)


# Facts: what a condition says about integer forms.

_NEGATED: dict[Any, Any] = {
    sympy.Lt: sympy.Ge,
    sympy.Ge: sympy.Lt,
    sympy.Gt: sympy.Le,
    sympy.Le: sympy.Gt,
    sympy.Eq: sympy.Ne,
    sympy.Ne: sympy.Eq,
}


def facts_of(condition: Any, extents: Mapping[str, int | None], holds: bool = True) -> tuple[Affine, ...]:
    """Return forms that are not negative where `condition` holds (or, with ``holds=False``, where it does not)."""
    if isinstance(condition, LogicalNot):
        return facts_of(condition.args[0], extents, not holds)
    if isinstance(condition, LogicalAnd if holds else LogicalOr):
        return tuple(f for argument in condition.args for f in facts_of(argument, extents, holds))
    kind = type(condition) if holds else _NEGATED.get(type(condition))
    if kind not in _NEGATED:
        return ()
    try:
        left, right = (affine(a, extents) for a in condition.args)
    except NotAffineError:
        return ()
    if kind in (sympy.Gt, sympy.Ge):
        left, right = right, left
    difference = _combine(right, left, -1)
    if kind in (sympy.Lt, sympy.Gt):
        return (_combine(difference, _constant(-1)),)
    if kind in (sympy.Le, sympy.Ge):
        return (difference,)
    if kind is sympy.Eq:
        return difference, _combine(left, right, -1)
    return _beside(difference, extents)


def _beside(difference: Affine, extents: Mapping[str, int | None]) -> tuple[Affine, ...]:
    """What is known of an index that is not its first (or not its last) value: ``t != 0`` is ``t - 1 >= 0``."""
    if len(difference.terms) != 1 or abs(difference.terms[0][1]) != 1:
        return ()
    name, factor = difference.terms[0]
    if not isinstance(name, str):
        return ()
    excluded, extent = -factor * difference.constant, extents.get(name)
    if excluded == 0:
        return (Affine(((name, 1),), -1),)
    return (Affine(((name, -1),), extent - 2),) if extent is not None and excluded == extent - 1 else ()
