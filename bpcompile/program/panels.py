"""Weights that a loop multiplies by in every iteration are packed once, before it.

Requires kernels in order, cleared. Establishes: a contraction in a loop whose right operand no iteration changes reads it from
panels that a `Pack` before the loop has filled, in the order in which the contraction takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bpcompile.nodes.access import TYPICAL_BATCH, bare
from bpcompile.nodes.expressions import Axis, axes_of
from bpcompile.nodes.statements import Program, Tensor
from bpcompile.program.memory import kernel_statements
from bpcompile.program.schedule_types import Contraction, Kernel, KernelLoop, Pack, ScheduledStep

LEAST: Final = 4
"""Iterations from which packing beforehand pays."""
DEPTHS: Final = 16
"""Panels have room for a multiple of so many depths: operands are turned by squares of up to that size."""
TILES: Final = ((16, 3), (8, 3), (4, 3), (2, 3), (16, 2), (8, 2), (4, 2), (2, 2), (1, 3), (1, 2))
"""Lanes of a vector and vectors of a panel, on all processors and for both element types."""


def with_panels(program: Program, steps: tuple[ScheduledStep, ...]) -> tuple[Program, tuple[ScheduledStep, ...]]:
    """Pack what loops read over and over.

    Parameters
    ----------
    program : Program
        Gets the tensors of the panels.
    steps : tuple of ScheduledStep
        Its kernels.
    """
    tensors = dict(program.tensors)
    result: list[ScheduledStep] = []
    for step in steps:
        if not isinstance(step, KernelLoop) or _iterations(step) < LEAST:
            result.append(step)
            continue
        written = {s.target for kernel in step.body for s in kernel_statements(kernel)}
        body: list[Kernel] = []
        for kernel in step.body:
            if isinstance(kernel, Contraction) and kernel.right.value[0] not in written and _packable(kernel):
                panels = _panels(kernel, tensors)
                tensors[panels.name] = panels
                result.append(Pack(kernel, panels.name))
                kernel = replace(kernel, panels=panels.name)
            body.append(kernel)
        result.append(replace(step, body=tuple(body)))
    return program.with_steps(program.steps, tensors), tuple(result)


def _iterations(loop: KernelLoop) -> int:
    count = 1
    for a in (*loop.outer, loop.axis):
        count *= a.extent or TYPICAL_BATCH
    return count


def _packable(kernel: Contraction) -> bool:
    """True if the right operand is one matrix, the same in all iterations: columns and depth stand bare in it."""
    sides = (_one(kernel.columns), _one(kernel.depth))
    own = {a for a in axes_of(kernel.right) if a.extent != 1}
    return None not in sides and not kernel.batch and own == set(sides) and all(
        not axes_of(e) or bare(e) is not None for e in kernel.right.args
    )


def _one(axes: tuple[Axis, ...]) -> Axis | None:
    """The only axis of a group, if its extent is known."""
    long = [a for a in axes if a.extent != 1]
    return long[0] if len(long) == 1 and long[0].extent else None


def _panels(kernel: Contraction, tensors: Mapping[str, Tensor]) -> Tensor:
    """A tensor with room for the panels, whatever the vectors' length."""
    (columns,), (depth,) = ([a.extent or 1 for a in g if a.extent != 1] for g in (kernel.columns, kernel.depth))
    name, number = f"{kernel.right.value[0]}.panels", 1
    while name in tensors:
        number += 1
        name = f"{kernel.right.value[0]}.panels{number}"
    return Tensor(name, (-(-depth // DEPTHS) * DEPTHS * max(_width(columns, *tile) for tile in TILES),))


def _width(columns: int, lanes: int, most: int) -> int:
    """The columns of all panels together: as many vectors in each, and as few panels as that allows."""
    vectors = -(-columns // lanes)
    strips = -(-vectors // most)
    return strips * -(-vectors // strips) * lanes
