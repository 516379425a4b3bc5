"""Expressions printed in the grammar in which they are typed; what is printed parses back to the same meaning."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import sympy
from sympy.core.numbers import NumberSymbol
from sympy.core.relational import Relational
from sympy.logic.boolalg import BooleanAtom

from bpcompile.language.functions import FUNCTION_NAMES
from bpcompile.language.symbols import (
    Access,
    Draw,
    FloorDivide,
    Index,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    Maximum,
    Minimum,
    Modulo,
    Reduction,
    SizeOf,
    StopGradient,
    Where,
)

__all__ = ["to_text"]

# How tightly a printed form binds, as in Python.
OR, AND, NOT, COMPARE, ADD, MULTIPLY, UNARY, POWER, ATOM = range(9)


def to_text(expression: Any) -> str:
    """Return `expression` in the language's own grammar.

    Examples
    --------
    >>> x = Access("x", Index("n"), Index("i"))
    >>> to_text(x / (1 + sympy.exp(-x)))
    'x[n,i]/(1 + exp(-x[n,i]))'
    """
    return _print(expression)[0]


def _wrap(expression: Any, binding: int) -> str:
    text, tightness = _print(expression)
    return text if tightness >= binding else f"({text})"


def _call(name: str, *arguments: Any) -> tuple[str, int]:
    return f"{name}({', '.join(to_text(a) for a in arguments)})", ATOM


@singledispatch
def _print(expression: Any) -> tuple[str, int]:
    """The text of an expression, and how tightly it binds."""
    name = FUNCTION_NAMES.get(type(expression))
    if name is not None:
        return _call(name, *expression.args)
    return str(sympy.StrPrinter().doprint(expression)), OR  # foreign objects appear in error messages only


@_print.register
def _(expression: sympy.Symbol) -> tuple[str, int]:
    return expression.name, ATOM


@_print.register
def _(expression: sympy.Integer) -> tuple[str, int]:
    return str(int(expression)), UNARY if expression < 0 else ATOM


@_print.register
def _(expression: sympy.Rational) -> tuple[str, int]:
    return f"{expression.p}/{expression.q}", MULTIPLY


@_print.register
def _(expression: sympy.Float) -> tuple[str, int]:
    value = float(expression)
    return repr(value), UNARY if value < 0 else ATOM


@_print.register
def _(expression: NumberSymbol) -> tuple[str, int]:
    return ("exp(1)" if expression is sympy.E else str(expression)), ATOM


@_print.register(type(sympy.oo))
def _(_expression: Any) -> tuple[str, int]:
    return "inf", ATOM


@_print.register(type(-sympy.oo))
def _(_expression: Any) -> tuple[str, int]:
    return "-inf", UNARY


def _negated(term: sympy.Expr) -> sympy.Expr | None:
    """What stands after the minus sign, if `term` prints with one."""
    if isinstance(term, sympy.Number) and term.is_negative:
        return -term
    if not isinstance(term, sympy.Mul) or not isinstance(term.args[0], sympy.Number) or not term.args[0].is_negative:
        return None
    head, rest = term.args[0], term.args[1:]
    factors = rest if head == -1 else (-head, *rest)
    return factors[0] if len(factors) == 1 else sympy.Mul(*factors, evaluate=False)


@_print.register
def _(expression: sympy.Add) -> tuple[str, int]:
    terms = list(expression.args)
    if isinstance(terms[0], sympy.Number) and terms[0].is_negative:  # SymPy sorts numbers to the front: 'i - 1' reads better
        terms = [*terms[1:], terms[0]]
    text = _wrap(terms[0], ADD)
    for term in terms[1:]:
        positive = _negated(term)
        text += f" + {_wrap(term, MULTIPLY)}" if positive is None else f" - {_wrap(positive, MULTIPLY)}"
    return text, ADD


@_print.register
def _(expression: sympy.Mul) -> tuple[str, int]:
    head, *rest = expression.args
    if head == -1 and isinstance(head, sympy.Integer):
        inner = rest[0] if len(rest) == 1 else sympy.Mul(*rest, evaluate=False)
        return f"-{_wrap(inner, UNARY)}", UNARY
    if isinstance(head, sympy.Rational) and head.q != 1:  # SymPy's x/2 is Mul(1/2, x)
        rest.append(sympy.Pow(sympy.Integer(head.q), -1, evaluate=False))
        head = sympy.Integer(head.p)
        if head == 1 and not _is_inverse(rest[0]):
            head = rest.pop(0)
    text = _wrap(head, MULTIPLY)
    for factor in rest:
        text += f"/{_wrap(factor.base, UNARY)}" if _is_inverse(factor) else f"*{_wrap(factor, UNARY)}"
    return text, MULTIPLY


def _is_inverse(factor: sympy.Expr) -> bool:
    return isinstance(factor, sympy.Pow) and bool(factor.exp == -1)


@_print.register
def _(expression: sympy.Pow) -> tuple[str, int]:
    base, exponent = expression.args
    if exponent == sympy.Rational(1, 2):
        return _call("sqrt", base)
    if exponent == -1:
        return f"1/{_wrap(base, UNARY)}", MULTIPLY
    return f"{_wrap(base, ATOM)}**{_wrap(exponent, POWER)}", POWER


@_print.register
def _(expression: Access) -> tuple[str, int]:
    inside = ",".join(to_text(s) for s in expression.subscripts)
    return f"{expression.tensor}[{inside}]" if inside else expression.tensor, ATOM


@_print.register
def _(expression: Reduction) -> tuple[str, int]:
    return _call(expression.kind, expression.body, *expression.indices)


@_print.register
def _(expression: SizeOf) -> tuple[str, int]:
    return _call("size", expression.index)


@_print.register
def _(expression: Draw) -> tuple[str, int]:
    return _call(expression.kind, *expression.parameters)


@_print.register
def _(expression: Where) -> tuple[str, int]:
    return _call("where", *expression.args)


@_print.register
def _(expression: StopGradient) -> tuple[str, int]:
    return _call("stop_gradient", *expression.args)


@_print.register
def _(expression: FloorDivide) -> tuple[str, int]:
    a, b = expression.args
    return f"{_wrap(a, MULTIPLY)}//{_wrap(b, UNARY)}", MULTIPLY


@_print.register
def _(expression: Modulo) -> tuple[str, int]:
    a, b = expression.args
    return f"{_wrap(a, MULTIPLY)}%{_wrap(b, UNARY)}", MULTIPLY


def _extremum(name: str, expression: sympy.Expr) -> tuple[str, int]:
    a, b = expression.args
    second = f"{b.name} + 0" if isinstance(b, Index) else to_text(b)  # a bare index would be read as one to run over
    return f"{name}({to_text(a)}, {second})", ATOM


@_print.register
def _(expression: Maximum) -> tuple[str, int]:
    return _extremum("max", expression)


@_print.register
def _(expression: Minimum) -> tuple[str, int]:
    return _extremum("min", expression)


@_print.register
def _(expression: LogicalAnd) -> tuple[str, int]:
    return " and ".join(_wrap(a, AND if k == 0 else NOT) for k, a in enumerate(expression.args)), AND


@_print.register
def _(expression: LogicalOr) -> tuple[str, int]:
    return " or ".join(_wrap(a, OR if k == 0 else AND) for k, a in enumerate(expression.args)), OR


@_print.register
def _(expression: LogicalNot) -> tuple[str, int]:
    return f"not {_wrap(expression.args[0], COMPARE)}", NOT


@_print.register
def _(expression: Relational) -> tuple[str, int]:
    a, b = expression.args
    return f"{_wrap(a, ADD)} {expression.rel_op} {_wrap(b, ADD)}", COMPARE


@_print.register
def _(expression: BooleanAtom) -> tuple[str, int]:
    return ("0 == 0" if expression == sympy.true else "0 != 0"), COMPARE
