"""Panels that are packed once and read by a contraction in every iteration of a loop."""

from __future__ import annotations

from bpcompile.emit.c.contraction_axes import count, single_stride
from bpcompile.emit.c.contraction_plan import Plan
from bpcompile.program.panels import DEPTHS


def reads_panels(plan: Plan) -> bool:
    """True if the contraction takes its right operand from panels packed beforehand."""
    if not plan.kernel.panels or plan.right.load is not plan.kernel.right or plan.outer or plan.tables or plan.run:
        return False
    steps = (single_stride(plan.right_columns), single_stride(plan.right_depth))
    return None not in steps and plan.packing in ("rows", "transposed") and not plan.pieces


def panel_elements(plan: Plan) -> str:
    """C text of the elements of a panel."""
    return f"{-(-count(plan.depth)[0] // DEPTHS) * DEPTHS} * WIDTH"


def pack_text(plan: Plan, width: str, columns: str, right: str, panels: str) -> str:
    """C statements that fill the panels ``begin`` to ``end``.

    Parameters
    ----------
    plan : Plan
    width, columns : str
        C texts of the columns of a panel, and of all columns.
    right, panels : str
        Pointers to the operand's first element, and to the first panel.
    """
    column_step, depth_step = single_stride(plan.right_columns), single_stride(plan.right_depth)
    depths = count(plan.depth)[0]
    call = (
        f"bp_pack_rows(panel, WIDTH, right + column, NULL, {depth_step}, here, {depths});"
        if plan.packing == "rows"
        else f"bp_pack_transposed(panel, WIDTH, right + column * {column_step}, {column_step}, here, {depths});"
    )
    return "".join(f"    {line}\n" for line in (
        f"enum {{ WIDTH = {width} }};",
        f"const real *right = {right};",
        "for (ptrdiff_t strip = begin; strip < end; strip++) {",
        "    const ptrdiff_t column = strip * WIDTH;",
        f"    const ptrdiff_t here = {columns} - column < WIDTH ? {columns} - column : WIDTH;",
        f"    real *panel = {panels} + strip * {panel_elements(plan)};",
        f"    {call}",
        "}",
    ))  # fmt: skip


