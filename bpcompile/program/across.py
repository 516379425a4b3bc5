"""Convolutions of small images: lanes run across examples.

A line of a small image fills a part of a vector, and windows reach beyond its ends: up to half of the products are those of
empty lanes and of zeros. Across examples all lanes are filled, and what a window lacks is left out. The operand is turned for
that, so nothing reads a padded copy of it any more: the copy becomes the kernel's own, made one example at a time, for batches
that are too small to fill vectors.

Requires fused kernels in order. Establishes `Contraction.across` where that pays; the copies leave their nests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from bpcompile.nodes.access import elements, reads
from bpcompile.nodes.affine import affine, simplify_integer
from bpcompile.nodes.expressions import Axis, Expr, axis, rebuild, substitute
from bpcompile.nodes.statements import Program, Statement, Tensor
from bpcompile.program.halos import copied, halos, zero_outside
from bpcompile.program.schedule_types import Across, Contraction, Halo, Nest, ScheduledStep

LANES: Final = 16
"""Lanes for which costs are estimated: they count operations on vectors, for one example."""
MOST_ELEMENTS: Final = 4096
"""The most elements of an example: those of all lanes, 64 bytes for each, stay in the second-level cache."""
MOST_COPIED: Final = 8192
"""The most elements of a padded copy that a kernel makes for itself, on the stack."""
MOST_DEPTHS: Final = 6144
"""The most addresses along the depth, for all windows on a line together."""
MOST_SUMS: Final = 2048
"""The most sums of an example that a line holds."""
LEAST_ROWS: Final = 4
"""Rows from which a tile of one vector hides the latency of its sums."""
TURNED: Final = 6
"""Turning a vector, in squares."""
PADDED: Final = 4
"""Writing and reading a vector of a padded copy."""
TILE: Final = 1.06
"""A product in tiles."""
BEGIN: Final = 60
"""A call of a tile."""
TILE_ROWS: Final = 8
"""The most rows of a tile."""
PACKED: Final = 10
"""Packing a vector of columns in stretches, shared by all rows."""
SQUARE: Final = 8
"""Turning a vector of sums back, shared by the depth."""
LEAST_GAIN: Final = 1.15
"""The gain from which lanes across examples are worth their text."""


def across_examples(program: Program, steps: Sequence[ScheduledStep]) -> tuple[ScheduledStep, ...]:
    """Let lanes run across the examples of contractions that gain by it.

    Parameters
    ----------
    program : Program
        The program of which the kernels were made.
    steps : sequence of ScheduledStep
        Its kernels, in order.
    """
    padded, own = _padded(program)
    changed = [_across(step, padded, own, program.tensors) if isinstance(step, Contraction) else step for step in steps]
    taken = {s.copy.target for s in changed if isinstance(s, Contraction) and s.copy}
    kept = (_without(step, taken) if isinstance(step, Nest) else step for step in changed)
    return tuple(step for step in kept if not isinstance(step, Nest) or step.statements)


def _padded(program: Program) -> tuple[Mapping[str, Statement], frozenset[str]]:
    """Padded tensors with their definitions, and those that are nothing but a copy for one reader.

    What they copy is written once: it is still there when the reader runs.
    """
    users: dict[str, int] = {}
    writers: dict[str, list[Statement]] = {}
    for s in program.statements():
        writers.setdefault(s.target, []).append(s)
        for name in {s.target, *reads(s)}:
            users[name] = users.get(name, 0) + 1
    padded = {name: s for name, (s, *more) in writers.items() if not more and zero_outside(s)}
    sources = {name: copied(s) for name, s in padded.items()}
    own = (
        name
        for name, source in sources.items()
        if source is not None and len(writers.get(source.value[0], ())) <= 1
        and program.tensors[name].role == "temporary" and users[name] == 2 and elements(program.tensors[name]) <= MOST_COPIED
    )  # fmt: skip
    return padded, frozenset(own)


def _without(nest: Nest, taken: set[str]) -> Nest:
    kept = [(s, group) for s, group in zip(nest.statements, nest.joined, strict=True) if s.target not in taken]
    return replace(nest, statements=tuple(s for s, _ in kept), joined=tuple(group for _, group in kept))


def _across(
    kernel: Contraction, padded: Mapping[str, Statement], own: frozenset[str], tensors: Mapping[str, Tensor]
) -> Contraction:
    for operand, columns, rows in (
        (kernel.left, kernel.rows, kernel.columns), (kernel.right, kernel.columns, kernel.rows),
    ):  # fmt: skip
        definition = padded.get(operand.value[0])
        bounds = tuple(halos(kernel, operand, definition)) if definition else ()
        copy = definition if definition and operand.value[0] in own and len(bounds) == len(zero_outside(definition)) else None
        free = not kernel.batch and not kernel.panels and all(a.extent for a in (*rows, *kernel.depth))
        found = _case(kernel, _source(operand, copy), columns, bounds, tensors) if free else None
        if found and _size(rows) >= LEAST_ROWS and _size((*rows, found.line)) <= MOST_SUMS:
            found = replace(found, copy=copy)
            gain = _gain(kernel, found, columns, rows, tensors)
            if gain >= LEAST_GAIN:
                return replace(kernel, across=replace(found, gain=int(100 * gain)))
    return kernel


def _case(
    kernel: Contraction, source: Expr, columns: Sequence[Axis], bounds: Sequence[Halo], tensors: Mapping[str, Tensor]
) -> Across | None:
    """How lanes would run across examples, if what examples have is small and lies in lines."""
    tensor = tensors[source.value[0]]
    first, last = kernel.statement.subscripts[0], kernel.statement.subscripts[-1]
    forms = [affine(e) for e in source.args]
    if (
        tensor.kind != "real" or tensor.shape[:1] != (None,) or None in tensor.shape[1:] or elements(tensor) > MOST_ELEMENTS
        or first is not source.args[0] or first.op != "axis" or first.value.extent is not None
        or any(t.op != "axis" for form in forms for t, _ in form.terms)
        or last.op != "axis" or last.value not in columns or forms[-1].coefficient(last) != 1
        or len({a for h in bounds for a in (h.outer, h.inner) if a.extent != 1}) < 2 * len(bounds)
    ):  # fmt: skip
        return None
    along = next((h for h in bounds if h.outer == last.value), None)
    beside = [h for h in bounds if h is not along]
    found = Across(source, last.value, along, beside[0] if beside else None, None, 0)
    each = _size(a for a in kernel.depth if not along or a != along.inner)
    small = sum(map(len, set(found.windows()))) * each <= MOST_DEPTHS
    return found if small and len(beside) <= 1 and all(h.outer in columns for h in bounds) else None


def _source(operand: Expr, copy: Statement | None) -> Expr:
    """What a padded copy has copied, at the positions at which the copy is read; any other operand as it is."""
    inner = copied(copy) if copy else None
    if copy is None or inner is None:
        return operand
    at = {axis(a): e for a, e in zip(copy.axes, operand.args, strict=True)}
    return rebuild(substitute(inner, at), lambda e: simplify_integer(e) if e.kind == "int" else None)


def _gain(
    kernel: Contraction, across: Across, columns: Sequence[Axis], rows: Sequence[Axis], tensors: Mapping[str, Tensor]
) -> float:
    """How many times as much the best way within an example would cost."""
    height, depth, sums = _size(rows), _size(kernel.depth), _size((*rows, *columns))
    along, beside = _kept(across.along), _kept(across.beside)
    length = across.line.extent or 1
    pieces = -(-length // LANES) * LANES / length * beside
    squares = -(-height // LANES) * LANES / height + SQUARE / depth
    within = sums * depth / LANES * TILE * min(pieces, 1 + PACKED / height, squares)
    padded = elements(tensors[across.copy.target]) / LANES * PADDED if across.copy else 0.0
    turned = (elements(tensors[across.source.value[0]]) + sums) / LANES * TURNED
    tiles = -(-height // TILE_ROWS) * sums / height / LANES
    return (within + padded) / (sums * depth / LANES * TILE * along * beside + tiles * BEGIN + turned)


def _kept(halo: Halo | None) -> float:
    """The part of the products that a halo leaves."""
    if halo is None:
        return 1.0
    positions, window = halo.outer.extent or 1, halo.inner.extent or 1
    return sum(len(halo.met(k)) for k in range(positions)) / (positions * window)


def _size(axes: Iterable[Axis]) -> int:
    return math.prod(a.extent or 1 for a in axes)
