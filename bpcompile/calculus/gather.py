"""From scatter to gather: solving the subscripts of a contribution for the axes of its source.

The one rule gives ``u_bar[g(D)] += c(D)`` for all values of the source's axes D. For an element J of u this is the sum of
``c(D)`` over the D with ``g(D) = J``. Each equation ``g_k(D) = J_k`` is solved for one axis of D:

- ``a = J`` replaces the axis; a constant is compared;
- ``c*a + rest = J`` gives ``a = (J - rest) / c``, guarded by divisibility and by the bounds of ``a``; of several axes
  the one with the largest extent is solved, so that the sum that remains is the shortest;
- ``f // c = J`` is ``f = c*J + q`` for a new axis ``q < c``; ``f % c = J`` is ``f = c*q + J``;
- ``c*a + f % c = J`` is ``a = J // c`` and ``f % c = J % c``: two digits;
- a sum that goes to one range of its tensor alone stays a scatter: gathered, it would be formed for all elements;
- a subscript that depends on data is compared: a Kronecker delta, taken only where the sum that remains is not larger
  than the scatter.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bpcompile.calculus.algebra import ZERO, mul, select
from bpcompile.calculus.freeze import batch_first, conjunction
from bpcompile.nodes.affine import Affine, affine, from_affine, interval, simplify_integer
from bpcompile.nodes.expressions import (
    Axis,
    Expr,
    axes_of,
    axis,
    children_first,
    const,
    node,
    rebuild,
    reduce,
    size,
    substitute,
)
from bpcompile.nodes.guards import pinned, reads_data, simplify_guards
from bpcompile.nodes.likeness import Shapes
from bpcompile.nodes.quotients import kept_quotients
from bpcompile.nodes.renaming import Renaming

ASSUMED_BATCH: Final = 32
"""The batch size that costs are compared at."""


@dataclass
class _System:
    """Equations between subscripts and places, being solved for ``unknown`` axes."""

    unknown: list[Axis]
    equations: list[tuple[Expr, Expr]]
    solved: dict[Axis, Expr] = field(default_factory=dict)
    guards: list[Expr] = field(default_factory=list)
    exact: list[Expr] = field(default_factory=list)
    """Divisions that leave no remainder where the guards hold."""
    compared: bool = False
    made: int = 0

    def put(self, a: Axis, value: Expr) -> None:
        """Replace an unknown axis everywhere."""
        swap = {axis(a): value}
        self.unknown.remove(a)
        self.solved = {k: _integers(substitute(v, swap)) for k, v in self.solved.items()}
        self.solved[a] = value
        self.guards = [_integers(substitute(g, swap)) for g in self.guards]
        self.exact = [_integers(substitute(e, swap)) for e in self.exact]
        self.equations = [(_integers(substitute(e, swap)), _integers(substitute(r, swap))) for e, r in self.equations]
        if value.op != "axis" or value.value.extent != a.extent:
            self.guard_bounds(value, a.extent)

    def guard_bounds(self, value: Expr, extent: int | None) -> None:
        """Require ``0 <= value < extent`` where that is not certain."""
        low, high = interval(value)
        if low < 0:
            self.guards.append(node("le", (const(0), value)))
        if extent is not None and high >= extent:
            self.guards.append(node("lt", (value, const(extent))))

    def new_axis(self, extent: int) -> Axis:
        """A new unknown axis."""
        self.made += 1
        a = Axis(f"q{self.made}'", extent)
        self.unknown.append(a)
        return a


def _without_exact_divisions(e: Expr, exact: set[Expr]) -> Expr | None:
    """``c * (f // c)`` is ``f`` where the division is exact."""
    if e.kind != "int" or e.op not in ("add", "sub", "mul"):
        return None
    form = affine(e)
    for term, factor in form.terms:
        if term in exact and factor % term.args[1].value == 0:
            whole = node("mul", (const(factor // term.args[1].value), term.args[0]))
            return simplify_integer(node("add", (from_affine(form.without(term)), whole)))
    return None


def _integers(e: Expr) -> Expr:
    """Simplify the integer parts of an expression (a subscript, a guard or a body)."""
    if e.kind == "int":
        return simplify_integer(e)
    return rebuild(e, lambda x: simplify_integer(x) if x.kind == "int" else None)


def _extent(a: Axis) -> float:
    return float("inf") if a.extent is None else a.extent


def _solve_one(system: _System, left: Expr, right: Expr) -> bool:
    """Solve ``left = right`` for one unknown; False if that is not possible."""
    unknown = [axis(a) for a in system.unknown]
    if left.op == "axis" and left.value in system.unknown:
        system.put(left.value, right)
        return True
    if not any(a in unknown for a in map(axis, axes_of(left))):
        if left is not right and not (right.op == "axis" and right.value.extent == 1 and left is ZERO):
            system.guards.append(node("eq", (right, left)))
            system.compared = system.compared or any(e.op == "load" for e in children_first(left))
        return True
    if any(e.op == "load" for e in children_first(left)):
        system.guards.append(node("eq", (right, left)))
        system.compared = True
        return True
    form = affine(left)
    candidates = [(t, c) for t, c in form.terms if any(axis(a) in unknown for a in axes_of(t))]
    bare = [(t, c) for t, c in candidates if t in unknown]
    if _solve_digits(system, form, candidates, right):
        return True
    term, factor = _longest(system, form, bare) if bare else candidates[0]
    rest = form.without(term)
    here = [a for a in axes_of(term) if a in system.unknown]
    if any(a in here for other in (right, *(t for t, _ in rest.terms)) for a in axes_of(other)):
        return False  # what it is solved for would depend on itself, as in i//2 + i%2
    target = _affine_difference(right, rest, 1 if factor > 0 else -1)
    if abs(factor) != 1:
        divisor = const(abs(factor))
        remainder = simplify_integer(node("mod", (target, divisor)))
        if remainder is not ZERO:
            system.guards.append(node("eq", (remainder, ZERO)))
            system.exact.append(node("floordiv", (target, divisor)))
        target = simplify_integer(node("floordiv", (target, divisor)))
    if term.op == "axis":
        system.put(term.value, target)
        return True
    if term.op not in ("floordiv", "mod") or term.args[1].op != "const":
        return False
    return _solve_division(system, term, target)


def _longest(system: _System, form: Affine, bare: list[tuple[Expr, int]]) -> tuple[Expr, int]:
    """The term whose solution takes the longest axis out of the sum; a quotient leaves an axis that runs below its divisor."""
    saved = [(_extent(t.value), (t, c)) for t, c in bare]
    for term, factor in form.terms:
        if term.op != "floordiv" or abs(factor) != 1 or term.args[1].op != "const":
            continue
        here = [a for a in axes_of(term) if a in system.unknown]
        if len(here) == 1 and not any(here[0] in axes_of(t) for t, _ in form.without(term).terms):
            saved.append((_extent(here[0]) / int(term.args[1].value), (term, factor)))
    return max(saved, key=lambda s: s[0])[1]


def _affine_difference(right: Expr, rest: Affine, sign: int) -> Expr:
    """``sign * (right - rest)``."""
    difference = node("sub", (right, from_affine(rest)))
    return simplify_integer(difference if sign > 0 else node("neg", (difference,)))


def _solve_division(system: _System, term: Expr, target: Expr) -> bool:
    """``f // c = target`` or ``f % c = target``, by a new axis."""
    inner, divisor = term.args[0], int(term.args[1].value)
    low, high = interval(inner)
    if term.op == "floordiv":
        q = system.new_axis(divisor)
        place = node("add", (node("mul", (const(divisor), target)), axis(q)))
    else:
        if low < 0 or high == float("inf"):
            return False
        q = system.new_axis(int(high) // divisor + 1)
        system.guard_bounds(target, divisor)
        place = node("add", (node("mul", (const(divisor), axis(q))), target))
    system.equations.insert(0, (inner, simplify_integer(place)))
    return True


def _solve_digits(system: _System, form: Affine, free: Sequence[tuple[Expr, int]], right: Expr) -> bool:
    """``c*a + b = J`` where ``b`` runs below ``c``: ``a = J // c`` and ``b = J % c``. Each may be a division."""
    if len(free) != 2 or sorted(c for _, c in free)[0] != 1:
        return False
    (low, _), (high, factor) = sorted(free, key=lambda tc: tc[1])
    if high.op not in ("axis", "floordiv") or low.op not in ("axis", "mod") or set(axes_of(high)) & set(axes_of(low)):
        return False
    below = low.value.extent if low.op == "axis" else low.args[1].value if low.args[1].op == "const" else None
    if below is None or below > factor:
        return False
    place = _affine_difference(right, form.without(low).without(high), 1)
    for digit, op in ((high, "floordiv"), (low, "mod")):
        value = simplify_integer(node(op, (place, const(factor))))
        if digit.op == "axis":
            system.put(digit.value, value)
        else:
            system.equations.insert(0, (digit, value))
    return True


@dataclass(frozen=True, slots=True)
class Gathered:
    """A contribution as an expression over the places, with how its axes were solved."""

    expression: Expr
    solved: tuple[tuple[Expr, Expr], ...]


def gather(
    body: Expr, subscripts: Sequence[Expr], domain: Sequence[Axis], places: Sequence[Axis], must: bool = False
) -> Gathered | None:
    """The sum of ``body`` over the part of ``domain`` where ``subscripts`` equal ``places``.

    Parameters
    ----------
    body : Expr
        The contribution, over the axes of ``domain``.
    subscripts : sequence of Expr
        Where the contribution goes.
    domain : sequence of Axis
        All axes of the contribution.
    places : sequence of Axis
        The axes of the tensor that receives it.
    must : bool
        Gather wherever that is possible, whatever it costs: a recurrence takes no scatters.

    Returns
    -------
    Gathered or None
        An expression over ``places`` (with a sum over what remains of the domain); None where a scatter is the better
        or the only way.
    """
    apart = {a: Axis(f"{a.name}'", a.extent) for a in domain}
    swap = {axis(a): axis(b) for a, b in apart.items()}
    equations = [(substitute(s, swap), axis(p)) for s, p in zip(subscripts, places, strict=True)]
    lefts = [left for left, _ in equations]
    equations.sort(key=lambda e: _turn(e[0], lefts))
    system = _System(list(apart.values()), equations)
    while system.equations:
        left, right = system.equations.pop(0)
        if not _solve_one(system, left, right):
            return None
    if system.compared and not must and not _delta_pays(system, domain, places):
        return None
    if not must and _sum_into_part(system, subscripts, places):
        return None
    names = _readable(system.unknown, places)
    back = {axis(a): axis(b) for a, b in names.items()}
    values = {axis(a): _integers(substitute(v, back)) for a, v in system.solved.items()}
    inside = _integers(substitute(substitute(body, swap), {**back, **values}))
    guards = [_integers(substitute(g, back)) for g in dict.fromkeys(system.guards)]
    exact = {_integers(substitute(e, back)) for e in system.exact}
    if exact:
        inside = rebuild(inside, lambda e: _without_exact_divisions(e, exact))
    places_only = [g for g in guards if not reads_data(g)]
    compared = [g for g in guards if reads_data(g)]
    guarded = simplify_guards(select(conjunction(places_only), select(conjunction(compared), inside, ZERO), ZERO))
    original = {b: a for a, b in apart.items()}
    solved = tuple((axis(original[a]), values[axis(a)]) for a in system.solved if a in original)
    remaining = batch_first(names[a] for a in system.unknown)
    return Gathered(summed(guarded, remaining), solved)


@dataclass
class Gathering:
    """Gathers contributions, those that differ in the names of their tensors only once: equal layers have equal ones."""

    _known: dict[Hashable, tuple[Gathered | None, tuple[str, ...]]] = field(default_factory=dict)

    def gather(
        self, body: Expr, subscripts: Sequence[Expr], domain: Sequence[Axis], places: Sequence[Axis]
    ) -> Gathered | None:
        """The same as `gather`."""
        shapes = Shapes()
        numbers = tuple(shapes.expression(e) for e in (body, *subscripts))
        key, names = shapes.shape(numbers, tuple(domain), tuple(places)), tuple(shapes.tensors)
        found = self._known.get(key)
        if found is None:
            result = gather(body, subscripts, domain, places)
            self._known[key] = result, names
            return result
        result, theirs = found
        renamed = {old: new for old, new in zip(theirs, names, strict=True) if old != new}
        if result is None or not renamed:
            return result
        new = Renaming(renamed)
        return Gathered(new.expression(result.expression), tuple((a, new.expression(value)) for a, value in result.solved))


def _turn(left: Expr, others: Sequence[Expr]) -> int:
    """When an equation is solved: bare axes first, but after a step of the same axis, as in ``h[n, t, t-1]``.

    The step says which way a recurrence runs: the other place is compared with what it gives. Divisions come last.
    """
    if left.op == "axis":
        return 1
    form = affine(left)
    if any(term.op != "axis" for term, _ in form.terms):
        return 3
    step = len(form.terms) == 1 and form.terms[0][1] == 1
    return 0 if step and sum(form.terms[0][0] in children_first(o) for o in others) > 1 else 2


def _sum_into_part(system: _System, subscripts: Sequence[Expr], places: Sequence[Axis]) -> bool:
    """Whether a sum goes to one range of rows, as into a third of a joined weight: gathered, it would run over all rows.

    Subscripts that can leave the tensor are shifts, as those of a recurrence, which reach nearly all of it.
    """
    for s, p in zip(subscripts, places, strict=True):
        low, high = interval(s)
        if low < 0 or (p.extent is not None and high >= p.extent):
            return False
    there = {axis(p) for p in places}
    ranges = [g for g in system.guards if g.op in ("le", "lt") and all(axis(a) in there for a in axes_of(g))]
    return bool(system.unknown and ranges) and len(ranges) == len(system.guards)


def _delta_pays(system: _System, domain: Sequence[Axis], places: Sequence[Axis]) -> bool:
    def count(axes: Sequence[Axis]) -> int:
        total = 1
        for a in axes:
            total *= ASSUMED_BATCH if a.extent is None else a.extent
        return total

    return count(places) * count(system.unknown) <= 2 * (count(places) + count(domain))


def _readable(unknown: Sequence[Axis], places: Sequence[Axis]) -> dict[Axis, Axis]:
    """Names for the axes that remain: the user's own where no place has them."""
    taken = {p.name for p in places}
    names: dict[Axis, Axis] = {}
    for a in unknown:
        base, k = a.name.rstrip("'"), 0
        name = base
        while name in taken:
            k += 1
            name = f"{base}{k}"
        taken.add(name)
        names[a] = Axis(name, a.extent)
    return names


def summed(body: Expr, over: tuple[Axis, ...]) -> Expr:
    """The sum of ``body`` over axes, factors that do not depend on them taken out."""
    if not over or body is ZERO:
        return body
    if body.op == "where" and body.args[2] is ZERO:
        fixed = pinned(body.args[0], over)
        if fixed:
            there = simplify_guards(substitute(body, {axis(a): const(v) for a, v in fixed.items()}))
            return summed(there, tuple(a for a in over if a not in fixed))
    if body.op == "neg":
        return node("neg", (summed(body.args[0], over),))
    inside: list[Expr] = []
    outside: list[Expr] = []
    below: list[Expr] = []
    for factor, inverse in _factors(body, kept_quotients(body)):
        depends = any(a in over for a in axes_of(factor))
        if not depends:
            (below if inverse else outside).append(factor)
        elif inverse:
            inside = [node("div", (_product(inside), factor))]
        else:
            inside.append(factor)
    total = reduce("sum", over, _product(inside)) if inside else _count(over)
    for factor in outside:
        total = mul(factor, total)
    for factor in below:
        total = node("div", (total, factor))
    return total


def _count(over: tuple[Axis, ...]) -> Expr:
    """The number of values of axes."""
    known = math.prod(a.extent for a in over if a.extent is not None)
    total: Expr = const(float(known))
    for a in over:
        if a.extent is None:
            total = mul(total, size(a))
    return total


def _product(factors: Sequence[Expr]) -> Expr:
    total: Expr | None = None
    for f in factors:
        total = f if total is None else mul(total, f)
    return const(1) if total is None else total


def _factors(e: Expr, kept: frozenset[Expr]) -> list[tuple[Expr, bool]]:
    """The factors of a product of quotients, some of them kept whole; True for those below the line."""
    if e.op == "mul":
        return [*_factors(e.args[0], kept), *_factors(e.args[1], kept)]
    if e.op == "div" and e not in kept:
        return [*_factors(e.args[0], kept), *((f, not inverse) for f, inverse in _factors(e.args[1], kept))]
    return [(e, False)]
