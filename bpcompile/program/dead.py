"""Leave out what nobody needs, and fix what is known of a call.

Requires a well-formed program. Establishes that every statement leads to something the caller gets.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from bpcompile.nodes.access import reads, step_statements
from bpcompile.nodes.statements import Program, Statement, Step, TimeLoop
from bpcompile.program.fold import fold

_WANTED = ("output", "gradient", "next_state", "loss")


def without_dead(program: Program) -> Program:
    """The program without the statements that lead to no output, gradient, next state or loss."""
    wanted = {t.name for t in program.tensors.values() if t.role in _WANTED or (t.role == "parameter")}
    return _keeping(program, wanted | set(program.outputs))


def restrict(program: Program, outputs: Collection[str]) -> Program:
    """The program with the statements that lead to the given tensors, which become its outputs.

    The caller's tensors stay, so that slots and offsets stay what they were.
    """
    kept = _keeping(program, set(outputs))
    given = ("input", "target", "parameter", "state")
    used = {name for s in kept.statements() for name in (s.target, *reads(s))}
    tensors = {n: t for n, t in program.tensors.items() if n in used or n in outputs or t.role in given}
    return replace(kept, tensors=tensors, outputs=tuple(outputs))


def specialize(program: Program, training: bool) -> Program:
    """The program for a call whose ``training`` flag is known; what only the other branch needed is left out."""
    flags = {"training": training}

    def known(s: Statement) -> Statement:
        body = fold(s.body, flags)
        return s if body is s.body else replace(s, body=body)

    steps = tuple(
        replace(step, body=tuple(map(known, step.body))) if isinstance(step, TimeLoop) else known(step)
        for step in program.steps
    )
    return without_dead(program.with_steps(steps))


def _keeping(program: Program, wanted: set[str]) -> Program:
    """Walk backwards; a time loop is gone through until nothing more is wanted in it."""
    wanted = set(wanted)
    kept: list[Step] = []
    for step in reversed(program.steps):
        alive: set[int] = set()
        grown = True
        while grown:
            grown = False
            for i, s in enumerate(step_statements(step)):
                if i not in alive and s.target in wanted:
                    alive.add(i)
                    wanted.update(reads(s))
                    grown = True
        if isinstance(step, TimeLoop):
            body = tuple(s for i, s in enumerate(step.body) if i in alive)
            if body:
                kept.append(replace(step, body=body))
        elif alive:
            kept.append(step)
    used = {name for s in (s for step in kept for s in step_statements(step)) for name in (s.target, *reads(s))}
    tensors = {
        n: t for n, t in program.tensors.items() if t.role != "temporary" or n in used or n in program.outputs
    }
    return program.with_steps(tuple(reversed(kept)), tensors)
