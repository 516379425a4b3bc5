"""Order the statements of a nest so that inner loops are shared.

Requires statements whose first axes are the nest's. Establishes groups of adjacent statements with the very same inner
axes which may run element by element; a reduction has a group of its own.
"""

from __future__ import annotations

from bpcompile.nodes.access import free_axes, reads, rename
from bpcompile.nodes.expressions import Axis
from bpcompile.nodes.statements import Statement
from bpcompile.program.match import AccessTable, match_axes
from bpcompile.program.schedule_types import Nest


def in_joined_order(outer: tuple[Axis, ...], statements: tuple[Statement, ...]) -> Nest:
    """The nest of these statements over the outer axes, those that can share an inner loop next to each other."""
    waiting = list(range(len(statements)))
    needs = _dependences(statements)
    done: set[int] = set()
    order: list[Statement] = []
    joined: list[int] = []
    while waiting:
        first = next(i for i in waiting if needs[i] <= done)
        head = statements[first]
        inner = head.axes[len(outer) :]
        table = AccessTable()
        table.add(head)
        group = [head]
        waiting.remove(first)
        done.add(first)
        if head.reduce is None:
            group += _companions(outer, inner, statements, waiting, needs, done, table)
        joined += [joined[-1] + 1 if joined else 0] * len(group)
        order += group
    if joined[-1] == 0 and all(s.reduce is None for s in order):
        outer = order[0].axes
    return Nest(outer, tuple(order), tuple(joined))


def _companions(
    outer: tuple[Axis, ...],
    inner: tuple[Axis, ...],
    statements: tuple[Statement, ...],
    waiting: list[int],
    needs: list[set[int]],
    done: set[int],
    table: AccessTable,
) -> list[Statement]:
    """The waiting statements that can share the inner loop, taken from the waiting ones."""
    found: list[Statement] = []
    progress = True
    while progress:
        progress = False
        for i in list(waiting):
            s = statements[i]
            rest = s.axes[len(outer) :]
            if not needs[i] <= done or s.reduce or len(rest) != len(inner):
                continue
            matched = match_axes(s, rest, inner, table)
            if len(matched) != len(inner):
                continue
            keep = {a: a for a in outer}
            renamed = rename(s, {**keep, **matched}, {a.name for a in free_axes(s)})
            renamed = Statement(
                renamed.target, renamed.subscripts, (*outer, *inner), renamed.body, origin=s.origin,
                accumulate=renamed.accumulate,
            )  # fmt: skip
            table.add(renamed)
            found.append(renamed)
            waiting.remove(i)
            done.add(i)
            progress = True
    return found


def _dependences(statements: tuple[Statement, ...]) -> list[set[int]]:
    """For each statement, the earlier ones that must come before it."""
    used = [({s.target}, {*reads(s)}) for s in statements]
    return [
        {j for j in range(i) if used[j][0] & (used[i][0] | used[i][1]) or used[j][1] & used[i][0]}
        for i in range(len(statements))
    ]
