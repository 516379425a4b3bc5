"""Which axes of a statement can be the axes of loops that it is to share with others.

Two statements may share a loop over an axis if, for every tensor that one of them writes and both use, all accesses have
the axis bare in one and the same subscript: then no iteration of the shared loop touches what another one writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bpcompile.nodes.access import Access, accesses, apart
from bpcompile.nodes.affine import affine
from bpcompile.nodes.expressions import Axis, axis
from bpcompile.nodes.statements import Statement


@dataclass(eq=False)
class AccessTable:
    """The accesses of some statements that share loops, by tensor."""

    by_tensor: dict[str, list[Access]] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)

    def add(self, s: Statement) -> None:
        """Take in a statement."""
        self.written.add(s.target)
        for access in accesses(s):
            self.by_tensor.setdefault(access.tensor, []).append(access)


def match_axes(
    s: Statement, candidates: tuple[Axis, ...], shared: tuple[Axis, ...], table: AccessTable
) -> dict[Axis, Axis]:
    """The candidates among the statement's axes that can be shared axes; shared axes without a partner are left out."""
    met = _met(s, table)
    matched: dict[Axis, Axis] = {}
    for a in shared:
        free = [b for b in candidates if b.extent == a.extent and b not in matched]
        found = _partner(a, free, s, met)
        if found is not None:
            matched[found] = a
    return matched


@dataclass(frozen=True, slots=True)
class _Met:
    """The accesses of one tensor by a statement and by those before it which may touch the same elements."""

    theirs: list[Access]
    ours: list[Access]
    binds: bool
    """True if one of them writes the tensor: a shared axis must then stand alike in all of them."""


def _met(s: Statement, table: AccessTable) -> list[_Met]:
    own: dict[str, list[Access]] = {}
    for access in accesses(s):
        own.setdefault(access.tensor, []).append(access)
    found = []
    for name, ours in own.items():
        theirs = [
            t for t in table.by_tensor.get(name, ()) if not all(apart(t.subscripts, o.subscripts) for o in ours)
        ]
        if theirs:
            found.append(_Met(theirs, ours, name in table.written or name == s.target))
    return found


def _partner(a: Axis, choices: list[Axis], s: Statement, met: list[_Met]) -> Axis | None:
    """The choice that goes with the shared axis ``a``."""
    likely: list[Axis] = []
    for m in met:
        if not choices:
            return None
        pairs = _pairs(a, m.theirs, m.ours)
        if m.binds:
            choices = [b for b in choices if b in pairs]
        else:
            likely.extend(pairs)
    choices = [b for b in choices if any(affine(e).coefficient(axis(b)) == 1 for e in s.subscripts)]
    for b in (*likely, a, *choices):
        if b in choices:
            return b
    return None


def _pairs(a: Axis, theirs: list[Access], ours: list[Access]) -> list[Axis]:
    """Axes that stand bare in all of our accesses where ``a`` stands bare in all of theirs."""
    found = []
    bare_a = axis(a)
    for k, e in enumerate(ours[0].subscripts):
        if (
            e.op == "axis"
            and all(t.subscripts[k] is bare_a for t in theirs)
            and all(o.subscripts[k] is e for o in ours)
        ):
            found.append(e.value)
    return found
