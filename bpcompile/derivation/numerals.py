"""Numbers and index letters, laid out: exact, as small fractions, or by the formula that they are known by."""

from __future__ import annotations

import math
from fractions import Fraction as Ratio
from typing import Final

from bpcompile.derivation.names import letters
from bpcompile.derivation.notation import (
    Fraction,
    Notation,
    Number,
    Operator,
    Root,
    Script,
    Symbol,
    Words,
    row,
)
from bpcompile.nodes.expressions import Axis

SUM, BIG, PRODUCT, POWER, ATOM = 1, 2, 3, 5, 6
"""How strongly a formula holds together, from sums to atoms."""

Laid = tuple[Notation, int]

_NUMBERS: Final[tuple[tuple[float, Notation], ...]] = (
    (math.pi, Symbol("π")),
    (math.sqrt(2), Root(Number("2"))),
    (math.sqrt(2 / math.pi), Root(Fraction(Number("2"), Symbol("π")))),
    (2 / math.sqrt(math.pi), Fraction(Number("2"), Root(Symbol("π")))),
    (-2 / math.sqrt(math.pi), row(Operator("−", "plain"), Fraction(Number("2"), Root(Symbol("π"))))),
    (1 / math.sqrt(math.pi), Fraction(Number("1"), Root(Symbol("π")))),
    (0.5 * (2 / math.sqrt(math.pi)), Fraction(Number("1"), Root(Symbol("π")))),
    (math.log(2), row(Symbol("log", "upright"), Number("2"))),
    (1 / math.log(2), Fraction(Number("1"), row(Symbol("log", "upright"), Number("2")))),
    (1 / math.log(10), Fraction(Number("1"), row(Symbol("log", "upright"), Number("10")))),
)
"""Numbers that are known by a formula."""


def number(value: float | int | bool) -> Laid:
    """A number: exactly, as a small fraction or by its formula where it has one."""
    if isinstance(value, bool):
        return Words("true" if value else "false"), ATOM
    if value != value:
        return Words("NaN"), ATOM
    if math.isinf(value):
        return (Symbol("∞"), ATOM) if value > 0 else (row(Operator("−", "plain"), Symbol("∞")), SUM)
    for known, formula in _NUMBERS:
        if value == known:
            return formula, PRODUCT
    if value < 0:
        return row(Operator("−", "plain"), number(-value)[0]), SUM
    if value == int(value) and value < 1e15:
        return Number(str(int(value))), ATOM
    ratio = Ratio(value)
    if 1 < ratio.denominator <= 16 or (abs(ratio.numerator) < 4 and ratio.denominator <= 4096):
        return Fraction(Number(str(ratio.numerator)), Number(str(ratio.denominator))), ATOM
    text = repr(float(value))
    if "e" not in text:
        return Number(text), ATOM
    digits, _, exponent = text.partition("e")
    return row(Number(digits), Operator("·"), Script(Number("10"), None, number(int(exponent))[0])), PRODUCT


def axis_symbol(a: Axis) -> Notation:
    """The letter of an index."""
    primes = len(a.name) - len(a.name.rstrip("'"))
    name = a.name.rstrip("'")
    letter = letters(name) if name != "l" else Symbol("l")
    return Script(letter, None, Symbol("′" * primes)) if primes else letter


def extent_symbol(a: Axis) -> Notation:
    """How many values an index has: its number, or its capital letter."""
    return Number(str(a.extent)) if a.extent is not None else letters(a.name.upper())
