"""What a statement reads and writes, and how its axes are renamed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from math import gcd
from typing import Final, NamedTuple

from bpcompile.nodes.affine import affine, interval
from bpcompile.nodes.expressions import Axis, Expr, axes_of, axis, loads, substitute
from bpcompile.nodes.statements import Statement, Step, Tensor, TimeLoop

REMEMBERED: Final = 8192
"""How many answers about subscripts are kept: equal layers ask the same."""

TYPICAL_BATCH = 32
"""The number of examples that costs are compared at: the batch is known at run time only."""


class Access(NamedTuple):
    """One read or write of a tensor by a statement."""

    tensor: str
    subscripts: tuple[Expr, ...]
    writes: bool


def accesses(s: Statement) -> tuple[Access, ...]:
    """Every access of a statement: the write first (an accumulation is one access: it reads what it writes)."""
    return (Access(s.target, s.subscripts, True), *_accesses_below(s.subscripts, s.body))


@lru_cache(maxsize=REMEMBERED)
def _accesses_below(subscripts: tuple[Expr, ...], body: Expr) -> tuple[Access, ...]:
    found = dict.fromkeys(e for root in (*subscripts, body) for e in loads(root))
    return tuple(Access(e.value[0], e.args, False) for e in found)


def reads(s: Statement) -> list[str]:
    """The names of the tensors that a statement reads, in order of first appearance; its target if it accumulates."""
    names = reads_of_body(s)
    return [*names, s.target] if s.accumulate and s.target not in names else names


def reads_of_body(s: Statement) -> list[str]:
    """The names of the tensors that a statement reads apart from what it accumulates into."""
    return list(_names_below(s.subscripts, s.body))


@lru_cache(maxsize=REMEMBERED)
def _names_below(subscripts: tuple[Expr, ...], body: Expr) -> tuple[str, ...]:
    return tuple(dict.fromkeys(e.value[0] for root in (*subscripts, body) for e in loads(root)))


def step_statements(step: Step) -> tuple[Statement, ...]:
    """The statements of a step."""
    return step.body if isinstance(step, TimeLoop) else (step,)


def extent(a: Axis) -> int:
    """The extent of an axis, the batch taken as typical."""
    return TYPICAL_BATCH if a.extent is None else a.extent


def volume(axes: Iterable[Axis]) -> int:
    """The number of points of a domain, the batch taken as typical."""
    total = 1
    for a in axes:
        total *= extent(a)
    return total


def bare(e: Expr) -> Axis | None:
    """The axis that a subscript is, if it is just one."""
    found: Axis | None = e.value if e.op == "axis" else None
    return found


def one_to_one(s: Statement) -> bool:
    """True if the statement's axes stand bare in the target, each once, and all else is fixed."""
    return _one_to_one(s.subscripts, s.axes)


@lru_cache(maxsize=REMEMBERED)
def _one_to_one(subscripts: tuple[Expr, ...], axes: tuple[Axis, ...]) -> bool:
    own = [bare(e) for e in subscripts if any(a in axes for a in axes_of(e))]
    return None not in own and len(set(own)) == len(own) == len(axes) and set(own) == set(axes)


def one_to_some(s: Statement) -> bool:
    """True if the statement's axes stand in the target as in `one_to_one`, some of them moved on by a constant."""
    moved = tuple(_unmoved(e) for e in s.subscripts)
    return one_to_one(Statement(s.target, moved, s.axes, s.body))


def _unmoved(e: Expr) -> Expr:
    """The axis of a subscript ``axis + constant``; any other subscript as it is."""
    form = affine(e)
    return form.terms[0][0] if len(form.terms) == 1 and form.terms[0][1] == 1 else e


@lru_cache(maxsize=REMEMBERED)
def apart(a: tuple[Expr, ...], b: tuple[Expr, ...]) -> bool:
    """True if two accesses of a tensor never meet: some subscripts run over disjoint intervals, or have different residues."""
    for left, right in zip(a, b, strict=True):
        (low_a, high_a), (low_b, high_b) = interval(left), interval(right)
        if high_a < low_b or high_b < low_a:
            return True
        one, other = affine(left), affine(right)
        common = gcd(*(c for _, c in (*one.terms, *other.terms)))
        if common > 1 and (one.constant - other.constant) % common:
            return True
    return False


def injective(s: Statement) -> bool:
    """True if no element is written twice: each axis stands in one subscript, as a digit of a number system."""
    return _injective(s.subscripts, s.axes)


@lru_cache(maxsize=REMEMBERED)
def _injective(subscripts: tuple[Expr, ...], axes: tuple[Axis, ...]) -> bool:
    found: list[Axis] = []
    for e in subscripts:
        digits = [(abs(c), t.value) for t, c in affine(e).terms if t.op == "axis" and t.value in axes]
        if any(t.op != "axis" for t, _ in affine(e).terms) and any(a in axes for a in axes_of(e)):
            return False
        reach = 0
        for step, a in sorted(digits, key=lambda d: (d[0], d[1].name)):
            if step <= reach or (a.extent is None and len(digits) > 1):
                return False
            reach += step * ((a.extent or 1) - 1)
        found += [a for _, a in digits]
    return len(set(found)) == len(found) and set(found) == set(axes)


def covers(s: Statement, shape: tuple[int | None, ...], free: Collection[Axis] = ()) -> bool:
    """True if the statement writes every element of its target (over all values of the axes free around it)."""
    return _covers(s.subscripts, s.axes, shape, tuple(free))


@lru_cache(maxsize=REMEMBERED)
def _covers(
    subscripts: tuple[Expr, ...], own: tuple[Axis, ...], shape: tuple[int | None, ...], free: tuple[Axis, ...]
) -> bool:
    if not _injective(subscripts, (*own, *free)) and not _injective(subscripts, own):
        return False
    used = {a for e in subscripts for a in axes_of(e)}
    axes = [*own, *(a for a in free if a in used)]
    known = set(axes)
    if any(a not in known for a in used):
        return False
    runtime = [a for a in axes if a.extent is None]
    count = 1
    for a in axes:
        count *= a.extent or 1
    size = 1
    for e in shape:
        size *= e or 1
    return len(runtime) == shape.count(None) and count == size and inside(subscripts, shape)


@lru_cache(maxsize=REMEMBERED)
def inside(subscripts: tuple[Expr, ...], shape: tuple[int | None, ...]) -> bool:
    """True if affine subscripts stay inside a tensor for all values of their axes."""
    for e, size in zip(subscripts, shape, strict=True):
        if size is None:
            if e.op != "axis" or e.value.extent is not None:
                return False
            continue
        low, high = interval(e)
        if low < 0 or high >= size:
            return False
    return True


@lru_cache(maxsize=REMEMBERED)
def is_affine(subscripts: tuple[Expr, ...]) -> bool:
    """True if every subscript is a sum of axes with constant coefficients."""
    return all(term.op == "axis" for e in subscripts for term, _ in affine(e).terms)


def loop_axes(s: Statement) -> tuple[Axis, ...]:
    """The axes that a statement binds: its own and those of its reduction."""
    return (*s.axes, *s.over)


def fresh_axis(a: Axis, taken: Collection[str]) -> Axis:
    """An axis of the same extent whose name is not taken."""
    name, number = a.name, 1
    while name in taken:
        name, number = f"{a.name}_{number}", number + 1
    return Axis(name, a.extent)


def rename(s: Statement, names: Mapping[Axis, Axis], taken: Collection[str] = ()) -> Statement:
    """The statement with its axes renamed, the others moved out of the way of the new names and of ``taken``."""
    changed = {old: new for old, new in names.items() if old != new}
    reserved = {*taken, *(new.name for new in names.values())}
    for a in loop_axes(s):
        if a in names:
            continue
        if a.name in reserved:
            changed[a] = fresh_axis(a, reserved | {b.name for b in loop_axes(s)})
        reserved.add(changed.get(a, a).name)
    if not changed:
        return s
    values = {axis(old): axis(new) for old, new in changed.items()}
    return Statement(
        s.target,
        tuple(substitute(e, values) for e in s.subscripts),
        tuple(changed.get(a, a) for a in s.axes),
        substitute(s.body, values),
        s.reduce,
        tuple(changed.get(a, a) for a in s.over),
        s.accumulate,
        s.origin,
    )


def free_axes(s: Statement) -> list[Axis]:
    """The axes that a statement uses and does not bind: those of time loops around it."""
    bound = set(loop_axes(s))
    found: dict[Axis, None] = {}
    for e in (*s.subscripts, s.body):
        found.update(dict.fromkeys(a for a in axes_of(e) if a not in bound))
    return list(found)


def elements(tensor: Tensor) -> int:
    """The number of elements of a tensor, for one example where it has the batch axis."""
    total = 1
    for e in tensor.shape:
        total *= 1 if e is None else e
    return total
