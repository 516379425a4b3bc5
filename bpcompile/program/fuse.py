"""Group statements into kernels: epilogues of contractions, and nests whose statements share their outer loops.

Requires settled accumulations. Establishes a list of kernels in an order that keeps every dependence, where no iteration
of a nest depends on another one. Statements are taken in order; each goes into the kernel that its last dependence lies in
where that is legal and pays, else into a later one that works on the same tensors, else it begins a kernel of its own.

Two iterations of a nest are independent if, for every tensor that the nest writes and every axis of the nest, all accesses
have the axis bare in one and the same subscript. So a nest's axes shrink as statements join it: rows of a softmax share
``n`` when the maximum over the classes joins the logits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from bpcompile.nodes.access import free_axes, injective, one_to_some, reads, rename, volume
from bpcompile.nodes.expressions import Axis
from bpcompile.nodes.statements import Program, Statement, Step, Tensor, TimeLoop
from bpcompile.program.contract import as_contraction
from bpcompile.program.join import in_joined_order
from bpcompile.program.match import AccessTable, match_axes
from bpcompile.program.schedule_types import Contraction, Kernel, KernelLoop, Nest, ScheduledStep

WORKING_SET = 65536
"""Elements that one iteration of a shrunken nest may run over: about a second-level cache."""


@dataclass(eq=False)
class Group:
    """A kernel in the making: a nest over ``axes``, or a contraction with its epilogue."""

    axes: tuple[Axis, ...]
    contraction: Contraction | None = None
    statements: list[Statement] = field(default_factory=list)
    table: AccessTable = field(default_factory=AccessTable)
    closed: bool = False

    def add(self, s: Statement) -> None:
        """Append a statement whose axes are already the group's."""
        self.statements.append(s)
        self.table.add(s)


def fuse(program: Program) -> tuple[ScheduledStep, ...]:
    """The program's kernels in order."""
    return tuple(_kernels(program.steps, program.tensors))


def _kernels(steps: Iterable[Step], tensors: Mapping[str, Tensor]) -> list[ScheduledStep]:
    groups: list[Group | KernelLoop] = []
    last_write: dict[str, int] = {}
    last_read: dict[str, int] = {}
    users: dict[str, list[int]] = {}

    def note(position: int, statements: Iterable[Statement]) -> None:
        for s in statements:
            names = reads(s)
            for name in names:
                last_read[name] = max(last_read.get(name, -1), position)
            last_write[s.target] = max(last_write.get(s.target, -1), position)
            for name in (*names, s.target):
                places = users.setdefault(name, [])
                if position not in places:
                    places.append(position)

    for step in steps:
        if isinstance(step, TimeLoop):
            body = tuple(k for k in _kernels(step.body, tensors) if isinstance(k, Nest | Contraction))
            groups.append(KernelLoop(step.axis, step.reverse, body, step.outer))
            note(len(groups) - 1, step.body)
            continue
        names = reads(step)
        earliest = max(
            [last_write.get(n, -1) for n in names] + [last_write.get(step.target, -1), last_read.get(step.target, -1)]
        )
        position = _place(step, groups, earliest, users, tensors)
        note(position, (step,))
    return [g if isinstance(g, KernelLoop) else _finished(g) for g in groups]


def _place(
    s: Statement,
    groups: list[Group | KernelLoop],
    earliest: int,
    users: Mapping[str, list[int]],
    tensors: Mapping[str, Tensor],
) -> int:
    """Put a statement into a group and return the group's position."""
    contraction = as_contraction(s, tensors)
    if contraction is not None:
        group = Group(s.axes, contraction)
        group.add(s)
        groups.append(group)
        return len(groups) - 1
    if one_to_some(s):
        for position in _candidates(s, groups, earliest, users, tensors):
            candidate = groups[position]
            if isinstance(candidate, Group) and _joins(s, candidate, position == earliest):
                return position
    group = Group(s.axes, closed=not injective(s))
    group.add(s)
    groups.append(group)
    return len(groups) - 1


def _candidates(
    s: Statement,
    groups: list[Group | KernelLoop],
    earliest: int,
    users: Mapping[str, list[int]],
    tensors: Mapping[str, Tensor],
) -> list[int]:
    """Positions worth trying: where the last dependence lies, then later groups that use the same tensors."""
    found: dict[int, None] = {}
    if earliest >= 0 and _same_phase(s, earliest, groups):
        found[earliest] = None
    shared = [n for n in (*reads(s), s.target) if tensors[n].role != "parameter"]
    later = sorted({p for n in shared for p in users.get(n, ()) if p > earliest}, reverse=True)
    found.update(dict.fromkeys(p for p in later if _same_phase(s, p, groups)))
    if groups and earliest < 0 and _same_phase(s, len(groups) - 1, groups):
        # Nothing ties it down: what is computed last is the likeliest to be used together with it.
        found[len(groups) - 1] = None
    return list(found)


def _same_phase(s: Statement, position: int, groups: list[Group | KernelLoop]) -> bool:
    """Backward work stays out of forward kernels, unless nothing heavy lies between (a loss and its error)."""
    group = groups[position]
    if not isinstance(group, Group):
        return False
    if group.statements[-1].origin.phase == s.origin.phase:
        return True
    return all(isinstance(g, Group) and g.contraction is None for g in groups[position + 1 :])


def _joins(s: Statement, group: Group, consumes: bool) -> bool:
    """Add the statement to the group if that is legal and pays."""
    if group.closed:
        return False
    if not group.axes and s.axes:
        return False
    matched = match_axes(s, s.axes, group.axes, group.table)
    missing = [a for a in group.axes if a not in matched.values()]
    if group.contraction is not None:
        if missing or len(s.axes) != len(group.axes) or s.reduce or _disturbs(s, group):
            return False
    elif missing:
        kept = [a for a in group.axes if a in matched.values()]
        if not consumes or not kept or any(a.extent is None for a in missing) or not _fits(group, kept):
            return False
        if volume(a for a in s.axes if a not in matched) * volume(s.over) > WORKING_SET:
            return False
        group.axes = tuple(kept)
    renamed = rename(s, matched, {a.name for a in free_axes(s)})
    inner = tuple(a for a in renamed.axes if a not in group.axes)
    group.add(replace(renamed, axes=(*group.axes, *inner)))
    return True


def _disturbs(s: Statement, group: Group) -> bool:
    """True if the statement writes an operand of the group's contraction."""
    contraction = group.contraction
    return contraction is not None and s.target in (contraction.left.value[0], contraction.right.value[0])


def _fits(group: Group, kept: list[Axis]) -> bool:
    """True if one iteration over the kept axes stays in the cache."""
    return all(volume(a for a in (*s.axes, *s.over) if a not in kept) <= WORKING_SET for s in group.statements)


def _finished(group: Group) -> Kernel:
    """The group as a kernel."""
    if group.contraction is not None:
        return replace(group.contraction, epilogue=tuple(group.statements[1:]))
    statements = tuple(_outer_first(s, group.axes) for s in group.statements)
    if group.closed:
        return Nest(group.axes, statements, (0,), sequential=True)
    return in_joined_order(group.axes, statements)


def _outer_first(s: Statement, outer: tuple[Axis, ...]) -> Statement:
    """The same statement with the nest's axes first."""
    return replace(s, axes=(*outer, *(a for a in s.axes if a not in outer)))
