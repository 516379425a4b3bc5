"""Which statements run in one loop over parts of some axes, and what runs before and after it.

Statements of the core go into the loop that is open, unless they need something that is complete only when the loop has
ended. What neither needs the loop nor is needed by it stays before it; what needs it waits, and joins if the core needs it
and it goes along the same axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bpcompile.nodes.access import accesses, bare, reads, step_statements
from bpcompile.nodes.expressions import Axis
from bpcompile.nodes.statements import Program, Statement, Step, Tensor
from bpcompile.program.contract import as_contraction


@dataclass(frozen=True)
class Line:
    """An axis that statements go along together.

    ``dims`` gives the dimension of each large tensor, ``axes`` the axis of each statement. ``loop`` counts the parts, of
    ``block`` positions each; of one where that is ``None``.
    """

    dims: Mapping[str, int]
    axes: Mapping[Statement, Axis]
    loop: Axis | None
    block: int | None


@dataclass(frozen=True, slots=True)
class Placed:
    """A statement as it was, and its axis for each line."""

    statement: Statement
    along: tuple[Axis, ...]


@dataclass(frozen=True)
class Section:
    """Statements that are to run in one loop."""

    body: tuple[Placed, ...]


@dataclass(eq=False)
class _Open:
    """The loop that is being filled, and what is to come before and after it."""

    before: list[Step] = field(default_factory=list)
    body: list[Placed] = field(default_factory=list)
    after: list[Step] = field(default_factory=list)
    dims: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)

    def waits(self, step: Step) -> bool:
        """True if a step depends on the loop, or on what waits for it."""
        return any(
            s.target in self.written or s.target in self.read or not self.written.isdisjoint(reads(s))
            for s in step_statements(step)
        )

    def note(self, step: Step) -> None:
        """Remember what a step of the loop, or after it, writes and reads."""
        for s in step_statements(step):
            self.written.add(s.target)
            self.read.update(reads(s))

    def add(self, s: Statement, along: tuple[Axis, ...]) -> None:
        """Take a statement into the loop; its target goes along the lines as its subscripts say."""
        self.body.append(Placed(s, along))
        self.note(s)
        places = [[k for k, e in enumerate(s.subscripts) if bare(e) == a] for a in along]
        own = tuple(found[0] if len(found) == 1 else None for found in places)
        self.dims[s.target] = own if self.dims.get(s.target, own) == own else (None,) * len(along)

    def fits(self, s: Statement, along: tuple[Axis, ...]) -> bool:
        """True if the statement goes along with the loop in everything that the loop writes or reads."""
        for access in accesses(s):
            places = self.dims.get(access.tensor)
            if places is None or (access.writes and s.accumulate and self._only_sums(s.target)):
                continue
            if any(k is None or bare(access.subscripts[k]) != a for k, a in zip(places, along, strict=True)):
                return False
        return not any(s.target in reads(p.statement) and s.target not in self.dims for p in self.body)

    def _only_sums(self, name: str) -> bool:
        return all(p.statement.accumulate for p in self.body if p.statement.target == name)

    def axes(self, s: Statement, count: int) -> tuple[Axis, ...] | None:
        """The axes along which a statement goes with what the loop has written."""
        found: list[Axis] = []
        for line in range(count):
            places = [(a, self.dims[a.tensor][line]) for a in accesses(s) if a.tensor in self.dims]
            along = {None if k is None else bare(a.subscripts[k]) for a, k in places}
            axis = along.pop() if len(along) == 1 else None
            if axis is None or axis not in s.axes:
                return None
            found.append(axis)
        return tuple(found)

    def steps(self) -> Iterator[Step | Section]:
        """What has been gathered, in order."""
        yield from self.before
        if self.body:
            yield Section(tuple(self.body))
        yield from self.after


def sections(program: Program, core: Sequence[Statement], lines: Sequence[Line]) -> list[Step | Section]:
    """The steps of a program with its core in loops."""
    result: list[Step | Section] = []
    current = _Open()
    members = {id(s) for s in core}
    for step in program.steps:
        if not isinstance(step, Statement) or id(step) not in members:
            if not current.body:
                result.append(step)
            elif current.waits(step):
                current.after.append(step)
                current.note(step)
            else:
                current.before.append(step)
            continue
        along = tuple(line.axes[step] for line in lines)
        if not _take_in(step, along, current, program.tensors):
            result += current.steps()
            current = _Open()
            current.add(step, along)
    return [*result, *current.steps()]


def _take_in(s: Statement, along: tuple[Axis, ...], current: _Open, tensors: Mapping[str, Tensor]) -> bool:
    """Add a statement of the core to the open loop, with what it needs of what waits; False if that cannot be."""
    needed: list[Statement] = []
    for step in reversed(current.after):
        if _conflict(step, [s, *needed]):
            if not isinstance(step, Statement) or as_contraction(step, tensors):
                return False
            needed.insert(0, step)
    trial = _Open(body=list(current.body), dims=dict(current.dims))
    for q in needed:
        axes = trial.axes(q, len(along))
        if axes is None or not trial.fits(q, axes):
            return False
        trial.add(q, axes)
    if not trial.fits(s, along):
        return False
    trial.add(s, along)
    chosen = {id(q) for q in needed}
    current.body, current.dims = trial.body, trial.dims
    current.note(s)
    current.after = [step for step in current.after if id(step) not in chosen]
    return True


def _conflict(step: Step, others: Sequence[Statement]) -> bool:
    """True if the order of a step and some statements matters."""
    return any(
        o.target == s.target or o.target in reads(s) or s.target in reads(o) for s in step_statements(step) for o in others
    )
