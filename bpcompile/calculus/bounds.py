"""Between which numbers does an expression lie, and how fast does it grow? Squares, exponentials, softmaxes and their means.

It answers what a rule has to know before it fires (can this factor be 0?) and at which inputs a formula is worth a look
(a variance is never negative). Intervals are closed and may be too wide, never too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from bpcompile.calculus.simplify import matched
from bpcompile.nodes.expressions import Expr, children_first

Interval = tuple[float, float]
Known = Callable[[Expr], Interval]
"""The interval of a load."""

EVERYTHING: Final[Interval] = (-math.inf, math.inf)
NONNEGATIVE: Final[Interval] = (0.0, math.inf)
_UNIT: Final[Interval] = (0.0, 1.0)

_RANGES: Final[dict[str, Interval]] = {
    "exp": NONNEGATIVE, "softplus": NONNEGATIVE, "sqrt": NONNEGATIVE, "sigmoid": _UNIT, "tanh": (-1.0, 1.0),
    "erf": (-1.0, 1.0), "erfc": (0.0, 2.0), "sin": (-1.0, 1.0), "cos": (-1.0, 1.0), "cosh": (1.0, math.inf),
    "expm1": (-1.0, math.inf), "sign": (-1.0, 1.0), "atan": (-math.pi / 2, math.pi / 2), "acos": (0.0, math.pi),
    "asin": (-math.pi / 2, math.pi / 2), "acosh": NONNEGATIVE, "size": (1.0, math.inf), "axis": NONNEGATIVE,
    "draw": EVERYTHING,
}  # fmt: skip
"""What a function gives whatever it is given; `_MONOTONE` says more where the argument's interval is known."""

_MONOTONE: Final[dict[str, Callable[[float], float]]] = {
    "exp": math.exp, "expm1": math.expm1, "sqrt": math.sqrt, "log": math.log, "log1p": math.log1p, "tanh": math.tanh,
    "floor": math.floor, "ceil": math.ceil, "erf": math.erf,
}  # fmt: skip


def bounds(root: Expr, known: Known = lambda _: EVERYTHING) -> Interval:
    """An interval that holds every finite value of an expression.

    Parameters
    ----------
    root : Expr
        The expression; reductions may stand in it.
    known : callable
        The interval of a load; by default nothing is known of it.
    """
    done: dict[Expr, Interval] = {}
    for e in children_first(root):
        done[e] = _interval(e, [done[a] for a in e.args], known)
    return done[root]


def _interval(e: Expr, a: list[Interval], known: Known) -> Interval:
    if e.op == "const" and e.kind != "bool":
        return float(e.value), float(e.value)
    if e.op == "load":
        return known(e)
    if e.op == "draw" and e.value[0] == "bernoulli":
        return _UNIT
    if e.op == "reduce":
        return _reduced(e, a[0])
    if e.op == "where":
        return min(a[1][0], a[2][0]), max(a[1][1], a[2][1])
    if e.op == "div" and _is_share(e):
        return _UNIT
    operation = _OPERATIONS.get(e.op)
    if operation is not None:
        return operation(e, a)
    if e.op in _MONOTONE:
        low, high = (_at(_MONOTONE[e.op], x) for x in a[0])
        bottom, top = _RANGES.get(e.op, EVERYTHING)
        return max(low[0], bottom), min(high[1], top)
    return _RANGES.get(e.op, EVERYTHING)


def _at(function: Callable[[float], float], x: float) -> Interval:
    """The value at an end of the interval, or nothing known where it has none."""
    try:
        y = function(x)
    except (ValueError, OverflowError):
        return EVERYTHING
    return y, y


def _reduced(e: Expr, body: Interval) -> Interval:
    kind, axes = e.value
    if kind in ("mean", "max", "min"):
        return body
    if kind == "sum":
        extents = [a.extent for a in axes]
        most = math.inf if None in extents else math.prod(k for k in extents if k is not None)
        return min(body[0], _times(body[0], most)), max(body[1], _times(body[1], most))
    return NONNEGATIVE


def _is_share(e: Expr) -> bool:
    """True for ``t[i] / sum(t[j], j)`` of terms that are never negative: a softmax."""
    above, below = e.args
    if below.op != "reduce" or below.value[0] != "sum" or bounds(below.args[0])[0] < 0:
        return False
    return matched(below.args[0], above, below.value[1]) is not None


def _times(x: float, y: float) -> float:
    return 0.0 if x == 0 or y == 0 else x * y


def _product(a: Interval, b: Interval) -> Interval:
    corners = [_times(x, y) for x in a for y in b]
    return min(corners), max(corners)


def _multiplied(e: Expr, a: list[Interval]) -> Interval:
    low, high = _product(a[0], a[1])
    return (max(low, 0.0), high) if e.args[0] is e.args[1] else (low, high)


def _divided(_: Expr, a: list[Interval]) -> Interval:
    low, high = a[1]
    if low < 0 < high or low == high == 0:
        return EVERYTHING
    ends = (-math.inf if high == 0 else 1 / high if math.isfinite(high) else 0.0,
            math.inf if low == 0 else 1 / low if math.isfinite(low) else 0.0)  # fmt: skip
    corners = [0.0 if x == 0 else x * y if y else 0.0 for x in a[0] for y in ends]
    return min(corners), max(corners)


def _power(e: Expr, a: list[Interval]) -> Interval:
    p = e.args[1]
    if p.op == "const" and float(p.value).is_integer():
        if p.value > 0 and p.value % 2 == 0:
            inside = a[0][0] <= 0 <= a[0][1]
            ends = [_at(lambda x: x**p.value, abs(x))[1] for x in a[0]]
            return (0.0 if inside else min(ends)), max(ends)
        if p.value < 0 and p.value % 2 == 0:
            return NONNEGATIVE
        return NONNEGATIVE if a[0][0] >= 0 else EVERYTHING
    return NONNEGATIVE  # of a negative number it is NaN


def _absolute(_: Expr, a: list[Interval]) -> Interval:
    low, high = a[0]
    return (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))


def _sum(_: Expr, a: list[Interval]) -> Interval:
    return a[0][0] + a[1][0], a[0][1] + a[1][1]


def _difference(_: Expr, a: list[Interval]) -> Interval:
    return a[0][0] - a[1][1], a[0][1] - a[1][0]


def _negated(_: Expr, a: list[Interval]) -> Interval:
    return -a[0][1], -a[0][0]


def _same(_: Expr, a: list[Interval]) -> Interval:
    return a[0]


def _maximum(_: Expr, a: list[Interval]) -> Interval:
    return max(a[0][0], a[1][0]), max(a[0][1], a[1][1])


def _minimum(_: Expr, a: list[Interval]) -> Interval:
    return min(a[0][0], a[1][0]), min(a[0][1], a[1][1])


_OPERATIONS: Final[dict[str, Callable[[Expr, list[Interval]], Interval]]] = {
    "add": _sum, "sub": _difference, "neg": _negated, "stop": _same, "mul": _multiplied, "div": _divided, "pow": _power,
    "abs": _absolute, "max": _maximum, "min": _minimum,
}  # fmt: skip


def growth(e: Expr) -> float:
    """How fast an expression may grow: its degree in its accesses; infinite for exponentials and reciprocals.

    A product of degree 2 may overflow although no factor does; so may the derivative of an expression of degree 3.
    """
    if e.op in ("const", "axis", "size", "draw", "seed", "flag") or e.op in _BOUNDED:
        return 0.0
    if e.op == "load":
        return 1.0
    below = [growth(a) for a in e.args]
    if e.op == "mul":
        return sum(below)
    if e.op == "div":
        return below[0] if not below[1] else below[0] + 0.5 if below[0] else math.inf
    if e.op == "pow":
        p = e.args[1]
        known = p.op == "const" and p.value >= 0
        return below[0] * float(p.value) if known else math.inf if any(below) else 0.0
    if e.op in _EXPLOSIVE:
        return math.inf if below[0] else 0.0
    return max(below, default=0.0)


_BOUNDED: Final = frozenset({"sigmoid", "tanh", "erf", "erfc", "sin", "cos", "atan", "atan2", "sign", "asin", "acos"})
_EXPLOSIVE: Final = frozenset({"exp", "expm1", "sinh", "cosh", "tan", "gamma"})
