"""A contraction for a single example: vectors of sums stay in registers until the epilogue has used them.

Tiles store their sums, and the epilogue loads them again: nothing beside a batch, but one example waits for it in every layer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bpcompile.emit.c.contraction_axes import count, single_stride
from bpcompile.emit.c.contraction_epilogue import finish_tile
from bpcompile.emit.c.contraction_plan import Plan
from bpcompile.emit.c.scope import Scope

MOST_ELEMENTS: Final = 1 << 13
"""Elements of a matrix up to which it is read by columns of a vector, though its rows are contiguous."""


def one_row(plan: Plan, root: Scope, unit: Scope, left: str, right: str) -> list[str]:
    """C statements for a batch of one example, if that is one row; empty where the tiles do as well.

    ``root`` and ``unit`` are scopes of its own, ``left`` and ``right`` the texts of the operands' addresses; the columns
    are ``here`` from ``column`` on.
    """
    (columns, any_batch), (depth, depth_batch) = count(plan.columns), count(plan.depth)
    once = plan.direct and not plan.outer and not plan.halo and not plan.kernel.statement.accumulate
    if not once or count(plan.rows) != (1, True) or any_batch or depth_batch:
        return []
    column_step, left_step, right_step = (single_stride(s) for s in (plan.right_columns, plan.left_depth, plan.right_depth))
    if plan.dot:
        begin = f"bp_dot_row({left}, {right} + (column + j) * {column_step}, {column_step}"
    elif plan.packing == "rows" and right_step is not None and columns * depth <= MOST_ELEMENTS:
        begin = f"bp_step_row({left}, {left_step}, {right} + column + j, {right_step}"
    else:
        return []
    stored = replace(plan, direct=False)
    lines = finish_tile(stored, root.writer, unit, "0", sums=lambda lanes: f"{begin}, {lanes}, depths)")
    return [*root.lines, *unit.lines, *lines]
