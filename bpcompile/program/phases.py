"""Sums whose terms repeat with a period, as one sum for each phase.

``z_bar[(h - p) // 2] * W[p]``, summed over the ``p`` with ``(h - p) % 2 == 0``, is the gradient of a convolution in steps of
two. With ``h = 2*h0 + r`` and ``p = 2*p0 + q`` only ``q = r`` is left, and both subscripts are affine: two sums, each over
half of the window, that are contractions; as it stands, it is a loop that tests each product.

Requires nothing. Establishes that sums have no ``//`` and ``%`` by constants where a few phases of their axes resolve them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from math import gcd
from typing import Final

from bpcompile.nodes.access import apart, extent, volume
from bpcompile.nodes.affine import affine
from bpcompile.nodes.expressions import Axis, Expr, axis, const, load, node, walk_nodes
from bpcompile.nodes.statements import Program, Statement, Step, TimeLoop
from bpcompile.program.operands import NewTensors
from bpcompile.program.product import as_product, is_zero
from bpcompile.program.shift import within_bounds
from bpcompile.program.split import fresh_digit, with_axis

MOST_PHASES: Final = 32
"""Sums that one may become; more would be text that grows."""
MOST_DIGITS: Final = 4
"""The most values of an axis that can stand for phases."""
SHORT_ROW: Final = 16
"""Elements of a row that fill a vector on any processor."""
MOST_TRIED: Final = 1024
"""Combinations of phases that are looked at; most of them have no terms."""


def in_phases(program: Program) -> Program:
    """Take apart sums over what repeats with a period."""
    made = NewTensors(dict(program.tensors))
    steps: list[Step] = []
    for step in program.steps:
        if isinstance(step, TimeLoop):
            steps.append(replace(step, body=tuple(part for s in step.body for phase in _phases(s) for part in phase)))
        else:
            steps += [part for phase in _phases(step) for part in _in_short_rows(phase, made)]
    return program if tuple(steps) == program.steps else program.with_steps(tuple(steps), made.tensors)


def _phases(s: Statement) -> list[list[Statement]]:
    """The statement, or those of each phase: one that assigns, and others that add to the same elements."""
    if s.reduce != "sum" or not _has_period(s):
        return [[s]]
    found = _resolved(s, [MOST_TRIED]) or [s]
    places: dict[tuple[Expr, ...], list[Statement]] = {}
    for part in found:
        if not is_zero(part.body):
            earlier = places.setdefault(part.subscripts, [])
            earlier.append(replace(part, accumulate=s.accumulate or bool(earlier)))
    for part in found:  # what no phase has terms for
        if part.subscripts not in places and all(apart(part.subscripts, place) for place in places):
            places[part.subscripts] = [replace(part, body=const(0.0), reduce=None, over=())]
    whole = sum(volume(parts[0].axes) for parts in places.values()) == volume(s.axes)
    if not whole or not all(apart(a, b) for a, b in combinations(places, 2)):
        return [[s]]
    phases = [parts for parts in places.values() if not (s.accumulate and is_zero(parts[0].body))]
    return phases if sum(map(len, phases)) <= MOST_PHASES else [[s]]


def _in_short_rows(phase: list[Statement], made: NewTensors) -> list[Statement]:
    """Sums whose elements lie apart in short rows have a tensor of their own, and are copied from there.

    Vectors then go over the ends of rows.
    """
    s = phase[0]
    last = affine(s.subscripts[-1]).terms if s.subscripts else ()
    if s.reduce is None or len(last) != 1 or last[0][1] == 1 or extent(last[0][0].value) >= SHORT_ROW:
        return phase
    made.statements = []
    name = made.define(f"{s.target}_phase", s.axes, s.body, s.origin, s.reduce, s.over)
    places = made.statements[0].subscripts
    more = [replace(part, target=name, subscripts=places) for part in phase[1:]]
    return [*made.statements, *more, replace(s, body=load(name, places), reduce=None, over=())]


def _resolved(s: Statement, tries: list[int]) -> list[Statement] | None:
    """The statement for each combination of phases; nothing if divisions remain, or if it takes too many tries."""
    tries[0] -= 1
    if tries[0] < 0:
        return None
    if is_zero(s.body):
        return [s]
    found = _next_split(s)
    if found is None:
        return None if next(_divisions(s), None) else [within_bounds(s)]
    parts = [_resolved(part, tries) for part in _split(s, *found)]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if found[0] in s.over:  # phases without terms are left out, but for one where none has any
        known = [part for part in known if not all(is_zero(p.body) for p in part)] or known[:1]
    return [p for part in known for p in part]


def _divisions(s: Statement) -> Iterator[Expr]:
    return (e for e in walk_nodes((s.body, *s.subscripts)) if e.op in ("floordiv", "mod"))


def _has_period(s: Statement) -> bool:
    """Whether some axis goes through all its phases more than once; a rotation, say, does so once."""
    counts = _phase_counts(s)
    return any(count < (a.extent or 0) for a, count in counts.items()) or bool(_single_digits(s))


def _next_split(s: Statement) -> tuple[Axis, int] | None:
    """An axis and the number of its phases, by which a division can be resolved; axes of the target before summed ones."""
    found = _single_digits(s) | _phase_counts(s)
    return next(((a, found[a]) for a in (*s.axes, *s.over) if a in found), None)


def _phase_counts(s: Statement) -> dict[Axis, int]:
    """The number of phases of each axis that stands under a division."""
    own = {*s.axes, *s.over}
    found: dict[Axis, int] = {}
    for e in _divisions(s):
        terms = affine(e.args[0]).terms
        if e.args[1].op != "const" or any(t.op != "axis" or t.value not in own or t.value.extent is None for t, _ in terms):
            continue
        divisor = int(e.args[1].value)
        counts = {t.value: divisor // gcd(divisor, c) for t, c in terms if c % divisor}
        if max(counts.values(), default=0) <= MOST_PHASES:
            found = {**counts, **found}
    return found


def _single_digits(s: Statement) -> dict[Axis, int]:
    """Axes of the target that stand for phases already, and of which terms have one value alone."""
    digits = [a for a in s.axes if a.extent is not None and a.extent <= MOST_DIGITS]
    guards = [g for g in as_product(s.body).guards if g.op == "eq"]
    return {a: a.extent or 1 for g in guards for a in digits if axis(a) in g.args}


def _split(s: Statement, a: Axis, count: int) -> Iterator[Statement]:
    """The statement for each residue of an axis."""
    assert a.extent is not None
    for residue in range(min(count, a.extent)):
        extent = -(-(a.extent - residue) // count)
        if extent == 1:
            yield with_axis(s, a, const(residue), ())
        else:
            digit = fresh_digit(a.name, extent, s)
            step = node("mul", (const(count), axis(digit)))
            yield with_axis(s, a, node("add", (step, const(residue))) if residue else step, (digit,))
