"""Loops of a nest: which axis runs along the lanes, and which neighbouring axes collapse into one loop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bpcompile.emit.c.affine import Affine, affine, inside
from bpcompile.emit.c.scope import ExpressionWriter
from bpcompile.nodes.expressions import Axis, Expr, children_first, load
from bpcompile.nodes.statements import Statement

USUAL_BATCH: Final = 64
"""How many examples a choice among loops assumes."""
_COSTS: Final = {
    **dict.fromkeys(("exp", "expm1", "log", "log1p", "log2", "log10", "sigmoid", "softplus", "tanh", "erf"), 12),
    **dict.fromkeys(("erfc", "sin", "cos", "tan", "sinh", "cosh", "asinh", "acosh", "atanh", "atan", "asin", "acos"), 20),
    **dict.fromkeys(("pow", "atan2", "gamma", "lgamma", "digamma", "trigamma"), 40),
    "draw": 12, "div": 4, "sqrt": 4, "mod": 4, "floordiv": 4, "const": 0, "axis": 0, "load": 0, "size": 0, "stop": 0,
    "flag": 0, "seed": 0,
}  # fmt: skip
HEAVY: Final = 12
TINY: Final = 4
"""The largest extent of a loop that is unrolled into scalar code."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop over one axis, or over several that lie one after the other in every access.

    ``axis`` is bound to the loop's variable and the ``collapsed`` ones to 0; it runs to ``size``, times n if ``batch``.
    """

    axis: Axis
    size: int
    batch: bool
    collapsed: tuple[Axis, ...] = ()

    @property
    def text(self) -> str:
        """The extent in C."""
        if not self.batch:
            return str(self.size)
        return "n" if self.size == 1 else f"n * {self.size}"

    @property
    def usual(self) -> int:
        """The extent for a usual batch."""
        return self.size * (USUAL_BATCH if self.batch else 1)


def loop_over(axis: Axis) -> Loop:
    """The loop over one axis."""
    return Loop(axis, axis.extent or 1, axis.extent is None)


@dataclass(frozen=True)
class Uses:
    """How statements use their axes.

    ``forms`` are the addresses of all accesses, those of the targets first; ``targets`` holds the forms of each target's
    subscripts; ``values`` are the axes whose value matters elsewhere than in an address.
    """

    forms: tuple[Affine, ...]
    targets: tuple[tuple[Affine, ...], ...]
    values: frozenset[Axis]


def uses(writer: ExpressionWriter, statements: Iterable[Statement]) -> Uses:
    """Collect every address of some statements as an affine form; targets come first."""
    forms: list[Affine] = []
    loads: dict[Expr, None] = {}
    values: dict[Axis, None] = {}
    targets: list[Expr] = []
    statements = tuple(statements)
    for s in statements:
        targets.append(target_load(writer, s))
        _collect(s.body, loads, values)
    for e in targets:
        for subscript in e.args:
            _collect_terms(affine(subscript), loads, values)
    for e in (*targets, *loads):
        forms.append(_form(writer, e, values))
    subscripts = tuple(tuple(affine(a) for a in e.args) for e in targets)
    return Uses(tuple(forms), subscripts, frozenset(values))


def target_load(writer: ExpressionWriter, s: Statement) -> Expr:
    """The load that reads what a statement has just written."""
    return load(s.target, s.subscripts, writer.arguments.tensors[s.target].kind)


def _collect(root: Expr, loads: dict[Expr, None], values: dict[Axis, None]) -> None:
    """Note loads and draws below an expression, and the axes that stand elsewhere than in their subscripts."""
    if root.op in ("load", "draw"):
        loads.setdefault(root)
        for a in root.args[:-1] if root.op == "draw" else ():
            _collect(a, loads, values)
        for subscript in root.args if root.op == "load" else root.args[-1:]:
            _collect_terms(affine(subscript), loads, values)
        return
    if root.op == "axis":
        values.setdefault(root.value)
    for a in root.args:
        _collect(a, loads, values)


def _collect_terms(form: Affine, loads: dict[Expr, None], values: dict[Axis, None]) -> None:
    for term, _ in form.terms:
        if term.op != "axis":
            _collect(term, loads, values)


def _form(writer: ExpressionWriter, e: Expr, values: dict[Axis, None]) -> Affine:
    """The address of a load as one affine form; axes in loose subscripts count as values."""
    if e.op == "draw":
        return affine(e.args[-1])
    strides, extents = writer.layout(e.value[0])
    total = Affine(0)
    for subscript, stride, extent in zip(e.args, strides, extents, strict=True):
        form = affine(subscript)
        total = total.plus(form.scaled(stride))
        if not inside(subscript, extent):
            values.update(dict.fromkeys(t.value for t, _ in form.terms if t.op == "axis"))
    return total


def collapse(axes: Sequence[Axis], used: Uses) -> list[Loop]:
    """Loops over axes in order, where neighbours become one loop if every address treats them as one axis."""
    loops: list[Loop] = []
    for axis in axes:
        last = loops[-1] if loops else None
        if last is not None and axis.extent is not None and _one_axis(last.axis, axis, used):
            loops[-1] = Loop(axis, last.size * axis.extent, last.batch, (*last.collapsed, last.axis))
        else:
            loops.append(loop_over(axis))
    return loops


def _one_axis(outer: Axis, inner: Axis, used: Uses) -> bool:
    if outer in used.values or inner in used.values or inner.extent is None:
        return False
    return all(form.factor(outer) == inner.extent * form.factor(inner) for form in used.forms)


def work(body: Expr) -> int:
    """About how many simple operations an expression takes."""
    return sum(_COSTS.get(e.op, 1) for e in children_first(body))


def heavy(statements: Iterable[Statement]) -> bool:
    """True if a body is large enough that its text should stand once only."""
    return sum(work(s.body) for s in statements) > 2 * HEAVY


def best_lane(
    writer: ExpressionWriter, statements: Sequence[Statement], candidates: Iterable[Axis], over: Iterable[Axis] = ()
) -> Axis | None:
    """The axis to run along the lanes: the cheapest by an estimate; ``None`` if no axis beats scalar code."""
    used = uses(writer, statements)
    candidates, over = tuple(candidates), tuple(over)
    lanes = 16 if writer.dtype == "float32" else 8
    compute = 1.0 + sum(work(s.body) for s in statements)
    best, least = None, compute + len(used.forms)
    reduced = set(over)
    for axis in (*candidates, *over):
        group = over if axis in reduced else candidates
        loop = collapse([*(a for a in group if a != axis), axis], used)[-1]
        extent = loop.usual
        if (extent <= TINY and not loop.batch) or _collides(axis, used, reduced):
            continue
        cost = compute + sum(_access_cost(f, axis, k < len(used.targets), lanes) for k, f in enumerate(used.forms))
        if axis in reduced:
            cost += 8 * lanes / max(extent, lanes)
        cost *= math.ceil(extent / lanes) / extent
        if cost < least:
            best, least = axis, cost
    return best


def _collides(axis: Axis, used: Uses, reduced: set[Axis]) -> bool:
    """True if two lanes could write one element."""
    return axis not in reduced and any(not any(f.factor(axis) for f in t) for t in used.targets)


def repeat_along(form: Affine, axis: Axis) -> tuple[Expr, int] | None:
    """The term ``axis // r`` of an address through which alone the axis moves it, by one element, and ``r``."""
    moving = [(t, c) for t, c in form.terms if axis in _axes_below(t)]
    if len(moving) != 1 or moving[0][1] != 1 or moving[0][0].op != "floordiv":
        return None
    below, by = moving[0][0].args
    return (moving[0][0], int(by.value)) if below.op == "axis" and by.op == "const" else None


def _access_cost(form: Affine, axis: Axis, stored: bool, lanes: int) -> float:
    if not stored and repeat_along(form, axis) is not None:
        return 2.0
    if any(t.op != "axis" and axis in _axes_below(t) for t, _ in form.terms):
        return 4.0 * lanes
    stride = form.factor(axis)
    if stride in (0, 1):
        return 1.0
    if stride in (2, -1):
        return 3.0 if not stored or stride == 2 else 2.5 * lanes
    return 2.5 * lanes if stored else 2.0 * lanes


def _axes_below(e: Expr) -> set[Axis]:
    return {x.value for x in children_first(e) if x.op == "axis"}
