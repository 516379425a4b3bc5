"""Foreign SymPy objects are admitted to the language: rewritten to its own nodes where they mean the same, refused elsewhere.

This is the door for equations that are given as objects. Text comes in through `parser`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy
from sympy.core.numbers import NumberSymbol
from sympy.core.relational import Relational
from sympy.core.symbol import Str
from sympy.logic.boolalg import ITE, BooleanAtom

from bpcompile.errors import LanguageError
from bpcompile.language import functions, symbols
from bpcompile.language.rewrite import rebuild
from bpcompile.language.symbols import (
    TRAINING,
    FloorDivide,
    Index,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    Maximum,
    Minimum,
    Modulo,
    SizeOf,
    Where,
)

__all__ = ["admit"]

_OWN = (
    symbols.Access,
    symbols.Reduction,
    symbols.SizeOf,
    symbols.Draw,
    symbols.Where,
    symbols.StopGradient,
    symbols.FloorDivide,
    symbols.Modulo,
    symbols.Maximum,
    symbols.Minimum,
    LogicalAnd,
    LogicalOr,
    LogicalNot,
    Relational,
    sympy.Add,
    sympy.Mul,
    sympy.Pow,
)


def admit(expression: sympy.Basic) -> sympy.Basic:
    """Return `expression` in the language's own nodes.

    Raises
    ------
    LanguageError
        For what has no meaning in the language: plain symbols, complex numbers, integrals, matrices, ...
    """
    if isinstance(expression, (Str, Index, BooleanAtom)) or expression == TRAINING:
        return expression
    if isinstance(expression, (sympy.Number, NumberSymbol)) and expression.is_extended_real:
        return expression
    if isinstance(expression, sympy.Symbol):
        raise LanguageError(
            f"Symbol '{expression.name}' is neither an index nor a tensor.",
            hint=f'Write bp.Index("{expression.name}") or bp.Tensor("{expression.name}").',
        )
    if isinstance(expression, sympy.Sum):
        raise LanguageError(f"{expression} is SymPy's Sum.", hint="Write bp.sum(body, i), over an index.")
    meaning = _MEANINGS.get(type(expression))
    arguments = tuple(_admit_pair(a) if isinstance(a, sympy.Tuple) else admit(a) for a in expression.args)
    if meaning is not None:
        result: sympy.Basic = meaning(*arguments)
        return result
    if isinstance(expression, _OWN) or type(expression) in functions.FUNCTION_NAMES:
        return rebuild(expression, arguments)
    raise LanguageError(
        f"'{expression}' ({type(expression).__name__}) has no meaning in an equation.",
        hint=f"Build it from {', '.join(functions.FUNCTIONS)}, max, min, where and arithmetic.",
    )


def _admit_pair(pair: sympy.Tuple) -> sympy.Tuple:
    return sympy.Tuple(*(admit(a) for a in pair.args))


def _fold(pairwise: Any) -> Callable[..., Any]:
    def folded(first: Any, *rest: Any) -> Any:
        for argument in rest:
            first = pairwise(first, argument)
        return first

    return folded


def _piecewise(*pieces: Any) -> Any:
    *guarded, (value, condition) = (piece.args for piece in pieces)
    if condition != sympy.true:
        raise LanguageError("A Piecewise has no value where none of its conditions holds.", hint="End it with (value, True).")
    for other, guard in reversed(guarded):
        value = Where(guard, other, value)
    return value


def _floor(x: Any) -> Any:
    """SymPy writes ``i // 2`` as ``floor(i/2)``; over integers that is a division of the language."""
    numerator, denominator = sympy.fraction(sympy.together(x)) if _is_rational(x) else (x, sympy.Integer(1))
    if denominator == 1:
        return sympy.floor(x, evaluate=False)
    return FloorDivide(numerator, denominator)


def _is_rational(x: Any) -> bool:
    if isinstance(x, (Index, SizeOf, sympy.Rational)):
        return True
    return isinstance(x, (sympy.Add, sympy.Mul, sympy.Pow)) and all(_is_rational(a) for a in x.args)


def _polygamma(order: Any, x: Any) -> Any:
    if order == 0:
        return functions.digamma(x)
    if order == 1:
        return functions.trigamma(x)
    raise LanguageError(f"The polygamma function of order {order} is not in the language; orders 0 and 1 are.")


def _inverse(x: Any) -> Any:
    return sympy.Pow(x, -1, evaluate=False)


def _step(x: Any, at_zero: Any = None) -> Any:
    at_zero = sympy.Rational(1, 2) if at_zero is None else at_zero
    return Where(sympy.Gt(x, 0, evaluate=False), 1, Where(sympy.Eq(x, 0, evaluate=False), at_zero, 0))


# SymPy's class: what it means here, given its admitted arguments.
_MEANINGS: dict[Any, Callable[..., Any]] = {
    sympy.Max: _fold(Maximum),
    sympy.Min: _fold(Minimum),
    sympy.And: _fold(LogicalAnd),
    sympy.Or: _fold(LogicalOr),
    sympy.Not: LogicalNot,
    ITE: lambda c, a, b: LogicalOr(LogicalAnd(c, a), LogicalAnd(LogicalNot(c), b)),
    sympy.Piecewise: _piecewise,
    sympy.functions.elementary.piecewise.ExprCondPair: lambda value, condition: sympy.Tuple(value, condition),
    sympy.Mod: Modulo,
    sympy.floor: _floor,
    sympy.frac: lambda x: x - sympy.floor(x, evaluate=False),
    sympy.polygamma: _polygamma,
    sympy.factorial: lambda x: sympy.gamma(x + 1, evaluate=False),
    sympy.Heaviside: _step,
    sympy.KroneckerDelta: lambda i, j, *_: Where(sympy.Eq(i, j, evaluate=False), 1, 0),
    sympy.sinc: lambda x: Where(sympy.Eq(x, 0, evaluate=False), 1, sympy.sin(x) / x),
    sympy.sec: lambda x: _inverse(sympy.cos(x)),
    sympy.csc: lambda x: _inverse(sympy.sin(x)),
    sympy.cot: lambda x: _inverse(sympy.tan(x)),
    sympy.sech: lambda x: _inverse(sympy.cosh(x)),
    sympy.csch: lambda x: _inverse(sympy.sinh(x)),
    sympy.coth: lambda x: _inverse(sympy.tanh(x)),
}
