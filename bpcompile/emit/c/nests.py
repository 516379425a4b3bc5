"""A nest of loops as a kernel in C.

Outer loops run over the nest's axes; each group of statements has inner loops of its own. One axis of either, or of what
is reduced, runs along the lanes. Neighbouring axes that every access treats alike collapse into one loop. What is computed
does not depend on how the outermost loop is divided among calls.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bpcompile.emit.c.blocks import Span, write_lanes, write_loops
from bpcompile.emit.c.equations import equation_text, equations
from bpcompile.emit.c.kernel_text import Arguments, KernelText, Phase, element_type
from bpcompile.emit.c.loops import USUAL_BATCH, best_lane, collapse, heavy, uses, work
from bpcompile.emit.c.reductions import copies as copies_of
from bpcompile.emit.c.scope import ExpressionWriter, Memory, Scope
from bpcompile.emit.c.statements import write_statement
from bpcompile.nodes.access import bare, reads_of_body
from bpcompile.nodes.expressions import Axis
from bpcompile.nodes.statements import Statement, Tensor
from bpcompile.program.schedule_types import Nest, Place

BLOCK = 1024
"""Elements in a unit of work of a nest that is one loop along the lanes."""
STRIPE = 64
"""Elements in a unit of work of a scatter that is divided along the lanes."""
SMALL_WORK = 20_000
"""Scalar operations below which a nest is not divided, whatever a usual batch."""


@dataclass(frozen=True)
class _Plan:
    """A nest in the form that is written; ``lane`` is set where an axis of the nest itself runs along the lanes.

    ``stripe``: units of work are so many elements along the lanes, in all iterations of the other loops, instead of
    iterations of the outermost one.
    """

    axes: tuple[Axis, ...]
    groups: tuple[tuple[Statement, ...], ...]
    lane: Axis | None
    divisible: bool
    stripe: int = 0

    @property
    def statements(self) -> tuple[Statement, ...]:
        return tuple(itertools.chain(*self.groups))


def emit_nest(
    nest: Nest, places: Mapping[str, Place], tensors: Mapping[str, Tensor], dtype: str, name: str
) -> KernelText:
    """Write a nest as a kernel.

    Parameters
    ----------
    nest : Nest
    places : mapping of str to Place
    tensors : mapping of str to Tensor
    dtype : str
        ``float32`` or ``float64``.
    name : str
        A C identifier.

    Returns
    -------
    KernelText
        One phase; its units are iterations (or blocks of them) of the outermost loop.
    """
    written = frozenset(s.target for s in nest.statements)
    writer = ExpressionWriter(dtype, Arguments(tensors, places, written))
    for tensor in sorted(nest.local):
        pointer = writer.named(tensor)
        writer.local[tensor] = Memory(
            pointer, places[tensor].strides, tensors[tensor].shape, element_type(tensors[tensor], places[tensor])
        )
    plan = _plan(writer, nest)
    root = Scope(writer)
    units = _write_outer(plan, root, written)
    return KernelText(
        name,
        writer.arguments.in_order(),
        (Phase("".join(f"    {line}\n" for line in root.lines), units, _work_text(plan.statements)),),
        equations(nest),
        tuple(writer.names),
        tuple(writer.helpers),
    )


def _plan(writer: ExpressionWriter, nest: Nest) -> _Plan:
    groups = tuple(_split(nest))
    statements = nest.statements
    if nest.sequential:
        scattered = _scatter(writer, statements[0]) if len(statements) == 1 else None
        axes = () if len(statements) == 1 else nest.axes
        return scattered or _Plan(axes, groups, None, divisible=False)
    axes = nest.axes
    if len(statements) == 1:
        axes = statements[0].axes
    if any(s.axes != axes for s in statements):
        return _Plan(axes, groups, None, divisible=True)
    over = tuple(dict.fromkeys(a for s in statements for a in lanes_within(s)))
    lane = best_lane(writer, statements, axes, over)
    return _Plan(axes, groups, lane if lane in axes else None, divisible=True)


def _scatter(writer: ExpressionWriter, s: Statement) -> _Plan | None:
    """A sum into places that data choose, divided by destination: along an axis that stands in the target as it is.

    Each element still gets its terms in the order of the other axes, however the axis is divided.
    """
    own = [a for a in s.axes if any(bare(e) == a for e in s.subscripts)]
    if not own or not s.accumulate or s.reduce or s.target in reads_of_body(s):
        return None
    lane = best_lane(writer, (s,), s.axes)
    outer = [a for a in own if a != lane]
    axes = (*outer, *(a for a in s.axes if a not in outer))
    if outer:
        return _Plan(axes, ((s,),), lane, divisible=True)
    return _Plan(axes, ((s,),), lane, divisible=True, stripe=STRIPE) if lane in own else None


def lanes_within(s: Statement) -> tuple[Axis, ...]:
    """The reduced axes that may run along the lanes: positions are found in order, so only their last axis may."""
    return s.over[-1:] if (s.reduce or "").startswith("arg") else s.over


def _split(nest: Nest) -> Iterator[tuple[Statement, ...]]:
    """Groups that share loops; a reduction is always alone."""
    pairs = list(zip(nest.joined, nest.statements, strict=True))
    for _, group in itertools.groupby(pairs, key=lambda p: (p[0], p[1].reduce is None)):
        found = tuple(s for _, s in group)
        yield from [found] if found[0].reduce is None else [(s,) for s in found]


def _write_outer(plan: _Plan, root: Scope, written: frozenset[str]) -> str:
    """Write the loops over the nest's axes with all groups inside; gives the number of units of work."""
    axes = [a for a in plan.axes if a != plan.lane] + ([plan.lane] if plan.lane is not None else [])
    loops = collapse(axes, uses(root.writer, plan.statements))
    divided = plan.divisible and bool(loops) and _total_work(plan.statements, 4 * USUAL_BATCH) > SMALL_WORK

    def body(scopes: Sequence[Scope]) -> None:
        scopes[0].lines.extend(_local_arrays(root.writer))
        for group in plan.groups:
            scopes[0].lines.extend(f"/* {equation_text(s)} */" for s in group)
            _write_group(scopes, group, plan)

    if plan.lane is None:
        inside = root.child(writes=written)
        inside.lines = root.lines
        write_loops([inside], loops, body, written, Span("begin", "end") if divided else None)
        return loops[0].text if divided else ""
    *outer, last = loops
    copies = max((copies_of(s, last) for s in plan.statements if s.reduce), default=1)
    once = heavy(plan.statements)
    striped = divided and (not outer or plan.stripe > 0)
    span, block = Span("first", "last") if striped else None, plan.stripe or BLOCK
    if striped:
        root.lines.append(f"const ptrdiff_t first = begin * {block};")
        root.lines.append(f"const ptrdiff_t last = end * {block} < {last.text} ? end * {block} : {last.text};")

    def lanes(scopes: Sequence[Scope]) -> None:
        write_lanes(scopes[0], last, body, written, copies=1 if once else copies, once=once, span=span)

    write_loops([root], outer, lanes, written, Span("begin", "end") if divided and not striped else None)
    if not divided:
        return ""
    return f"({last.text} + {block - 1}) / {block}" if striped else outer[0].text


def _write_group(scopes: Sequence[Scope], group: tuple[Statement, ...], plan: _Plan) -> None:
    """Write statements that share their inner loops."""
    inner = [a for a in group[0].axes if a not in plan.axes]
    writer, targets = scopes[0].writer, frozenset(s.target for s in group)
    if plan.lane is not None:
        for s in group:
            write_statement(scopes, s)
        return
    over = lanes_within(group[0]) if group[0].reduce else ()
    lane = best_lane(writer, group, inner, over)

    def body(found: Sequence[Scope]) -> None:
        for s in group:
            write_statement(found, s, lane if lane in over else None)

    if lane not in inner:
        write_loops(scopes, collapse(inner, uses(writer, group)), body, targets)
        return
    *outer, last = collapse([*(a for a in inner if a != lane), lane], uses(writer, group))
    once = heavy(group)
    copies = 1 if once else max((copies_of(s, last) for s in group if s.reduce), default=1)

    write_loops(
        scopes, outer, lambda found: write_lanes(found[0], last, body, targets, copies=copies, once=once), targets
    )


def _local_arrays(writer: ExpressionWriter) -> Iterator[str]:
    for memory in writer.local.values():
        if any(memory.strides):
            room = 1 + sum(t * ((e or 1) - 1) for t, e in zip(memory.strides, memory.extents, strict=True))
            yield f"{memory.element} {memory.pointer}[{room}];"


def _volume(s: Statement) -> tuple[int, bool]:
    """How often a statement's body runs, and whether that is times n."""
    axes = (*s.axes, *s.over)
    return math.prod(a.extent or 1 for a in axes), any(a.extent is None for a in axes)


def _total_work(statements: Sequence[Statement], n: int) -> int:
    return sum(v * (n if batch else 1) * (work(s.body) + 1) for s in statements for v, batch in (_volume(s),))


def _work_text(statements: Sequence[Statement]) -> str:
    each = _total_work(statements, 1) - (fixed := _total_work(statements, 0))
    return " + ".join(t for t in (str(fixed) if fixed or not each else "", f"{each} * n" if each else "") if t)
