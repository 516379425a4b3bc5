"""Scalar backpropagation through one expression, by the rows of `derivatives.ROWS`."""

from __future__ import annotations

from collections.abc import Iterable

from bpcompile.calculus.algebra import ZERO, add, is_number, mul
from bpcompile.calculus.derivatives import ROWS
from bpcompile.nodes.expressions import Expr, children_first


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
                u = argument.args[0]
                bar[u] = add(bar[u], mul(g, y)) if u in bar else mul(g, y)
            else:
                bar[argument] = add(bar[argument], contribution) if argument in bar else contribution
    return {access: bar.get(access, ZERO) for access in wanted}


def _is_factor(e: Expr, y: Expr) -> bool:
    """True if ``y`` is ``e * other`` or ``e / other``."""
    return y.args[0] is not y.args[-1] and (y.op == "mul" or (y.op == "div" and e is y.args[0]))
