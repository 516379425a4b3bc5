"""The derivative of every scalar operation, one row each.

A row gives, for ``y = op(a, b, ...)``, the contribution ``y_bar * dy/da`` to each argument. Derivatives are written with the
function's own value ``y`` where that is shorter or safer. Sources: Abramowitz and Stegun, chapters 4, 6 and 7; kinks have
the conventions of `KINKS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from bpcompile.calculus.algebra import add, div, mul, neg, select, sub
from bpcompile.nodes.expressions import Expr, const, node

Row = Callable[[Expr, Expr, tuple[Expr, ...]], tuple[Expr | None, ...]]
"""From the adjoint g of y, y itself and the arguments to the contributions (None: no gradient flows there)."""

KINKS: Final[dict[str, str]] = {
    "abs": r"the derivative of |x| at 0 is 0",
    "max": r"of equal arguments the first one gets the gradient of max; relu'(0) = 0",
    "min": r"of equal arguments the first one gets the gradient of min",
    "sign": r"sign, floor, ceil and round have derivative 0 everywhere",
    "sqrt": r"the derivative of \sqrt{x} at 0 is infinite",
}
"""The conventions at points where a function has no derivative."""


def _f(name: str, *args: Expr) -> Expr:
    return node(name, args)


def _one_minus(x: Expr) -> Expr:
    return sub(const(1), x)


def _square(x: Expr) -> Expr:
    return mul(x, x)


def _power(g: Expr, y: Expr, a: tuple[Expr, ...]) -> tuple[Expr | None, ...]:
    """``d x**p = p x**(p-1)``; ``d/dp x**p = x**p log x``, and 0 where x is 0 (the limit for p > 0)."""
    x, p = a
    if p.op == "const":
        if p.value == 2:
            return mul(g, mul(const(2), x)), None
        return mul(g, mul(p, node("pow", (x, const(p.value - 1))))), None
    lowered = node("pow", (x, sub(p, const(1))))
    growth = mul(y, _f("log", select(node("eq", (x, const(0))), const(1), x)))
    return select(node("ne", (p, const(0))), mul(g, mul(p, lowered)), const(0)), mul(g, growth)


def _over_squares(p: Expr, q: Expr) -> Expr:
    """``p / (p^2 + q^2)`` by the smaller quotient of the two: no square over- or underflows."""
    large, small = div(const(1), add(p, mul(q, div(q, p)))), div(div(p, q), add(mul(p, div(p, q)), q))
    return select(node("le", (_f("abs", q), _f("abs", p))), large, small)


def _larger(g: Expr, y: Expr, a: tuple[Expr, ...]) -> tuple[Expr | None, ...]:
    """The first argument gets the gradient of max where it is the larger or equal one; ``max(x, 0)`` gives 0 to x = 0.

    Beside a constant c the value tells as much as the argument: ``c < max(x, c)`` just where ``c < x``.
    """
    u, v = a
    if v.op == "const":
        return select(node("lt", (v, y)), g, const(0)), None
    first = node("le", (v, u))
    return select(first, g, const(0)), select(first, const(0), g)


def _smaller(g: Expr, y: Expr, a: tuple[Expr, ...]) -> tuple[Expr | None, ...]:
    u, v = a
    if v.op == "const":
        return select(node("lt", (y, v)), g, const(0)), None
    first = node("le", (u, v))
    return select(first, g, const(0)), select(first, const(0), g)


def _unary(local: Callable[[Expr, Expr], Expr]) -> Row:
    """A row from dy/dx as a function of x and y."""
    return lambda g, y, a: (mul(g, local(a[0], y)),)


def _quotient(numerator: Callable[[Expr, Expr], Expr], denominator: Callable[[Expr, Expr], Expr]) -> Row:
    return lambda g, y, a: (div(mul(g, numerator(a[0], y)), denominator(a[0], y)),)


_ONE: Final = const(1)

ROWS: Final[dict[str, Row]] = {
    # arithmetic
    "add": lambda g, y, a: (g, g),
    "sub": lambda g, y, a: (g, neg(g)),
    "neg": lambda g, y, a: (neg(g),),
    "mul": lambda g, y, a: (mul(g, a[1]), mul(g, a[0])),
    "div": lambda g, y, a: (div(g, a[1]), neg(div(mul(g, y), a[1]))),  # d(a/b) = da/b - (a/b) db/b
    "pow": _power,
    "where": lambda g, y, a: (None, select(a[0], g, const(0)), select(a[0], const(0), g)),
    "max": _larger,
    "min": _smaller,
    "mod": lambda g, y, a: (g, neg(mul(g, _f("floor", div(a[0], a[1]))))),  # a % b = a - b*floor(a/b)
    "floordiv": lambda g, y, a: (None, None),
    "stop": lambda g, y, a: (None,),
    "unspecified": lambda g, y, a: (mul(g, node("unspecified", a, (y.value[0], y.value[1] + 1))),),  # f' of any f
    # exponentials and logarithms
    "exp": _unary(lambda x, y: y),
    "expm1": _unary(lambda x, y: _f("exp", x)),
    "log": _quotient(lambda x, y: _ONE, lambda x, y: x),
    "log1p": _quotient(lambda x, y: _ONE, lambda x, y: add(_ONE, x)),
    "log2": _quotient(lambda x, y: const(1 / math.log(2)), lambda x, y: x),
    "log10": _quotient(lambda x, y: const(1 / math.log(10)), lambda x, y: x),
    "sqrt": _quotient(lambda x, y: const(0.5), lambda x, y: y),
    "sigmoid": _unary(lambda x, y: mul(y, _one_minus(y))),
    "softplus": _unary(lambda x, y: _f("sigmoid", x)),
    # trigonometric and hyperbolic functions and their inverses
    "sin": _unary(lambda x, y: _f("cos", x)),
    "cos": _unary(lambda x, y: neg(_f("sin", x))),
    "tan": _unary(lambda x, y: add(_ONE, _square(y))),
    "asin": _quotient(lambda x, y: _ONE, lambda x, y: _f("sqrt", mul(_one_minus(x), add(_ONE, x)))),
    "acos": _quotient(lambda x, y: const(-1), lambda x, y: _f("sqrt", mul(_one_minus(x), add(_ONE, x)))),
    "atan": _quotient(lambda x, y: _ONE, lambda x, y: add(_ONE, _square(x))),
    "atan2": lambda g, y, a: (mul(g, _over_squares(a[1], a[0])), neg(mul(g, _over_squares(a[0], a[1])))),
    "sinh": _unary(lambda x, y: _f("cosh", x)),
    "cosh": _unary(lambda x, y: _f("sinh", x)),
    "tanh": _unary(lambda x, y: _one_minus(_square(y))),
    "asinh": _quotient(lambda x, y: _ONE, lambda x, y: _f("sqrt", add(_ONE, _square(x)))),
    "acosh": _quotient(lambda x, y: _ONE, lambda x, y: mul(_f("sqrt", sub(x, _ONE)), _f("sqrt", add(x, _ONE)))),
    "atanh": _quotient(lambda x, y: _ONE, lambda x, y: mul(_one_minus(x), add(_ONE, x))),
    # special functions
    "erf": _unary(lambda x, y: mul(const(2 / math.sqrt(math.pi)), _f("exp", neg(_square(x))))),
    "erfc": _unary(lambda x, y: mul(const(-2 / math.sqrt(math.pi)), _f("exp", neg(_square(x))))),
    "lgamma": _unary(lambda x, y: _f("digamma", x)),
    "gamma": _unary(lambda x, y: mul(y, _f("digamma", x))),
    "digamma": _unary(lambda x, y: _f("trigamma", x)),
    # steps
    "abs": lambda g, y, a: (mul(g, _f("sign", a[0])),),
    **dict.fromkeys(("sign", "floor", "ceil", "round"), lambda g, y, a: (None,)),
}
"""The derivative of each operation that can stand between a loss and a parameter."""
