"""Recompute instead of store: only what crosses a border of every k layer calls is kept for the backward pass.

Requires a program whose steps are in order, forward before backward, values already shared (sharing would undo it).
Establishes the same values with fewer tensors alive: before the first backward step that needs a value from inside a
segment, the forward steps of that segment run again, from the kept values, into tensors of their own. With k near the
square root of the number of calls the memory grows as that square root, for about one more forward pass (Chen et al. 2016,
"Training deep nets with sublinear memory cost"). Random draws repeat exactly, since a draw's number is a function of its
place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bpcompile.nodes.access import reads, step_statements
from bpcompile.nodes.expressions import Expr, load, rebuild
from bpcompile.nodes.statements import Program, Statement, Step, TimeLoop


def checkpoint(program: Program, every: int) -> Program:
    """Keep what crosses the borders of segments of ``every`` layer calls, and compute the rest again.

    Parameters
    ----------
    program : Program
        With forward and backward steps.
    every : int
        Layer calls in a segment, at least 1.
    """
    segment_of = _segments(program, every)
    writers = _forward_writers(program)
    kept = _kept(program, writers, segment_of)
    last = max(segment_of.values(), default=0)
    steps: list[Step] = []
    tensors = dict(program.tensors)
    again: dict[str, str] = {}
    for step in program.steps:
        if _phase(step) == "backward":
            for name in _reads(step):
                home = segment_of.get(_call(writers[name])) if name in writers else None
                if home is None or home == last or name in kept or name in again:
                    continue
                needed = _needed(name, writers, kept, again)
                again |= {n: f"{n}.again" for n in needed}
                for n in needed:
                    tensors[again[n]] = replace(program.tensors[n], name=again[n])
                steps += [_renamed(s, again) for s in _in_order(program, needed, writers)]
            step = _reading(step, again)
        steps.append(step)
    return program.with_steps(tuple(steps), tensors)


def _phase(step: Step) -> str:
    return next(iter(step_statements(step))).origin.phase


def _call(step: Step) -> str:
    return next(iter(step_statements(step))).origin.call


def _segments(program: Program, every: int) -> dict[str, int]:
    """The segment of each layer call, calls counted in the order in which they first run."""
    calls: dict[str, int] = {}
    for step in program.steps:
        if _phase(step) == "forward" and _call(step):
            calls.setdefault(_call(step), len(calls) // every)
    return calls


def _forward_writers(program: Program) -> dict[str, Step]:
    """The forward step that writes each temporary, where it is one step alone."""
    writers: dict[str, Step] = {}
    several: set[str] = set()
    for step in program.steps:
        for name in dict.fromkeys(s.target for s in step_statements(step)):
            if name in writers or _phase(step) != "forward" or program.tensors[name].role != "temporary":
                several.add(name)
            writers[name] = step
    return {name: step for name, step in writers.items() if name not in several}


def _kept(program: Program, writers: dict[str, Step], segment_of: dict[str, int]) -> set[str]:
    """Tensors that a forward step of another segment reads."""
    kept: set[str] = set()
    for step in program.steps:
        if _phase(step) != "forward":
            continue
        here = segment_of.get(_call(step))
        kept |= {n for n in _reads(step) if n in writers and segment_of.get(_call(writers[n])) != here}
    return kept


def _reads(step: Step) -> Iterable[str]:
    return dict.fromkeys(name for s in step_statements(step) for name in reads(s))


def _needed(name: str, writers: dict[str, Step], kept: set[str], again: dict[str, str]) -> list[str]:
    """The tensors to compute again for ``name``: whatever it depends on that is not kept, and not there again already."""
    needed: dict[str, None] = {}
    stack = [name]
    while stack:
        current = stack.pop()
        if current in needed or current in kept or current in again or current not in writers:
            continue
        step = writers[current]
        together = [s.target for s in step_statements(step)]
        needed |= dict.fromkeys(together)
        stack += [n for n in _reads(step) if n not in together]
    return list(needed)


def _in_order(program: Program, needed: Sequence[str], writers: dict[str, Step]) -> list[Step]:
    wanted = {id(writers[n]) for n in needed if n in writers}
    return [step for step in program.steps if id(step) in wanted]


def _renamed(step: Step, names: dict[str, str]) -> Step:
    """The step once more, from and into the tensors of the second time, as part of the backward pass."""

    def again(s: Statement) -> Statement:
        return replace(_read(s, names), target=names.get(s.target, s.target), origin=replace(s.origin, phase="backward"))

    return replace(step, body=tuple(map(again, step.body))) if isinstance(step, TimeLoop) else again(step)


def _reading(step: Step, names: dict[str, str]) -> Step:
    if isinstance(step, TimeLoop):
        return replace(step, body=tuple(_read(s, names) for s in step.body))
    return _read(step, names)


def _read(s: Statement, names: dict[str, str]) -> Statement:
    def change(e: Expr) -> Expr | None:
        if e.op == "load" and e.value[0] in names:
            return load(names[e.value[0]], e.args, e.value[1])
        return None

    return replace(s, body=rebuild(s.body, change), subscripts=tuple(rebuild(i, change) for i in s.subscripts))
