"""Expressions become functions of a machine that gives indices, elements and draws: one row a node."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import mpmath
import numpy as np
import sympy
from sympy.core.numbers import NumberSymbol

from bpcompile.language import functions, symbols
from tests.oracle.scalars import SCALARS, Number, is_nan

__all__ = ["Closure", "Machine", "closure"]


@dataclass
class Machine:
    """One run: the arrays so far, and how numbers are made."""

    extents: Mapping[str, int]
    read: Callable[[str, tuple[int, ...]], Number]
    draw: Callable[[str, int, Mapping[str, int], tuple[Number, ...]], Number]
    training: bool
    exact: bool
    indices: dict[str, int] = field(default_factory=dict)


Closure = Callable[[Machine], Number]


@singledispatch
def closure(expression: Any) -> Closure:
    """The function that computes an expression; scalar functions are rows of `SCALARS`."""
    name = functions.FUNCTION_NAMES[type(expression)]
    arguments = [closure(a) for a in expression.args]
    plain, exact = SCALARS[name]
    return lambda m: (exact if m.exact else plain)(*(a(m) for a in arguments))


@closure.register
def _(expression: sympy.Rational) -> Closure:
    p, q = int(expression.p), int(expression.q)
    return (lambda m: p) if q == 1 else lambda m: mpmath.mpf(p) / q if m.exact else p / q


@closure.register
def _(expression: sympy.Float) -> Closure:
    value = float(expression)
    return lambda m: mpmath.mpf(value) if m.exact else value


@closure.register
def _(expression: NumberSymbol) -> Closure:
    return lambda m: mpmath.mpf(expression.evalf(mpmath.mp.dps + 5)) if m.exact else float(expression)


@closure.register(type(sympy.oo))
def _(expression: Any) -> Closure:
    return lambda m: mpmath.inf if m.exact else math.inf


@closure.register(type(-sympy.oo))
def _(expression: Any) -> Closure:
    return lambda m: -mpmath.inf if m.exact else -math.inf


@closure.register
def _(expression: symbols.Index) -> Closure:
    return lambda m: m.indices[expression.name]


@closure.register
def _(expression: symbols.SizeOf) -> Closure:
    return lambda m: m.extents[expression.index.name]


@closure.register
def _(expression: symbols.Access) -> Closure:
    subscripts = [closure(s) for s in expression.subscripts]
    name = expression.tensor
    return lambda m: m.read(name, tuple(int(s(m)) for s in subscripts))


@closure.register
def _(expression: sympy.Add) -> Closure:
    terms = [closure(a) for a in expression.args]
    return lambda m: _total([t(m) for t in terms])


def _total(values: list[Number]) -> Number:
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result


@closure.register
def _(expression: sympy.Mul) -> Closure:
    factors = [(closure(a.base), True) if isinstance(a, sympy.Pow) and a.exp == -1 else (closure(a), False)
               for a in expression.args]  # fmt: skip

    def product(m: Machine) -> Number:
        result: Number = 1
        for factor, inverse in factors:
            value = factor(m)
            result = _divide(result, value, m) if inverse else result * value
        return result

    return product


def _divide(a: Number, b: Number, m: Machine) -> Number:
    if m.exact:
        return mpmath.mpf(a) / b if b else mpmath.nan
    with np.errstate(all="ignore"):
        return float(np.float64(a) / np.float64(b))


@closure.register
def _(expression: sympy.Pow) -> Closure:
    base, exponent = closure(expression.base), closure(expression.exp)

    def power(m: Machine) -> Number:
        a, b = base(m), exponent(m)
        if m.exact:
            return mpmath.power(a, b)
        if isinstance(a, int) and isinstance(b, int) and b >= 0:
            return a**b
        with np.errstate(all="ignore"):
            return float(np.power(np.float64(a), np.float64(b)))

    return power


@closure.register
def _(expression: symbols.FloorDivide) -> Closure:
    a, b = (closure(x) for x in expression.args)
    return lambda m: mpmath.floor(a(m) / mpmath.mpf(b(m))) if m.exact else a(m) // b(m)


@closure.register
def _(expression: symbols.Modulo) -> Closure:
    a, b = (closure(x) for x in expression.args)
    return lambda m: a(m) % b(m)


def _greatest(values: list[Number]) -> Number:
    best = values[0]
    for value in values[1:]:
        if not is_nan(best) and (is_nan(value) or value > best):
            best = value
    return best


def _least(values: list[Number]) -> Number:
    return -_greatest([-v for v in values])


@closure.register
def _(expression: symbols.Maximum) -> Closure:
    a, b = (closure(x) for x in expression.args)
    return lambda m: _greatest([a(m), b(m)])


@closure.register
def _(expression: symbols.Minimum) -> Closure:
    a, b = (closure(x) for x in expression.args)
    return lambda m: _least([a(m), b(m)])


@closure.register
def _(expression: symbols.Where) -> Closure:
    condition, a, b = (closure(x) for x in expression.args)
    return lambda m: a(m) if condition(m) else b(m)


@closure.register
def _(expression: symbols.StopGradient) -> Closure:
    return closure(expression.args[0])


@closure.register
def _(expression: symbols.Draw) -> Closure:
    parameters = [closure(p) for p in expression.parameters]
    kind, occurrence = expression.kind, expression.occurrence
    return lambda m: m.draw(kind, occurrence, dict(m.indices), tuple(p(m) for p in parameters))


@closure.register
def _(expression: symbols.Reduction) -> Closure:
    body = closure(expression.body)
    names = [i.name for i in expression.indices]
    reduce = _REDUCE[expression.kind]

    def reduced(m: Machine) -> Number:
        values = []
        for place in itertools.product(*(range(m.extents[name]) for name in names)):
            m.indices.update(zip(names, place, strict=True))
            values.append(body(m))
        for name in names:
            m.indices.pop(name)
        return reduce(values)

    return reduced


_REDUCE: dict[str, Callable[[list[Number]], Number]] = {
    "sum": _total,
    "mean": lambda values: _total(values) / len(values),
    "max": _greatest,
    "min": _least,
    "argmax": lambda values: next(k for k, v in enumerate(values) if is_nan(v) or v == _greatest(values)),
    "argmin": lambda values: next(k for k, v in enumerate(values) if is_nan(v) or v == _least(values)),
}


@closure.register
def _(expression: symbols.LogicalAnd) -> Closure:
    a, b = (closure(x) for x in expression.args)
    return lambda m: a(m) and b(m)


@closure.register
def _(expression: symbols.LogicalOr) -> Closure:
    a, b = (closure(x) for x in expression.args)
    return lambda m: a(m) or b(m)


@closure.register
def _(expression: symbols.LogicalNot) -> Closure:
    a = closure(expression.args[0])
    return lambda m: not a(m)


@closure.register(type(sympy.true))
def _(expression: Any) -> Closure:
    return lambda m: True


@closure.register(type(sympy.false))
def _(expression: Any) -> Closure:
    return lambda m: False


@closure.register(type(symbols.TRAINING))
def _(expression: Any) -> Closure:
    return lambda m: m.training


_COMPARE: dict[str, Callable[[Number, Number], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


@closure.register
def _(expression: sympy.core.relational.Relational) -> Closure:
    a, b = (closure(x) for x in expression.args)
    compare = _COMPARE[expression.rel_op]
    return lambda m: compare(a(m), b(m))
