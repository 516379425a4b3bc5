"""What happens to a tile once its sums are complete: they are stored where they are not yet, and the epilogue runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bpcompile.emit.c.access import store
from bpcompile.emit.c.blocks import WIDEST
from bpcompile.emit.c.contraction_axes import count, digits
from bpcompile.emit.c.contraction_plan import Plan
from bpcompile.emit.c.expressions import value
from bpcompile.emit.c.loops import Loop, heavy, target_load
from bpcompile.emit.c.scope import ExpressionWriter, Scope
from bpcompile.nodes.expressions import Axis


def finish_tile(
    plan: Plan,
    writer: ExpressionWriter,
    unit: Scope,
    row: str = "(row + r)",
    column: str = "(column + j)",
    here: str = "here",
    sums: Callable[[str], str] | None = None,
) -> list[str]:
    """C statements over the rows of a tile and some columns of a panel; empty where nothing is left to do.

    The sums of a row begin at ``done``; in a direct plan that is where they stay, or where a result of the epilogue takes
    their place. ``row`` and ``column`` are the texts of their numbers, ``here`` of how many columns there are. ``sums``
    gives another text for the sums from column ``j`` on, for as many lanes as it is told.
    """
    if plan.direct and not plan.kernel.epilogue:
        return []
    row_axes, row_lines = _row_axes(plan, writer, row)
    rows = unit.child(row_axes)
    rows.lines.extend(row_lines)
    lane = plan.column_loop.axis
    others = dict.fromkeys(plan.column_loop.collapsed, "0")
    written = frozenset(s.target for s in (plan.kernel.statement, *plan.kernel.epilogue))
    lines: list[str] = []
    size, batch = count(plan.columns)
    if plan.pieces:
        part = rows.child({lane: column, **others}, written, lane=lane, count="lanes")
        _write_vector(plan, part, "v_load(done + v * LANES)")
        lines = ["for (ptrdiff_t v = 0, j = 0; v < vectors; j += lengths[v], v++) {", "    const int lanes = lengths[v];",
                 *_indented(part.lines), "}"]  # fmt: skip
    elif not batch and size % WIDEST == 0:  # no vector is a part of one
        whole = rows.child({lane: column, **others}, written, lane=lane)
        _write_vector(plan, whole, sums("LANES") if sums else "v_load(done + j)")
        lines = [f"for (ptrdiff_t j = 0; j < {here}; j += LANES) {{", *_indented(whole.lines), "}"]
    elif heavy(plan.kernel.epilogue):
        part = rows.child({lane: column, **others}, written, lane=lane, count="lanes")
        _write_vector(plan, part, sums("lanes") if sums else "bp_load_upto(done + j, lanes)")
        lines = [f"for (ptrdiff_t j = 0; j < {here}; j += LANES) {{",
                 f"    const int lanes = {here} - j < LANES ? (int)({here} - j) : LANES;",
                 *_indented(part.lines), "}"]  # fmt: skip
    else:
        whole = rows.child({lane: column, **others}, written, lane=lane)
        _write_vector(plan, whole, sums("LANES") if sums else "v_load(done + j)")
        part = rows.child({lane: column, **others}, written, lane=lane, count="lanes")
        _write_vector(plan, part, sums("lanes") if sums else "v_load_part(done + j, lanes)")
        lines = ["ptrdiff_t j = 0;", f"for (; j + LANES <= {here}; j += LANES) {{", *_indented(whole.lines), "}",
                 f"if (j < {here}) {{", f"    const int lanes = (int)({here} - j);", *_indented(part.lines), "}"]  # fmt: skip
    return [*rows.lines, *lines]


def _indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


def _row_axes(plan: Plan, writer: ExpressionWriter, row: str) -> tuple[Mapping[Axis, str], list[str]]:
    """Names for the row axes, and statements that find their values from the number of a row."""
    names: dict[Axis, str] = {}
    lines: list[str] = []
    loops: tuple[Loop, ...] = plan.row_loops
    for loop, text in zip(loops, digits([p.size for p in loops], row), strict=True):
        names[loop.axis] = writer.named(loop.axis.name)
        names.update(dict.fromkeys(loop.collapsed, "0"))
        lines.append(f"const ptrdiff_t {names[loop.axis]} = {text};")
    return names, lines


def _write_vector(plan: Plan, scope: Scope, sums: str) -> None:
    """Store one vector of the target if the tiles did not, then compute the epilogue's statements in order."""
    kernel, writer = plan.kernel, scope.writer
    result = target_load(writer, kernel.statement)
    wide = scope.is_vector(result)
    kind = "vreal" if wide else "real"
    name = writer.fresh("x")
    scope.lines.append(f"const {kind} {name} = {sums if wide else f'v_lane({sums}, 0)'};")
    if not plan.direct and kernel.statement.target not in kernel.local:
        if kernel.statement.accumulate:
            total = writer.fresh("x")
            scope.lines.append(f"const {kind} {total} = {value(scope, result)} + {name};")
            name = total
        store(scope, result.value[0], result.args, name, accumulate=False, vector=wide)
    scope.keep(result, wide, name)
    for s in kernel.epilogue:
        text = value(scope, s.body)
        wide = scope.is_vector(s.body)
        written = target_load(writer, s)
        if s.target not in kernel.local:
            store(scope, s.target, s.subscripts, text, accumulate=s.accumulate, vector=wide)
        if not s.accumulate:
            scope.keep(written, scope.is_vector(written), _spread(text, wide, scope.is_vector(written)))


def _spread(text: str, wide: bool, wanted: bool) -> str:
    return f"v_splat({text})" if wanted and not wide else text
