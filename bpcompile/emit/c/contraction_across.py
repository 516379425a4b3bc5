"""A contraction whose lanes run across examples: what its text needs beside that of lanes within an example.

The examples of a vector are turned into a panel, and a position on a line is one tile: rows by one vector. Each kind of window
that the positions of a line meet has its own addresses along the depth. A line of sums is turned back before it is stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bpcompile.emit.c.access import index_text, offset
from bpcompile.emit.c.affine import Affine
from bpcompile.emit.c.contraction_axes import address_form, digits, single_stride
from bpcompile.emit.c.contraction_epilogue import finish_tile
from bpcompile.emit.c.contraction_plan import Plan, draft
from bpcompile.emit.c.loops import loop_over
from bpcompile.emit.c.scope import ExpressionWriter, Memory, Scope
from bpcompile.nodes.expressions import Axis, axis
from bpcompile.nodes.statements import Statement
from bpcompile.program.halos import copied, zero_outside
from bpcompile.program.schedule_types import Contraction, Halo


def own_copy(writer: ExpressionWriter, strides: tuple[int, ...], extents: tuple[int | None, ...]) -> Memory:
    """The memory of the padded copy of one example that a kernel makes for itself."""
    return Memory(writer.named("padded"), strides, extents, "real")


@dataclass(frozen=True)
class CopiedExample:
    """C text of the padded copy: its array, how many elements it has, the example, and statements that copy it."""

    name: str
    elements: int
    example: str
    lines: tuple[str, ...]


def copied_example(copy: Statement, writer: ExpressionWriter, unit: Scope, outer: Sequence[Axis]) -> CopiedExample:
    """How a kernel copies an example into memory of its own, between the zeros that are there."""
    source, bounds = copied(copy), zero_outside(copy)
    assert source is not None
    example = next(unit.axis(a) for a in outer if a.extent is None)
    inside = [(a, *bounds.get(a, (0, a.extent))) for a in copy.axes if a.extent is not None]
    names = {a: writer.named(a.name) for a, _, _ in inside}
    scope = unit.child({a: names.get(a, example) for a in copy.axes})
    padded, memory = writer.memory(copy.target), writer.memory(source.value[0])
    there = Affine(0, tuple((axis(a), step) for a, step in zip(copy.axes, padded.strides, strict=True) if step))
    here = address_form(source, memory.strides)
    lines = (
        *(f"for (ptrdiff_t {names[a]} = {low}; {names[a]} < {high}; {names[a]}++)" for a, low, high in inside),
        f"    {padded.pointer}[{index_text(scope, there, ())}] = {memory.pointer}[{index_text(scope, here, ())}];",
    )
    return CopiedExample(padded.pointer, math.prod(e or 1 for e in padded.extents), example, lines)


@dataclass(frozen=True)
class AcrossText:
    """What the text of lanes across examples is made of.

    ``rows`` are those of the other operand, ``row_step`` apart from ``left`` on; an ``example`` has so many elements, and those
    of a vector begin at ``source``. ``position`` is that of a place on a line in its example. ``finish`` stores a row of sums.
    ``lines`` positions beside a line, ``line`` positions on it; ``kinds`` holds the kind of window of each of these, ``froms``
    and ``tos`` which part of the window a kind is, where they differ. ``beside`` are names and values of axes beside the line,
    ``depth`` loops that fill the tables, of ``parts`` parts each: ``near`` to ``far`` are met.
    """

    gain: int
    rows: int
    lines: int
    line: int
    example: int
    source: str
    left: str
    row_step: int
    beside: tuple[tuple[str, str], ...]
    position: str
    kinds: tuple[int, ...]
    froms: tuple[int, ...]
    tos: tuple[int, ...]
    depths: int
    depth: tuple[tuple[str, str, str], ...]
    left_at: str
    right_at: str
    parts: int
    near: str
    far: str
    finish: tuple[str, ...]


def across_text(kernel: Contraction, writer: ExpressionWriter) -> AcrossText | None:
    """What the template needs for lanes across examples; nothing where the rows of the other operand lie apart."""
    across = kernel.across
    if across is None:
        return None
    plan = draft(kernel, writer)
    tensor = across.source.value[0]
    row_step = single_stride(plan.left_rows)
    if plan.right.tensor != (kernel.copy.target if kernel.copy else tensor) or row_step is None:
        return None
    form = address_form(across.source, writer.layout(tensor)[0])
    batch = across.source.args[0].value
    beside = [a for a in (*plan.outer, *plan.columns) if a not in (batch, across.line)]
    names = {a: writer.named(a.name) for a in beside}
    extents = [a.extent or 1 for a in beside]
    windows = across.windows()
    kinds = tuple(dict.fromkeys(windows))
    along, outer = across.along and across.along.inner, across.beside and across.beside.inner
    # The axis that leaves out what lies beside the line is outermost: a part of the window is a part of the table.
    depth = sorted(plan.depth, key=lambda a: (a != outer) + (a == along))
    depth_names = {a: writer.named(a.name) for a in depth}
    bounds = {a: ("froms[kind]", "tos[kind]") if a == along else ("0", str(a.extent)) for a in depth}
    near, far = _range(across.beside, names, writer)
    return AcrossText(
        gain=across.gain,
        rows=math.prod(a.extent or 1 for a in plan.rows),
        lines=math.prod(extents),
        line=across.line.extent or 1,
        example=form.factor(batch),
        source=offset(writer.memory(tensor).pointer, f"column * {form.factor(batch)}"),
        left=offset(writer.memory(plan.left.tensor).pointer, str(plan.left.form.constant)),
        row_step=row_step,
        beside=tuple(zip(names.values(), digits(extents, "number"), strict=True)),
        position=_part(form, {**names, across.line: "place"}, writer),
        kinds=tuple(kinds.index(w) for w in windows),
        froms=tuple(w.start for w in kinds) if along else (),
        tos=tuple(w.stop for w in kinds) if along else (),
        depths=sum(map(len, kinds)) * math.prod(a.extent or 1 for a in depth if a != along),
        depth=tuple((depth_names[a], *bounds[a]) for a in depth),
        left_at=_part(Affine(0, plan.left.form.terms), depth_names, writer),
        right_at=_part(Affine(0, form.terms), depth_names, writer),
        parts=outer.extent or 1 if outer else 1,
        near=near,
        far=far,
        finish=tuple(_finish(plan, writer, {**names, batch: "(column + l)"})),
    )


def _part(form: Affine, names: Mapping[Axis, str], writer: ExpressionWriter) -> str:
    """C text of those terms of a form that belong to some axes."""
    kept = tuple((t, c) for t, c in form.terms if t.value in names)
    return index_text(Scope(writer).child(names), Affine(form.constant, kept), ())


def _range(halo: Halo | None, names: Mapping[Axis, str], writer: ExpressionWriter) -> tuple[str, str]:
    """The first offset beside a line that meets more than zeros, and the one behind the last."""
    if halo is None:
        return "0", "1"
    bounds = (halo.low, halo.high) if halo.sign == 1 else (1 - halo.high, 1 - halo.low)
    near, far = (_part(Affine(bound, ((axis(halo.outer), -halo.sign),)), names, writer) for bound in bounds)
    return near, far


def _finish(plan: Plan, writer: ExpressionWriter, names: Mapping[Axis, str]) -> list[str]:
    """C statements that store row ``r`` of a line of sums, from ``done`` on, and run the epilogue."""
    kernel = plan.kernel
    assert kernel.across is not None
    line = kernel.across.line
    single = {a: "0" for a in (*kernel.rows, *kernel.columns) if a.extent == 1}
    root = Scope(writer)
    unit = root.child({**names, **single}, frozenset(s.target for s in (kernel.statement, *kernel.epilogue)))
    stored = replace(plan, direct=False, outer=(), columns=(line,), column_loop=loop_over(line))
    lines = finish_tile(stored, writer, unit, "r", "j", str(line.extent))
    return [*root.lines, *unit.lines, *lines]
