"""Formulas in many digits: what the exact value and derivative are where floating point may be wrong.

mpmath (which SymPy brings along) computes the formula as it was typed, before any rewriting. A difference of values
that agree in all digits is not trusted: the point is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import mpmath

from bpcompile.nodes.expressions import Expr, children_first

Number = Any
DIGITS: Final = 420
"""Enough for ``log(1 + exp(-700))``, which is 1e-304."""


class Unknown(Exception):  # not an error of the user's: this point has no exact value to compare with
    """The exact value is not known: digits ran out, or the formula is not defined there."""


def exact_value(e: Expr, variables: Mapping[Expr, Number]) -> Number:
    """The value of an expression whose loads are given, in `DIGITS` digits.

    Raises
    ------
    Unknown
        If it cannot be told.
    """
    with mpmath.workdps(DIGITS):
        done: dict[Expr, Number] = {}
        for x in children_first(e):
            if x.op == "load":
                done[x] = mpmath.mpf(variables[x])
            elif x.op == "axis":
                done[x] = mpmath.mpf(0)  # the example's number: it stands in subscripts only
            elif x.op == "const":
                done[x] = x.value if isinstance(x.value, bool) else mpmath.mpf(x.value)
            else:
                done[x] = _operation(x, [done[a] for a in x.args])
        return done[e]


def exact_derivative(e: Expr, variables: Mapping[Expr, Number], by: Expr) -> Number:
    """The derivative by one variable, by differences in many digits.

    Raises
    ------
    Unknown
        At kinks and jumps, and where the value is not known.
    """
    with mpmath.workdps(DIGITS):
        x = mpmath.mpf(variables[by])
        step = mpmath.mpf(10) ** -90 * (abs(x) if x else 1)
        values = [exact_value(e, {**variables, by: x + k * step}) for k in (-1, 0, 1)]
        if not all(mpmath.isfinite(v) for v in values):
            raise Unknown
        if values[0] == values[1] == values[2] and x and exact_value(e, {**variables, by: x * 1.5}) != values[1]:
            raise Unknown  # it changes, by less than the digits show
        low, high = (values[1] - values[0]) / step, (values[2] - values[1]) / step
        if abs(low - high) > mpmath.mpf(10) ** -12 * max(abs(low), abs(high)):
            raise Unknown
        return (low + high) / 2


def _operation(e: Expr, a: list[Number]) -> Number:
    if e.op in ("add", "sub"):
        result = a[0] + a[1] if e.op == "add" else a[0] - a[1]
        if result == 0 and a[0] != 0 and any(x.op not in _PLAIN for x in children_first(e)):
            raise Unknown
        return result
    if e.op == "where":
        return a[1] if a[0] else a[2]
    function = _FUNCTIONS.get(e.op)
    if function is None:
        raise Unknown
    try:
        result = function(*a)
    except (ZeroDivisionError, ValueError, OverflowError, TypeError):
        raise Unknown from None
    if isinstance(result, mpmath.mpc):
        raise Unknown
    return result


def _divided(a: Number, b: Number) -> Number:
    if b == 0:
        raise Unknown
    return a / b


_PLAIN: Final = frozenset({"load", "const", "add", "sub", "neg", "abs", "mul", "max", "min"})
_FUNCTIONS: Final[dict[str, Callable[..., Number]]] = {
    "neg": lambda a: -a, "mul": lambda a, b: a * b, "div": _divided, "pow": mpmath.power, "stop": lambda a: a,
    "max": lambda a, b: a if a >= b else b, "min": lambda a, b: a if a <= b else b, "abs": abs,
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
    "and": lambda a, b: a and b, "or": lambda a, b: a or b, "not": lambda a: not a,
    "exp": mpmath.exp, "expm1": lambda x: mpmath.exp(x) - 1 if abs(x) > 1 else mpmath.expm1(x), "log": mpmath.log,
    "log1p": mpmath.log1p, "log2": lambda x: mpmath.log(x, 2), "log10": mpmath.log10, "sqrt": mpmath.sqrt,
    "sin": mpmath.sin, "cos": mpmath.cos, "tan": mpmath.tan, "asin": mpmath.asin, "acos": mpmath.acos, "atan": mpmath.atan,
    "atan2": mpmath.atan2, "sinh": mpmath.sinh, "cosh": mpmath.cosh, "tanh": mpmath.tanh, "asinh": mpmath.asinh,
    "acosh": mpmath.acosh, "atanh": mpmath.atanh, "erf": mpmath.erf, "erfc": mpmath.erfc, "gamma": mpmath.gamma,
    "lgamma": lambda x: mpmath.log(abs(mpmath.gamma(x))), "digamma": mpmath.digamma,
    "trigamma": lambda x: mpmath.polygamma(1, x), "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: (x if x > 0 else 0) + mpmath.log1p(mpmath.exp(-abs(x))), "sign": mpmath.sign,
    "floor": mpmath.floor, "ceil": mpmath.ceil, "round": mpmath.nint,
}  # fmt: skip
