"""Loops over time for a few examples at a time, side by side where there are threads: one region of threads for the whole loop.

Requires kernels in order, panels packed. Establishes: a loop in which every kernel treats every example alike, and nothing
is summed over the batch, notes how many examples run through it at a time. What it does for them does not depend on who
does it, so that results are the same for any number of threads.

Without this, threads would meet several times in each iteration, for little work each time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from bpcompile.nodes.access import accesses, elements
from bpcompile.nodes.statements import Statement, Tensor
from bpcompile.program.memory import kernel_statements
from bpcompile.program.portions import each_example
from bpcompile.program.schedule_types import Contraction, KernelLoop, Nest, ScheduledStep

ROWS: Final = 8
"""Examples run through a loop in multiples of so many: the rows of a tile."""
LEAST_WORK: Final = 1 << 18
"""Values that an iteration computes at least, so that calls of kernels cost little beside."""
MOST_SHARED: Final = 1 << 17
"""Elements of weights and the like up to which each core has them in a cache of its own, where reading them again is cheap."""


def side_by_side(steps: Sequence[ScheduledStep], tensors: Mapping[str, Tensor]) -> tuple[ScheduledStep, ...]:
    """Note how many examples run through each loop at a time.

    Parameters
    ----------
    steps : sequence of ScheduledStep
        Kernels in order.
    tensors : mapping of str to Tensor
    """
    return tuple(
        replace(step, examples=_examples(step))
        if isinstance(step, KernelLoop) and _independent(step, tensors)
        else step
        for step in steps
    )


def _independent(loop: KernelLoop, tensors: Mapping[str, Tensor]) -> bool:
    """True if examples go through a loop without meeting, and what they share is small."""
    if any(a.extent is None for a in (loop.axis, *loop.outer)):
        return False
    if not all(isinstance(kernel, Nest | Contraction) for kernel in loop.body):
        return False
    statements = _statements(loop)
    if not all(None in tensors[s.target].shape and each_example(s, tensors) for s in statements):
        return False
    names = {a.tensor for s in statements for a in accesses(s)}
    return sum(elements(tensors[name]) for name in names if None not in tensors[name].shape) <= MOST_SHARED


def _examples(loop: KernelLoop) -> int:
    """As few as make an iteration worth its calls."""
    each = sum(math.prod(a.extent or 1 for a in (*s.axes, *s.over)) for s in _statements(loop))
    return ROWS * max(1, -(-LEAST_WORK // (ROWS * max(1, each))))


def _statements(loop: KernelLoop) -> list[Statement]:
    return [s for kernel in loop.body for s in kernel_statements(kernel)]
