"""Which axes of a statement can be the axes of loops that it is to share with others.

Two statements may share a loop over an axis if, for every tensor that one of them writes and both use, all accesses have
the axis bare in one and the same subscript: then no iteration of the shared loop touches what another one writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bpcompile.nodes.access import Access, accesses, apart, bare
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
    own = accesses(s)
    matched: dict[Axis, Axis] = {}
    for a in shared:
        free = [b for b in candidates if b.extent == a.extent and b not in matched]
        found = _partner(a, free, own, s.target, table)
        if found is not None:
            matched[found] = a
    return matched


def _partner(
    a: Axis, choices: list[Axis], own: tuple[Access, ...], target: str, table: AccessTable
) -> Axis | None:
    """The choice that goes with the shared axis ``a``."""
    likely: list[Axis] = []
    for name in dict.fromkeys(access.tensor for access in own):
        theirs = table.by_tensor.get(name)
        ours = [access for access in own if access.tensor == name]
        if theirs is None:
            continue
        theirs = [t for t in theirs if not all(apart(t.subscripts, o.subscripts) for o in ours)]
        if not theirs:
            continue
        pairs = _pairs(a, theirs, ours)
        if name in table.written or name == target:
            choices = [b for b in choices if b in pairs]
        else:
            likely.extend(pairs)
    written = own[0].subscripts
    choices = [b for b in choices if any(affine(e).coefficient(axis(b)) == 1 for e in written)]
    for b in (*likely, a, *choices):
        if b in choices:
            return b
    return None


def _pairs(a: Axis, theirs: list[Access], ours: list[Access]) -> list[Axis]:
    """Axes that stand bare in all of our accesses where ``a`` stands bare in all of theirs."""
    found = []
    for k in range(len(theirs[0].subscripts)):
        b = bare(ours[0].subscripts[k])
        if (
            b is not None
            and all(bare(t.subscripts[k]) == a for t in theirs)
            and all(bare(o.subscripts[k]) == b for o in ours)
        ):
            found.append(b)
    return found


