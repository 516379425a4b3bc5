"""Tensors that live within one iteration of a time loop need no time axis.

Requires a well-formed program. Establishes: a temporary that a time loop alone uses, each time at the loop's own time, has
no axis for it: its memory is that of one step, and stays in the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bpcompile.nodes.access import accesses, step_statements
from bpcompile.nodes.expressions import Axis, Expr, axis, load, rebuild
from bpcompile.nodes.statements import Program, Statement, Step, TimeLoop


def drop_time(program: Program) -> Program:
    """Remove the time axis from tensors of one iteration."""
    places = _droppable(program)
    if not places:
        return program
    tensors = dict(program.tensors)
    for name, k in places.items():
        shape = tensors[name].shape
        tensors[name] = replace(tensors[name], shape=shape[:k] + shape[k + 1 :])
    steps: tuple[Step, ...] = tuple(
        replace(step, body=tuple(_without_time(s, places) for s in step.body)) if isinstance(step, TimeLoop) else step
        for step in program.steps
    )
    return program.with_steps(steps, tensors)


def _droppable(program: Program) -> dict[str, int]:
    """For each tensor of one iteration, the subscript that is time."""
    homes: dict[str, tuple[int, Axis, set[int]] | None] = {}
    for position, step in enumerate(program.steps):
        time = step.axis if isinstance(step, TimeLoop) else None
        for s in step_statements(step):
            for access in accesses(s):
                if program.tensors[access.tensor].role != "temporary":
                    continue
                now = {k for k, e in enumerate(access.subscripts) if time and e is axis(time)}
                known = homes.get(access.tensor, (position, time, now) if time else None)
                if known is None or time is None or known[0] != position or not (known[2] & now):
                    homes[access.tensor] = None
                else:
                    homes[access.tensor] = (position, time, known[2] & now)
        _drop_carried(step, homes)
    return {name: min(home[2]) for name, home in homes.items() if home is not None}


def _drop_carried(step: Step, homes: dict[str, tuple[int, Axis, set[int]] | None]) -> None:
    """What an iteration reads, or adds to, before it has assigned it comes from outside."""
    if not isinstance(step, TimeLoop):
        return
    assigned: set[str] = set()
    for s in step.body:
        for access in accesses(s)[1:]:
            if access.tensor not in assigned:
                homes[access.tensor] = None
        if s.accumulate and s.target not in assigned:
            homes[s.target] = None
        assigned.add(s.target)


def _without_time(s: Statement, places: Mapping[str, int]) -> Statement:
    def change(e: Expr) -> Expr | None:
        if e.op == "load" and e.value[0] in places:
            k = places[e.value[0]]
            return load(e.value[0], e.args[:k] + e.args[k + 1 :], e.kind)
        return None

    k = places.get(s.target)
    subscripts = s.subscripts if k is None else s.subscripts[:k] + s.subscripts[k + 1 :]
    return replace(s, subscripts=tuple(rebuild(e, change) for e in subscripts), body=rebuild(s.body, change))
