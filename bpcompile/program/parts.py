"""Sums into disjoint parts of a tensor that make up the whole are assignments.

Requires a well-formed program whose accumulations are settled. Establishes: a tensor whose writers each fill a box of
their own, no box meeting another, and all boxes together the tensor, is not accumulated into (and need not be cleared).
The gradient of a weight of which several equations read a part each is such a tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bpcompile.nodes.access import injective, inside, is_affine, reads_of_body, step_statements
from bpcompile.nodes.affine import interval
from bpcompile.nodes.statements import Program, Statement, TimeLoop

Box = tuple[tuple[int, int] | None, ...]


def assign_parts(program: Program) -> Program:
    """Turn accumulations into disjoint parts of a tensor into assignments."""
    writers: dict[str, list[Statement]] = {}
    timed: set[str] = set()
    for step in program.steps:
        for s in step_statements(step):
            writers.setdefault(s.target, []).append(s)
            if isinstance(step, TimeLoop):
                timed.add(s.target)
    split = {
        name
        for name, parts in writers.items()
        if len(parts) > 1 and name not in timed and _make_up(parts, program.tensors[name].shape)
    }
    if not split:
        return program
    steps = tuple(
        replace(step, accumulate=False) if isinstance(step, Statement) and step.target in split else step
        for step in program.steps
    )
    return program.with_steps(steps)


def _make_up(parts: Sequence[Statement], shape: tuple[int | None, ...]) -> bool:
    """True if each statement fills a box of a tensor and the boxes tile it."""
    boxes = [_box(s, shape) for s in parts]
    found = [b for b in boxes if b is not None]
    if len(found) < len(parts) or sum(map(_elements, found)) != _elements(tuple((0, (e or 1) - 1) for e in shape)):
        return False
    return all(_apart(a, b) for k, a in enumerate(found) for b in found[:k])


def _box(s: Statement, shape: tuple[int | None, ...]) -> Box | None:
    """The range of each subscript, if the statement writes each element in it once; None for the whole batch axis."""
    if not s.accumulate or s.target in reads_of_body(s):
        return None
    if not (is_affine(s.subscripts) and injective(s) and inside(s.subscripts, shape)):
        return None
    ranges: list[tuple[int, int] | None] = []
    for subscript, extent in zip(s.subscripts, shape, strict=True):
        low, high = interval(subscript)
        ranges.append(None if extent is None else (int(low), int(high)))
    written = 1
    for a in s.axes:
        written *= a.extent or 1
    box = tuple(ranges)
    return box if _elements(box) == written else None


def _elements(box: Box) -> int:
    count = 1
    for r in box:
        count *= 1 if r is None else r[1] - r[0] + 1
    return count


def _apart(a: Box, b: Box) -> bool:
    """True if two boxes have no element in common."""
    return any(p is not None and q is not None and (p[1] < q[0] or q[1] < p[0]) for p, q in zip(a, b, strict=True))
