"""Digits of an axis joined again where no address needs them apart: the opposite of `split`.

Requires a well-formed program. Establishes: ``x[n, 2*i0 + i1] = y[n, i0]`` is ``x[n, i] = y[n, i // 2]``: whoever goes through
``x`` element by element can share its loop, and need not wait until ``x`` lies in memory. The gradients of a mean and of a
maximum over windows are such copies, and so is an image made larger. The mean of a group of channels is read at ``c // 8``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bpcompile.nodes.access import loop_axes
from bpcompile.nodes.affine import Affine, affine, simplify_integer
from bpcompile.nodes.expressions import Axis, Expr, axes_of, axis, const, loads, node, rebuild, substitute
from bpcompile.nodes.statements import Program, Statement, Step


def along_whole_axes(program: Program) -> Program:
    """Join digits of an axis wherever reads go along the higher one only."""
    steps: tuple[Step, ...] = tuple(_joined(step) if isinstance(step, Statement) else step for step in program.steps)
    return program if steps == program.steps else program.with_steps(steps)


def _joined(s: Statement) -> Statement:
    if s.reduce is not None or s.accumulate:
        return s
    while (found := next(_digits(s), None)) is not None:
        s = _join(s, *found)
    return s


def _digits(s: Statement) -> Iterator[tuple[int, Axis, Axis]]:
    """Subscripts ``r*high + low`` with ``low`` below ``r`` and in no other subscript: its place and its digits."""
    used = axes_of(s.body)
    addresses = [affine(subscript) for e in loads(s.body) for subscript in e.args]
    for k, e in enumerate(s.subscripts):
        form = affine(e)
        if form.constant or len(form.terms) != 2 or any(t.op != "axis" or t.value.extent is None for t, _ in form.terms):
            continue
        (high, step), (low, one) = sorted(((t.value, c) for t, c in form.terms), key=lambda term: -term[1])
        others = [a for j, other in enumerate(s.subscripts) if j != k for a in axes_of(other)]
        alone = not {high, low} & set(others)
        # Addresses that vectors run along take no divisions.
        inside = k < len(s.subscripts) - 1 and all(
            f.coefficient(axis(high)) == step * f.coefficient(axis(low)) for f in addresses if _holds(f, low)
        )
        outside = not any(_holds(f, low) for f in addresses)
        if one == 1 and step == low.extent and high in used and alone and {high, low} <= set(s.axes) and (inside or outside):
            yield k, high, low


def _holds(form: Affine, a: Axis) -> bool:
    return any(a in axes_of(t) for t, _ in form.terms)


def _join(s: Statement, k: int, high: Axis, low: Axis) -> Statement:
    assert high.extent is not None
    assert low.extent is not None
    whole = Axis(_free_name(high.name, s), high.extent * low.extent)
    digits = (axis(whole), const(low.extent))
    swap: dict[Expr, Expr] = {axis(high): node("floordiv", digits), axis(low): node("mod", digits)}
    return replace(
        s,
        axes=tuple(whole if a == high else a for a in s.axes if a != low),
        subscripts=(*s.subscripts[:k], axis(whole), *s.subscripts[k + 1 :]),
        body=rebuild(substitute(s.body, swap), lambda e: simplify_integer(e) if e.kind == "int" else None),
    )


def _free_name(digit: str, s: Statement) -> str:
    """The name of the axis that a digit belongs to, if it is free."""
    taken = {a.name for a in loop_axes(s)}
    name = digit.rstrip("0123456789_") or digit
    while name in taken:
        name += "_"
    return name
