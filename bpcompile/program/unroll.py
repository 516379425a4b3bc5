"""Put the copies of a layer back into a program that was made with three of them.

Requires a program whose tensors are called like those of the forward pass, or so with ``.`` or ``_`` and more behind it.
Establishes the program that all copies would have given: the statements of the middle one stand there once for each,
those of the forward pass in order, those of the backward pass in reverse.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from bpcompile.calculus.forward import Forward
from bpcompile.calculus.repeats import Names, Repeats
from bpcompile.nodes.access import reads, step_statements
from bpcompile.nodes.renaming import Renaming
from bpcompile.nodes.statements import Program, Step, Tensor

OUTSIDE: Final = -1
FIRST: Final = 0
MIDDLE: Final = 1
LAST: Final = 2
"""Where a tensor belongs: to none of the three periods, or to one of them."""

_GIVEN: Final = ("input", "target", "parameter", "state")

Base = tuple[int, int, str]
"""The period of a tensor, the number there of the forward tensor that it is called after, and what follows that name."""


def unroll(program: Program, repeats: Repeats, forward: Forward) -> Program | None:
    """The program of all periods; nothing if a statement reaches further than to the neighbours of its period.

    Parameters
    ----------
    program : Program
        What was made from ``repeats.short``.
    repeats : Repeats
        The periods.
    forward : Forward
        The forward statements of all of them.
    """
    periods = repeats.periods
    bases = _bases(program, periods, forward)
    owners = [_owner(step, bases) for step in program.steps]
    middle = {base[1:] for base in bases.values() if base[0] == MIDDLE}
    if any(p is None or not _is_near(step, p, bases, middle) for step, p in zip(program.steps, owners, strict=True)):
        return None
    end = len(periods) - 1
    copies = [_renaming(bases, periods, {FIRST: k - 1, MIDDLE: k, LAST: k + 1}) for k in range(1, end)]
    last = _renaming(bases, periods, {MIDDLE: end - 1, LAST: end})
    runs = [(p, [step for step, _ in run]) for p, run in groupby(zip(program.steps, owners, strict=True), lambda o: o[1])]
    steps: list[Step] = []
    for i, (p, run) in enumerate(runs):
        if p == MIDDLE:
            order = _order(runs[i - 1][0] if i else None, runs[i + 1][0] if i + 1 < len(runs) else None)
            if order is None:
                return None
            for renaming in copies[::order]:
                steps += map(renaming.step, run)
        else:
            steps += map(last.step, run) if p == LAST else run
    tensors = {name: t for name, t in forward.tensors.items() if t.role in _GIVEN}
    tensors |= {t.name: t for t in _everywhere(list(program.tensors.values()), bases, copies)}
    outputs = _everywhere([program.tensors[name] for name in program.outputs], bases, copies)
    return replace(program, tensors=tensors, steps=tuple(steps), outputs=tuple(t.name for t in outputs))


def _bases(program: Program, periods: Sequence[Names], forward: Forward) -> dict[str, Base]:
    kept = {FIRST: periods[0], MIDDLE: periods[1], LAST: periods[-1]}
    known = {name: (p, k) for p, names in kept.items() for k, name in enumerate(names.tensors)}
    return {name: _base(name, known, forward) for name in program.tensors}


def _base(name: str, known: Mapping[str, tuple[int, int]], forward: Forward) -> Base:
    for end in range(len(name), 0, -1):
        if (end == len(name) or name[end] in "._") and name[:end] in forward.tensors:
            return (*known.get(name[:end], (OUTSIDE, 0)), name[end:])
    return OUTSIDE, 0, name


def _owner(step: Step, bases: Mapping[str, Base]) -> int | None:
    """The period of what a step writes; nothing for a loop over time that several have part in."""
    owners = {bases[s.target][0] for s in step_statements(step)}
    return owners.pop() if len(owners) == 1 else None


def _is_near(step: Step, owner: int, bases: Mapping[str, Base], middle: Collection[tuple[int, str]]) -> bool:
    """True if all copies of a step find what they read: in their own period, in one beside it, or outside."""
    for name in {name for s in step_statements(step) for name in reads(s)}:
        period, *rest = bases[name]
        if {owner, period} == {FIRST, LAST} or (owner == OUTSIDE and period == MIDDLE):
            return False
        # What one period computes for all that follow is in no other: each would look for it in the one before.
        if owner == MIDDLE and period in (FIRST, LAST) and tuple(rest) not in middle:
            return False
    return True


def _renaming(bases: Mapping[str, Base], periods: Sequence[Names], places: Mapping[int, int]) -> Renaming:
    """What the three periods are called when they stand at the given places."""
    tensors = {
        name: periods[places[p]].tensors[k] + rest for name, (p, k, rest) in bases.items() if places.get(p, -1) >= 0
    }
    kept = {FIRST: periods[0], MIDDLE: periods[1], LAST: periods[-1]}
    calls = {a: b for p, k in places.items() for a, b in zip(kept[p].calls, periods[k].calls, strict=True)}
    streams = {a: b for p, k in places.items() for a, b in zip(kept[p].streams, periods[k].streams, strict=True)}
    return Renaming(tensors, calls, streams)


def _order(before: int | None, after: int | None) -> int | None:
    """1 for a run between the first and the last period, -1 for one between the last and the first; else nothing."""
    up, down = before == FIRST or after == LAST, before == LAST or after == FIRST
    return None if up == down else 1 if up else -1


def _everywhere(tensors: Sequence[Tensor], bases: Mapping[str, Base], copies: Sequence[Renaming]) -> list[Tensor]:
    """The tensors, those of the middle period once for each of its copies."""
    found: list[Tensor] = []
    for p, run in groupby(tensors, lambda t: bases[t.name][0]):
        some = list(run)
        if p != MIDDLE:
            found += some
            continue
        for names in (c.tensors for c in copies):
            new = [(names[t.name], names.get(t.of, t.of), names.get(t.label, t.label)) for t in some]
            found += [replace(t, name=n, of=of, label=label) for t, (n, of, label) in zip(some, new, strict=True)]
    return found
