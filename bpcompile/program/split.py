"""Axes split into digits: ``x[n, i // 8, i % 8]`` becomes ``x[n, i1, i0]`` with ``i = 8*i1 + i0``.

Requires nothing. Establishes that no axis stands under ``//`` or ``%`` by a constant where its extent allows a split, so that
flattened and grouped reads become plain affine ones and contractions are recognized. A statement whose left side had
the axis then writes at an affine subscript, each element still once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bpcompile.nodes.affine import affine, simplify_integer
from bpcompile.nodes.expressions import Axis, Expr, axis, const, node, rebuild, substitute, walk_nodes
from bpcompile.nodes.guards import simplify_guards
from bpcompile.nodes.statements import Program, Statement, TimeLoop
from bpcompile.program.product import as_product

FEW_PHASES: Final = 4
"""Values of a digit for which a sum each can be written."""


def split_axes(program: Program) -> Program:
    """Split axes into digits wherever a subscript divides them."""
    steps = tuple(
        replace(step, body=tuple(_split(s) for s in step.body)) if isinstance(step, TimeLoop) else _split(step)
        for step in program.steps
    )
    return program if steps == program.steps else program.with_steps(steps)


def _split(s: Statement) -> Statement:
    for _ in range(8):
        found = next(_divisions(s), None)
        if found is None:
            return s
        s = _split_one(s, *found)
    return s


def _divisions(s: Statement) -> Iterator[tuple[Axis, int]]:
    """An axis and a divisor that divides its extent, the smallest divisor first."""
    wanted: dict[Axis, set[int]] = {}
    for e in walk_nodes((s.body, *s.subscripts)):
        if e.op in ("floordiv", "mod") and e.args[1].op == "const":
            divisor = int(e.args[1].value)
            for term, factor in affine(e.args[0]).terms:
                if term.op == "axis" and divisor % factor == 0 and abs(factor) < divisor:
                    wanted.setdefault(term.value, set()).add(divisor // abs(factor))
    for a in (*s.axes, *s.over):
        for divisor in sorted(wanted.get(a, ())):
            if a.extent is not None and 1 < divisor < a.extent and a.extent % divisor == 0 and _helps(s, a, divisor):
                yield a, divisor


def _helps(s: Statement, a: Axis, divisor: int) -> bool:
    """True if a division disappears by the split: the axis stands there alone (or with multiples of the divisor)."""
    for e in walk_nodes((s.body, *s.subscripts)):
        if e.op in ("floordiv", "mod") and e.args[1].op == "const":
            others = affine(e.args[0]).without(axis(a))
            alone = all(c % int(e.args[1].value) == 0 for _, c in others.terms) and others.constant == 0
            if alone and affine(e.args[0]).coefficient(axis(a)) * divisor == e.args[1].value:
                return not _better_in_phases(s, a, divisor)
    return False


def _better_in_phases(s: Statement, a: Axis, divisor: int) -> bool:
    """True if a factor of a sum has the one digit and another factor the other: neither then runs along the target."""
    if s.reduce != "sum" or a not in s.axes or divisor > FEW_PHASES:
        return False
    high, low = node("floordiv", (axis(a), const(divisor))), node("mod", (axis(a), const(divisor)))
    digits = [{high, low} & set(walk_nodes((f,))) for f in as_product(s.body).factors]
    return {high} in digits and {low} in digits


def _split_one(s: Statement, a: Axis, divisor: int) -> Statement:
    assert a.extent is not None
    high = fresh_digit(a.name, a.extent // divisor, s)
    low = fresh_digit(a.name, divisor, s, high.name)
    return with_axis(s, a, node("add", (node("mul", (const(divisor), axis(high))), axis(low))), (high, low))


def with_axis(s: Statement, a: Axis, value: Expr, axes: tuple[Axis, ...]) -> Statement:
    """The statement with a value for one of its axes, over the axes of that value instead."""
    swap = {axis(a): value}

    def put(e: Expr) -> Expr:
        changed = substitute(e, swap)
        return simplify_guards(rebuild(changed, lambda x: simplify_integer(x) if x.kind == "int" else None))

    def replaced(old: tuple[Axis, ...]) -> tuple[Axis, ...]:
        return tuple(new for b in old for new in (axes if b == a else (b,)))

    over = replaced(s.over)
    return replace(
        s,
        axes=replaced(s.axes),
        over=over,
        reduce=s.reduce if over else None,
        subscripts=tuple(put(i) for i in s.subscripts),
        body=put(s.body),
    )


def fresh_digit(name: str, extent: int, s: Statement, *taken: str) -> Axis:
    """An axis named after another one, with a number that the statement does not use."""
    used = {*taken, *(x.name for x in (*s.axes, *s.over))}
    k = 0
    while f"{name}{k}" in used:
        k += 1
    return Axis(f"{name}{k}", extent)
