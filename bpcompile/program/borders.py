"""Padded copies as pieces: what lies inside is copied without conditions, and the borders are set to zero.

Requires fused kernels. Establishes: where a nest copies with ``where(2 <= h, where(h < 30, x[h - 2], 0), 0)``, a statement
copies the inside, element by element, so that it may share a loop with what computes it; others write the borders.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bpcompile.nodes.affine import simplify_integer
from bpcompile.nodes.expressions import Axis, Expr, axis, const, node, rebuild, substitute
from bpcompile.nodes.guards import simplify_guards
from bpcompile.nodes.statements import Statement
from bpcompile.program.halos import Bounds, zero_outside
from bpcompile.program.join import in_joined_order
from bpcompile.program.schedule_types import BatchLoop, Kernel, KernelLoop, Nest, ScheduledStep


def with_borders(steps: Sequence[ScheduledStep]) -> tuple[ScheduledStep, ...]:
    """Take padded copies apart in all nests."""
    return tuple(
        replace(step, body=tuple(map(_in_parts, step.body))) if isinstance(step, KernelLoop | BatchLoop) else _in_parts(step)
        for step in steps
    )


def _in_parts(kernel: Kernel) -> Kernel:
    if not isinstance(kernel, Nest) or kernel.sequential:
        return kernel
    bounds = [_bounds(s) for s in kernel.statements]
    padded = {a for found in bounds for a in found}
    # Axes that statements share are kept: to part them would part what is computed together.
    if not padded or (len(kernel.statements) > 1 and padded & set(kernel.axes)):
        return kernel
    axes = tuple(itertools.takewhile(lambda a: a not in padded, kernel.axes))
    parts = [part for s, found in zip(kernel.statements, bounds, strict=True) for part in _parts(s, found)]
    ordered = tuple(replace(s, axes=(*axes, *(a for a in s.axes if a not in axes))) for s in parts)
    return in_joined_order(axes, ordered)


def _bounds(s: Statement) -> Bounds:
    """For axes of a padded copy: where its inside lies."""
    found = zero_outside(s)
    return found if all(low < high for low, high in found.values()) else {}


def _parts(s: Statement, bounds: Bounds) -> Iterator[Statement]:
    """The inside first, then the borders, each without the corners that those before it have written."""
    if not bounds:
        yield s
        return
    ranges = {a: (0, a.extent or 0) for a in bounds}
    zero = replace(s, body=const(0.0))
    yield _part(s, bounds)
    for a, (low, high) in bounds.items():
        for part in ((0, low), (high, a.extent or 0)):
            if part[0] < part[1]:
                yield _part(zero, {**ranges, a: part})
        ranges[a] = (low, high)


def _part(s: Statement, ranges: Bounds) -> Statement:
    """The statement for those values of its axes."""
    names = {a: Axis(a.name, high - low) for a, (low, high) in ranges.items()}
    swap: dict[Expr, Expr] = {
        axis(a): node("add", (axis(names[a]), const(low))) if low else axis(names[a]) for a, (low, _) in ranges.items()
    }

    def simpler(e: Expr) -> Expr | None:
        return simplify_integer(e) if e.kind == "int" else None

    body = rebuild(substitute(s.body, swap), simpler)
    return replace(
        s,
        axes=tuple(names.get(a, a) for a in s.axes),
        subscripts=tuple(swap.get(e, e) for e in s.subscripts),
        body=rebuild(simplify_guards(body), simpler),
    )
