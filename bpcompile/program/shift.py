"""Summed axes counted from where their terms begin.

``sum(where(i <= q and q < i + 16, x[q - i]*y[2*q], 0), q)`` has terms for the 16 values of ``u = q - i`` alone, which stay in
the range of ``q`` for every ``i``: it is ``sum(x[u]*y[2*u + 2*i], u)``. One operand is then read as it is, without zeros
around it, and only the other one moves with ``i``: the weight gradient of a transposed convolution is that of a convolution.

Requires nothing. Establishes that no condition of a sum only says where one of its axes begins and ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bpcompile.nodes.affine import Affine, affine, from_affine, interval
from bpcompile.nodes.expressions import Axis, Expr, axes_of, axis, const, node
from bpcompile.nodes.guards import bounds_by, bounds_of
from bpcompile.nodes.statements import Program, Statement, Tensor, TimeLoop
from bpcompile.program.product import as_product, guarded
from bpcompile.program.split import fresh_digit, with_axis


def shift_axes(program: Program) -> Program:
    """Count summed axes from where their terms begin, wherever conditions say where that is."""
    def shifted(s: Statement) -> Statement:
        return _shifted(s, program.tensors)

    steps = tuple(
        replace(step, body=tuple(map(shifted, step.body))) if isinstance(step, TimeLoop) else shifted(step)
        for step in program.steps
    )
    return program if steps == program.steps else program.with_steps(steps)


def _shifted(s: Statement, tensors: Mapping[str, Tensor]) -> Statement:
    if s.reduce != "sum":
        return s
    s = within_bounds(s)
    guards = as_product(s.body).guards
    for a in s.over:
        for g in guards:
            shifted = _begun(s, a, g, guards, tensors)
            if shifted is not None:
                return _shifted(shifted, tensors)
    return s


def within_bounds(s: Statement) -> Statement:
    """The sum over those values of its axes that conditions on one axis alone allow."""
    guards = as_product(s.body).guards
    for a in s.over:
        low, high = bounds_of(axis(a), guards)
        if a.extent is not None and 0 <= low <= high < a.extent and high - low + 1 < a.extent:
            digit = () if low == high else (fresh_digit(a.name, int(high - low) + 1, s),)
            s = with_axis(s, a, from_affine(Affine(int(low), tuple((axis(d), 1) for d in digit))), digit)
    return s


def _begun(
    s: Statement, a: Axis, g: Expr, guards: Sequence[Expr], tensors: Mapping[str, Tensor]
) -> Statement | None:
    """The statement with ``a`` counted from where the form that a condition bounds is least; nothing if that says no more."""
    if g.op not in ("lt", "le") or any(e.kind != "int" for e in g.args) or a.extent is None:
        return None
    difference = affine(node("sub", g.args))
    sign = difference.coefficient(axis(a))
    form = Affine(0, tuple((t, sign * c) for t, c in difference.terms))
    start = Affine(0, tuple((t, -c) for t, c in form.terms if t != axis(a)))
    if abs(sign) != 1 or not start.terms or not all(b in s.axes for t, _ in start.terms for b in axes_of(t)):
        return None
    low, high = bounds_by(from_affine(form), guards)
    # A quotient that goes by the shift is worth it where the sum does not get shorter as well.
    divided = any(t.op != "axis" for t, _ in start.terms)
    if not 0 < high - low + 1 < a.extent + divided:
        return None
    first, last = interval(from_affine(start))
    inside: Sequence[Expr] | None = ()
    if first + low < 0 or last + high >= a.extent:
        inside = _stays_inside(s, a, tensors) if divided else None
        if inside is None:
            return None
    digit = fresh_digit(a.name, int(high - low) + 1, s)
    value = from_affine(Affine(int(low), ((axis(digit), 1), *start.terms)))
    return with_axis(replace(s, body=guarded(inside or (), s.body)), a, value, (digit,))


def _stays_inside(s: Statement, a: Axis, tensors: Mapping[str, Tensor]) -> Sequence[Expr] | None:
    """Conditions that a load stays inside its tensor, if they keep an axis within its extent as well."""
    for e in as_product(s.body).factors:
        for i, size in zip(e.args, tensors[e.value[0]].shape, strict=True) if e.op == "load" else ():
            form = affine(i)
            step = form.coefficient(axis(a))
            if size is None or step < 1:
                continue
            low, high = interval(from_affine(form.without(axis(a))))
            if -high > -step and size - 1 - low < step * (a.extent or 0):
                return (node("le", (const(0), i)), node("lt", (i, const(size))))
    return None
