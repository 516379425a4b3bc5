"""Scalar backpropagation through one expression, by the rows of `derivatives.ROWS`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bpcompile.calculus.algebra import ZERO, add, is_number, mul, select
from bpcompile.calculus.bounds import growth
from bpcompile.calculus.derivatives import ROWS
from bpcompile.nodes.expressions import Expr, children_first, const, node


def scalar_adjoints(body: Expr, seed: Expr, wanted: Iterable[Expr]) -> dict[Expr, Expr]:
    """``seed * d body / d access`` for each wanted access, by the rows of `derivatives.ROWS`.

    An exponential that is a factor of its user ``y`` has ``dy/du = y``: the value is reused, and no product over- or
    underflows on the way.
    """
    order = children_first(body)
    reaches = set(wanted)
    for e in order:
        if e.op != "stop" and e not in reaches and any(a in reaches for a in e.args) and e.op != "load":
            reaches.add(e)
    bar: dict[Expr, Expr] = {body: seed}
    for y in reversed(order):
        g = bar.get(y)
        if g is None or y not in reaches or y.op == "load" or is_number(g, 0):
            continue
        for argument, contribution in zip(y.args, ROWS[y.op](g, y, y.args), strict=True):
            if contribution is None or argument not in reaches:
                continue
            if argument.op == "exp" and _is_factor(argument, y):
                argument, contribution = argument.args[0], _guarded(mul(g, y), y, argument.args[0])
            elif y.op in _SATURATING or (y.op == "div" and argument is y.args[1]):
                contribution = _guarded(contribution, _slope(y), argument)
            bar[argument] = add(bar[argument], contribution) if argument in bar else contribution
    return {access: bar.get(access, ZERO) for access in wanted}


_SATURATING: Final = frozenset({"exp", "expm1", "tanh", "sigmoid", "softplus", "erf", "erfc"})
"""Functions whose slope vanishes, exactly, far out."""


def _slope(y: Expr) -> Expr:
    """What is 0 just where the slope of ``y`` is."""
    if y.op == "div":
        return y
    (slope,) = ROWS[y.op](const(1), y, y.args)
    assert slope is not None
    return slope


def _guarded(contribution: Expr, slope: Expr, argument: Expr) -> Expr:
    """Nothing flows where the slope has vanished, even if the slope of what stands inside has overflowed: 0 * inf is NaN."""
    return select(node("ne", (slope, const(0))), contribution, ZERO) if growth(argument) >= 3 else contribution


def _is_factor(e: Expr, y: Expr) -> bool:
    """True if ``y`` is ``e * other`` or ``e / other``."""
    return y.args[0] is not y.args[-1] and (y.op == "mul" or (y.op == "div" and e is y.args[0]))
