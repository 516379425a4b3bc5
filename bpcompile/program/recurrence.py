"""Statements put in order: what is read is written before; what forms a cycle runs together over time.

Requires statements in any order, each tensor written by plain statements or accumulated into. Establishes a sequence of
steps: statements, and time loops for the strongly connected ones. Only the cycle stays inside a time loop: input
projections come before it, weight gradients after it.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bpcompile.errors import NetworkError
from bpcompile.program.affine import affine
from bpcompile.program.nodes import Axis, Expr, axis, substitute, walk_nodes
from bpcompile.program.statements import Statement, Step, TimeLoop


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


@dataclass
class _Cycle:
    """Which axis of each statement, and which dimension of each tensor, is the time of a recurrence."""

    statements: Sequence[Statement]
    time_axis: dict[int, Axis] = field(default_factory=dict)
    dimension: dict[str, int] = field(default_factory=dict)

    def find(self) -> None:
        writers = {s.target: k for k, s in enumerate(self.statements)}
        if any(s.accumulate for s in self.statements) or len(writers) < len(self.statements):
            self.refuse("a scatter stands in the cycle")
        changed = True
        while changed:
            changed = False
            for k, s in enumerate(self.statements):
                for e in _reads(s):
                    if e.value[0] in writers:
                        changed |= self._learn(k, s, e, writers)
        missing = [s for k, s in enumerate(self.statements) if k not in self.time_axis]
        if missing:
            self.refuse(f"'{missing[0].origin.equation}' depends on itself without a step in any index")

    def _learn(self, k: int, s: Statement, e: Expr, writers: Mapping[str, int]) -> bool:
        """Deduce from one access; True if something new was learned."""
        known = len(self.time_axis) + len(self.dimension)
        tensor = e.value[0]
        for d, subscript in enumerate(e.args):
            form = affine(subscript)
            shifted = len(form.terms) == 1 and form.terms[0][1] == 1 and form.terms[0][0].op == "axis" and form.constant
            if shifted and form.terms[0][0].value in s.axes:
                self._set(k, form.terms[0][0].value)
                self.dimension.setdefault(tensor, d)
            elif k in self.time_axis and subscript is axis(self.time_axis[k]):
                self.dimension.setdefault(tensor, d)
        if tensor in self.dimension:
            writer = self.statements[writers[tensor]]
            self._set(writers[tensor], writer.axes[self.dimension[tensor]])
        if k in self.time_axis and self.time_axis[k] in s.axes:
            self.dimension.setdefault(s.target, s.axes.index(self.time_axis[k]))
        return len(self.time_axis) + len(self.dimension) > known

    def _set(self, k: int, a: Axis) -> None:
        if self.time_axis.setdefault(k, a) != a:
            self.refuse(f"it steps both in '{self.time_axis[k].name}' and in '{a.name}'")

    def distances(self) -> list[tuple[int, int, int]]:
        """(writer, reader, steps back) of every access within the cycle."""
        writers = {s.target: k for k, s in enumerate(self.statements)}
        found = []
        for k, s in enumerate(self.statements):
            for e in _reads(s):
                if e.value[0] not in writers:
                    continue
                form = affine(e.args[self.dimension[e.value[0]]])
                if form.without(axis(self.time_axis[k])).terms or form.coefficient(axis(self.time_axis[k])) != 1:
                    self.refuse(f"'{e}' is not read at a constant distance")
                found.append((writers[e.value[0]], k, -form.constant))
        return found

    def refuse(self, why: str) -> None:
        names = ", ".join(dict.fromkeys(f"'{s.target}'" for s in self.statements))
        raise NetworkError(
            f"The equations of {names} depend on one another in a cycle that cannot be computed: {why}.",
            hint="A recurrence reads a tensor at t-k or t+k (k a constant of at least 1) of one index t.",
        )


def _time_loop(statements: list[Statement]) -> TimeLoop:
    cycle = _Cycle(statements)
    cycle.find()
    distances = cycle.distances()
    steps = [d for _, _, d in distances if d]
    if any(d > 0 for d in steps) and any(d < 0 for d in steps):
        cycle.refuse("it reads both earlier and later values")
    now: list[list[int]] = [[] for _ in statements]
    for writer, reader, d in distances:
        if d == 0:
            now[writer].append(reader)
    groups = _components(len(statements), now)
    if any(len(g) > 1 or g[0] in now[g[0]] for g in groups):
        cycle.refuse("values of the same step depend on one another")
    time = cycle.time_axis[0]
    body = []
    for (k,) in _ordered(groups, now):
        body.append(_within(statements[k], cycle.time_axis[k], time))
    return TimeLoop(time, any(d < 0 for d in steps), tuple(body))


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


