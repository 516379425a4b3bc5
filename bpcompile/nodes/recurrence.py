"""Statements put in order: what is read is written before; what forms a cycle runs together over time.

Requires statements in any order, each tensor written by plain statements or accumulated into. Establishes a sequence of
steps: statements, and time loops for the strongly connected ones. Only the cycle stays inside a time loop: input
projections come before it, weight gradients after it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bpcompile.errors import NetworkError
from bpcompile.nodes.affine import affine
from bpcompile.nodes.expressions import Axis, Expr, axis, substitute, walk_nodes
from bpcompile.nodes.statements import Statement, Step, TimeLoop


def arrange(statements: Sequence[Statement]) -> tuple[Step, ...]:
    """Order statements by their dependences, as close to the given order as these allow.

    Raises
    ------
    NetworkError
        For a cycle that is no recurrence over one index at constant distances.
    """
    after = _dependences(statements)
    groups = _components(len(statements), after)
    steps: list[Step] = []
    for members in _ordered(groups, after):
        first = members[0]
        if len(members) == 1 and first not in after[first]:
            steps.append(statements[first])
        else:
            steps.append(_time_loop([statements[m] for m in members]))
    return tuple(steps)


def _reads(s: Statement) -> list[Expr]:
    return [e for e in walk_nodes((s.body, *s.subscripts)) if e.op == "load"]


def _dependences(statements: Sequence[Statement]) -> list[list[int]]:
    """For each statement the statements that must come after it."""
    writers: dict[str, list[int]] = {}
    for k, s in enumerate(statements):
        writers.setdefault(s.target, []).append(k)
    after: list[dict[int, None]] = [{} for _ in statements]
    for k, s in enumerate(statements):
        for tensor in dict.fromkeys(e.value[0] for e in _reads(s)):
            for w in writers.get(tensor, ()):
                after[w].setdefault(k)
        if s.accumulate:
            for w in writers[s.target]:
                if w != k and (not statements[w].accumulate or w < k):
                    after[w].setdefault(k)
    return [list(a) for a in after]


def _components(count: int, after: Sequence[Sequence[int]]) -> list[list[int]]:
    """Strongly connected components (Tarjan 1972), without recursion."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    components: list[list[int]] = []
    for root in range(count):
        if root in index:
            continue
        work = [(root, 0)]
        while work:
            v, k = work.pop()
            if k == 0:
                index[v] = low[v] = len(index)
                stack.append(v)
                on_stack.add(v)
            if k < len(after[v]):
                work.append((v, k + 1))
                w = after[v][k]
                if w not in index:
                    work.append((w, 0))
                elif w in on_stack:
                    low[v] = min(low[v], index[w])
                continue
            for w in after[v]:
                if w in on_stack:
                    low[v] = min(low[v], low[w])
            if low[v] == index[v]:
                members: list[int] = []
                while True:
                    w = stack.pop()
                    on_stack.discard(w)
                    members.append(w)
                    if w == v:
                        break
                components.append(sorted(members))
    return components


def _ordered(groups: Sequence[list[int]], after: Sequence[Sequence[int]]) -> list[list[int]]:
    """The components in topological order; of those that are ready the earliest in the given order."""
    group_of = {m: g for g, members in enumerate(groups) for m in members}
    followers: list[set[int]] = [set() for _ in groups]
    for v, out in enumerate(after):
        followers[group_of[v]] |= {group_of[w] for w in out} - {group_of[v]}
    waiting = [0] * len(groups)
    for targets in followers:
        for g in targets:
            waiting[g] += 1
    ready = [(groups[g][0], g) for g in range(len(groups)) if not waiting[g]]
    heapq.heapify(ready)
    order: list[list[int]] = []
    while ready:
        _, g = heapq.heappop(ready)
        order.append(groups[g])
        for f in sorted(followers[g]):
            waiting[f] -= 1
            if not waiting[f]:
                heapq.heappush(ready, (groups[f][0], f))
    return order


# --- one cycle ------------------------------------------------------------------------------------------------------------


_MOST_CHOICES: Final = 10_000
"""How many ways of taking axes for the time are looked at."""


@dataclass(frozen=True)
class _Cycle:
    """Which axis of each statement, and which dimension of each tensor, is the time of a recurrence."""

    statements: Sequence[Statement]
    time_axis: dict[int, Axis] = field(default_factory=dict)
    dimension: dict[str, int] = field(default_factory=dict)

    def having(self, k: int, a: Axis) -> _Cycle:
        """The cycle with an axis taken for the time of one statement."""
        s = self.statements[k]
        return replace(
            self, time_axis={**self.time_axis, k: a}, dimension={**self.dimension, s.target: s.axes.index(a)}
        )

    def choice(self) -> tuple[int, list[Axis], Expr] | None:
        """The next statement whose time follows from an access, what it may be, and the access; None if all are known.

        An access's time subscript is its reader's time, shifted. ``h[n, t, t-1]`` leaves a choice: the step is tried first.
        """
        writers = {s.target: k for k, s in enumerate(self.statements)}
        found: list[tuple[int, list[Axis], Expr]] = []
        for reader, s in enumerate(self.statements):
            for e in _reads(s):
                if e.value[0] not in writers:
                    continue
                writer = writers[e.value[0]]
                if reader in self.time_axis and writer not in self.time_axis:
                    time = axis(self.time_axis[reader])
                    shifts = [(a, _shift(i, time)) for a, i in zip(self.statements[writer].axes, e.args, strict=True)]
                    axes = [a for a, k in shifts if k is not None]
                    found.append((writer, sorted(axes, key=lambda a: dict(shifts)[a] == 0), e))
                if writer in self.time_axis and reader not in self.time_axis:
                    subscript = e.args[self.dimension[e.value[0]]]
                    found.append((reader, [a for a in s.axes if _shift(subscript, axis(a)) is not None], e))
        return min(found, key=lambda c: len(c[1]), default=None)

    def distances(self) -> list[tuple[int, int, int]]:
        """(writer, reader, steps back) of every access within the cycle."""
        writers = {s.target: k for k, s in enumerate(self.statements)}
        found = []
        for k, s in enumerate(self.statements):
            for e in _reads(s):
                if e.value[0] not in writers:
                    continue
                shift = _shift(e.args[self.dimension[e.value[0]]], axis(self.time_axis[k]))
                if shift is None:
                    raise _NoTimeError(f"'{e}' is not read at a constant distance")
                found.append((writers[e.value[0]], k, -shift))
        return found

    def loop(self) -> TimeLoop:
        """The statements in one loop over the time."""
        distances = self.distances()
        steps = [d for _, _, d in distances if d]
        if any(d > 0 for d in steps) and any(d < 0 for d in steps):
            raise _NoTimeError("it reads both earlier and later values")
        now: list[list[int]] = [[] for _ in self.statements]
        for writer, reader, d in distances:
            if d == 0:
                now[writer].append(reader)
        groups = _components(len(self.statements), now)
        if any(len(g) > 1 or g[0] in now[g[0]] for g in groups):
            raise _NoTimeError("values of the same step depend on one another")
        time = self.time_axis[0]
        body = [_within(self.statements[k], self.time_axis[k], time) for (k,) in _ordered(groups, now)]
        return TimeLoop(time, any(d < 0 for d in steps), tuple(body))


class _NoTimeError(Exception):
    """An axis cannot be the time; the text says why."""


def _shift(subscript: Expr, time: Expr) -> int | None:
    """The k of a subscript ``t + k``."""
    form = affine(subscript)
    return None if form.without(time).terms or form.coefficient(time) != 1 else form.constant


def _time_loop(statements: list[Statement]) -> TimeLoop:
    why = "a scatter stands in the cycle"
    if not any(s.accumulate for s in statements) and len({s.target for s in statements}) == len(statements):
        why = f"'{statements[0].origin.equation}' depends on itself without a step in any index"
        open_ = [_Cycle(statements).having(0, a) for a in reversed(statements[0].axes)]
        for _ in range(_MOST_CHOICES):
            if not open_:
                break
            cycle = open_.pop()
            choice = cycle.choice()
            if choice is not None:
                k, axes, e = choice
                why = why if axes else f"'{e}' is not read at a constant distance"
                open_ += [cycle.having(k, a) for a in reversed(axes)]
                continue
            try:
                return cycle.loop()
            except _NoTimeError as error:
                why = str(error)
    names = ", ".join(dict.fromkeys(f"'{s.target}'" for s in statements))
    raise NetworkError(
        f"The equations of {names} depend on one another in a cycle that cannot be computed: {why}.",
        hint="A recurrence reads a tensor at t-k or t+k (k a constant of at least 1) of one index t.",
    )


def _within(s: Statement, own: Axis, time: Axis) -> Statement:
    """The statement for one value of the loop's axis."""
    others = {a.name for a in (*s.axes, *s.over) if a != own}
    swap: dict[Expr, Expr] = {axis(own): axis(time)}
    rename: dict[Axis, Axis] = {}
    for a in (*s.axes, *s.over):
        if a != own and a.name == time.name:
            k = 1
            while f"{a.name}{k}" in others:
                k += 1
            rename[a] = Axis(f"{a.name}{k}", a.extent)
            swap[axis(a)] = axis(rename[a])
    return replace(
        s,
        axes=tuple(rename.get(a, a) for a in s.axes if a != own),
        over=tuple(rename.get(a, a) for a in s.over),
        subscripts=tuple(substitute(i, swap) for i in s.subscripts),
        body=substitute(s.body, swap),
    )


