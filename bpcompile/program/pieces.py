"""Elementwise statements that are written piece by piece: one for each range of an axis that conditions tell apart.

Requires a well-formed program. Establishes: ``z[n, g] = where(g < 128, a[n, g], 0) + where(128 <= g, b[n, g - 128], 0)`` is
two statements over 128 elements each, without conditions: nothing is computed that is thrown away, and each piece can
join the loops that made its operands. The gradient of gates that lie in one tensor is such a sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Final

from bpcompile.nodes.access import step_statements
from bpcompile.nodes.affine import affine, simplify_integer
from bpcompile.nodes.expressions import COMPARISONS, Axis, Expr, axis, children_first, const, node, rebuild, substitute
from bpcompile.nodes.guards import simplify_guards
from bpcompile.nodes.statements import Program, Statement, Step, TimeLoop
from bpcompile.program.product import is_zero

SHORTEST: Final = 16
"""The fewest elements of a piece: the halo of a padded tensor is not worth a loop of its own."""

MOST: Final = 16
"""The most pieces of an axis."""


def in_pieces(program: Program) -> Program:
    """Divide statements at the constants that their conditions compare an axis with."""
    steps: list[Step] = []
    for step in program.steps:
        pieces = tuple(piece for s in step_statements(step) for piece in _pieces(s))
        steps += [replace(step, body=pieces)] if isinstance(step, TimeLoop) else pieces
    return program if tuple(steps) == program.steps else program.with_steps(tuple(steps))


def _pieces(s: Statement) -> tuple[Statement, ...]:
    if s.reduce is not None or s.accumulate:
        return (s,)
    for a in reversed(s.axes):
        bounds = _bounds(s.body, a)
        lengths = [high - low for low, high in pairwise(bounds)]
        if axis(a) in s.subscripts and 1 < len(lengths) <= MOST and min(lengths) >= SHORTEST:
            return tuple(_piece(s, a, low, n) for low, n in zip(bounds, lengths, strict=False))
    return (s,)


def _bounds(body: Expr, a: Axis) -> list[int]:
    """Where the ranges of an axis begin, and its end."""
    if a.extent is None:
        return []
    found = {0, a.extent}
    for e in children_first(body):
        if e.op in COMPARISONS and all(x.kind == "int" for x in e.args):
            found.update(k for k in _cuts(e, a) if 0 < k < (a.extent or 0))
    return sorted(found)


def _cuts(comparison: Expr, a: Axis) -> Iterator[int]:
    """The first values of an axis after which a comparison of it alone may turn out otherwise."""
    form = affine(node("sub", comparison.args))
    factor = form.coefficient(axis(a))
    if abs(factor) != 1 or form.without(axis(a)).terms:
        return
    zero = -form.constant * factor
    if comparison.op in ("eq", "ne"):
        yield from (zero, zero + 1)
    elif (comparison.op == "lt") == (factor > 0):
        yield zero  # a < zero, or zero <= a
    else:
        yield zero + 1


def _piece(s: Statement, a: Axis, low: int, length: int) -> Statement:
    own = Axis(a.name, length)
    place = node("add", (axis(own), const(low))) if low else axis(own)
    swap = {axis(a): place}
    return replace(
        s,
        axes=tuple(own if x == a else x for x in s.axes),
        subscripts=tuple(place if e is axis(a) else e for e in s.subscripts),
        body=rebuild(simplify_guards(rebuild(substitute(s.body, swap), _simpler)), _simpler),
    )


def _simpler(e: Expr) -> Expr | None:
    """Integers in normal form, and no zeros among the terms of a sum."""
    if e.kind == "int":
        return simplify_integer(e)
    if e.op == "add" and e.kind == "real":
        return e.args[1] if is_zero(e.args[0]) else e.args[0] if is_zero(e.args[1]) else None
    return None
