"""Accumulations become reductions and assignments where they can.

Requires a well-formed program. Establishes: no accumulation runs over an axis that its target does not show if a sum
can; the first write of a tensor that covers it is an assignment; elementwise accumulations come after the contractions
into the same tensor, so that they can ride in the epilogue. What still accumulates first is cleared by the schedule.
"""

from __future__ import annotations

from dataclasses import replace

from bpcompile.nodes.access import covers, reads_of_body, step_statements
from bpcompile.nodes.expressions import Axis, axes_of
from bpcompile.nodes.statements import Program, Statement, Step, TimeLoop


def settle_accumulations(program: Program) -> Program:
    """Turn accumulations over unseen axes into sums, and first accumulations into assignments."""
    steps = tuple(
        replace(step, body=tuple(map(_summed, step.body))) if isinstance(step, TimeLoop) else _summed(step)
        for step in program.steps
    )
    return program.with_steps(_assigned(program, _elementwise_last(program, steps)))


def _summed(s: Statement) -> Statement:
    """``g[j] += f[n, j]`` for all n and j is ``g[j] += sum(f[n, j], n)``."""
    if not s.accumulate or s.reduce not in (None, "sum"):
        return s
    shown = {a for e in s.subscripts for a in axes_of(e)}
    hidden = tuple(a for a in s.axes if a not in shown)
    if not hidden:
        return s
    kept = tuple(a for a in s.axes if a in shown)
    return replace(s, axes=kept, reduce="sum", over=(*hidden, *s.over))


def _elementwise_last(program: Program, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Move a term without a sum behind the sums into the same tensor that follow before it is read."""
    order: list[Step] = list(steps)
    first_writer: dict[str, Statement] = {}
    for step in steps:
        for s in step_statements(step):
            first_writer.setdefault(s.target, s)
    for position in range(len(order) - 1, -1, -1):
        step = order[position]
        if isinstance(step, TimeLoop):
            continue
        s = step
        if s.reduce or (not s.accumulate and first_writer[s.target] is not s):
            continue
        shape = program.tensors[s.target].shape
        goal = _last_sum(order, position, s)
        if goal == position or (not s.accumulate and not _sum_covers(order[position + 1 : goal + 1], s.target, shape)):
            continue
        order.pop(position)
        order.insert(goal, replace(s, accumulate=True))
    return tuple(order)


def _last_sum(order: list[Step], position: int, s: Statement) -> int:
    """The place of the last sum into the target of ``s`` that ``s`` may move behind."""
    needed = set(reads_of_body(s))
    goal = position
    for i in range(position + 1, len(order)):
        for other in step_statements(order[i]):
            if other.target in needed or s.target in reads_of_body(other):
                return goal
            if other.target == s.target:
                if isinstance(order[i], TimeLoop) or not other.accumulate:
                    return goal
                if other.reduce == "sum":
                    goal = i
    return goal


def _sum_covers(between: list[Step], target: str, shape: tuple[int | None, ...]) -> bool:
    """True if the first write of the target among these steps is a sum that covers it."""
    first = next(o for step in between for o in step_statements(step) if o.target == target)
    return first.reduce == "sum" and covers(first, shape)


def _assigned(program: Program, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Make the first write of each tensor an assignment where it covers the tensor."""
    written: set[str] = set()
    result: list[Step] = []
    for step in steps:
        if not isinstance(step, TimeLoop):
            result.append(_first(program, step, written, ()))
            written.add(step.target)
            continue
        by_target: dict[str, list[Statement]] = {}
        for s in step.body:
            by_target.setdefault(s.target, []).append(s)
        body = []
        for s in step.body:
            # Every write must be at the loop's own time, or a later iteration would wipe out an earlier one's part.
            own_time = all(covers(o, program.tensors[o.target].shape, (step.axis,)) for o in by_target[s.target])
            body.append(_first(program, s, written, (step.axis,)) if own_time else s)
            written.add(s.target)
        result.append(replace(step, body=tuple(body)))
    return tuple(result)


def _first(program: Program, s: Statement, written: set[str], free: tuple[Axis, ...]) -> Statement:
    shape = program.tensors[s.target].shape
    if not s.accumulate or s.target in written or not covers(s, shape, free) or s.target in reads_of_body(s):
        return s
    return replace(s, accumulate=False)

