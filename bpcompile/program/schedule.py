"""From a program to its schedule: settle accumulations, take large temporaries part by part, fuse, loop, clear, place.

Requires a well-formed program; operands of large sums should be plain loads by now (see ``pad`` and ``factor``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bpcompile.nodes.access import covers, elements
from bpcompile.nodes.statements import Program
from bpcompile.program.accumulate import settle_accumulations
from bpcompile.program.across import across_examples
from bpcompile.program.borders import with_borders
from bpcompile.program.fuse import fuse
from bpcompile.program.halos import with_halos
from bpcompile.program.independent import side_by_side
from bpcompile.program.memory import kernel_statements, localize, place
from bpcompile.program.panels import with_panels
from bpcompile.program.parts import assign_parts
from bpcompile.program.portions import in_portions
from bpcompile.program.schedule_types import BatchLoop, Clear, Kernel, KernelLoop, Schedule, ScheduledStep
from bpcompile.program.tiles import in_tiles
from bpcompile.program.whole import along_whole_axes


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
    settled = along_whole_axes(in_tiles(assign_parts(settle_accumulations(program))))
    kernels = with_borders(across_examples(settled, in_portions(fuse(settled), settled.tensors)))
    settled, packed = with_panels(settled, _with_clears(settled, kernels))
    steps = side_by_side(localize(settled, with_halos(settled, packed)), settled.tensors)
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
    everything = [kernel for step in steps for kernel in _kernels(step)]
    accumulating = {s.target for kernel in everything for s in kernel_statements(kernel) if s.accumulate}
    written: set[str] = set()
    result: list[ScheduledStep] = []
    for step in steps:
        free = (*step.outer, step.axis) if isinstance(step, KernelLoop) else ()
        body: list[Kernel] = []
        for kernel in _kernels(step):
            for s in kernel_statements(kernel):
                if s.target in written:
                    continue
                written.add(s.target)
                shape = program.tensors[s.target].shape
                if s.target in accumulating and (s.accumulate or not covers(s, shape, free)):
                    inside = isinstance(step, BatchLoop) and None in shape  # each portion has its own
                    (body if inside else result).append(Clear(s.target))
            body.append(kernel)
        result.append(replace(step, body=tuple(body)) if isinstance(step, BatchLoop) else step)
    return tuple(result)


def _kernels(step: ScheduledStep) -> tuple[Kernel, ...]:
    return step.body if isinstance(step, KernelLoop | BatchLoop) else (step,)
