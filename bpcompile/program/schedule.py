"""From a program to its schedule: settle accumulations, fuse into kernels, clear, place.

Requires a well-formed program; operands of large sums should be plain loads by now (see ``pad`` and ``factor``).
"""

from __future__ import annotations

from collections.abc import Mapping

from bpcompile.nodes.access import covers, elements
from bpcompile.nodes.statements import Program
from bpcompile.program.accumulate import settle_accumulations
from bpcompile.program.fuse import fuse
from bpcompile.program.memory import kernel_statements, localize, place
from bpcompile.program.parts import assign_parts
from bpcompile.program.schedule_types import Clear, KernelLoop, Schedule, ScheduledStep


def schedule(program: Program, offsets: Mapping[str, int] | None = None) -> Schedule:
    """Schedule a program.

    Parameters
    ----------
    program : Program
        A well-formed program.
    offsets : mapping of str to int, optional
        Where each parameter and state lies in its flat vector, for a program in which not all of them occur;
        without it they follow each other in the order of ``program.tensors``.
    """
    settled = assign_parts(settle_accumulations(program))
    steps = localize(settled, _with_clears(settled, fuse(settled)))
    places, fixed, batch = place(settled, steps, flat_offsets(program) if offsets is None else offsets)
    return Schedule(settled, steps, places, fixed, batch)


def flat_offsets(program: Program) -> dict[str, int]:
    """Offsets of the parameters in the flat parameter vector, and of the states in the flat state vector."""
    offsets: dict[str, int] = {}
    ends = {"parameter": 0, "state": 0}
    for tensor in program.tensors.values():
        if tensor.role in ends:
            offsets[tensor.name] = ends[tensor.role]
            ends[tensor.role] += elements(tensor)
    return offsets


def _with_clears(program: Program, steps: tuple[ScheduledStep, ...]) -> tuple[ScheduledStep, ...]:
    """Clear each tensor that accumulates, unless what is first written to it covers it."""
    accumulating = {s.target for s in program.statements() if s.accumulate}
    written: set[str] = set()
    result: list[ScheduledStep] = []
    for step in steps:
        kernels, free = (step.body, (step.axis,)) if isinstance(step, KernelLoop) else ((step,), ())
        for s in (s for kernel in kernels for s in kernel_statements(kernel)):
            if s.target in written:
                continue
            written.add(s.target)
            covered = not s.accumulate and covers(s, program.tensors[s.target].shape, free)
            if s.target in accumulating and not covered:
                result.append(Clear(s.target))
        result.append(step)
    return tuple(result)
