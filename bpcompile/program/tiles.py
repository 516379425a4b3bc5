"""Large temporaries that are made and used part by part: only one part at a time is in memory.

Requires settled accumulations. Establishes: where a statement makes far more than it reads (scores, from queries and keys),
and all statements that use the result, or something as large that is made from it, go along some axes together, these
statements run in a loop over parts of those axes. What lives inside the loop has the size of one part, which stays in the
cache; what a later loop needs of it is computed again, from the small values that are kept (the maximum and the sum of a
row of scores). Attention never holds its matrix of scores for this reason alone; see Rabe and Staats 2021, "Self-attention
does not need O(n^2) memory", and Dao et al. 2022.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from bpcompile.nodes.access import (
    TYPICAL_BATCH,
    accesses,
    bare,
    elements,
    fresh_axis,
    loop_axes,
    reads,
    step_statements,
    volume,
)
from bpcompile.nodes.expressions import Axis, Expr, load, rebuild
from bpcompile.nodes.statements import Program, Statement, Step, Tensor
from bpcompile.program.tile_loops import Line, Placed, Section, sections
from bpcompile.program.tile_text import tiled

LARGE: Final = 1 << 19
"""The least elements, for one example, of a temporary that is made part by part."""
GROWTH: Final = 4
"""How many times more elements a statement makes than each of its operands has, at the least."""
TILE: Final = 1 << 17
"""The most elements of a part: half a megabyte, which stays in a second-level cache."""
SHORTEST: Final = 16
"""The fewest positions of a block of an axis."""
RESIDENT: Final = 1 << 20
"""The most elements of an operand that every part reads, or adds to, anew: it has to stay in a cache."""
AGAIN: Final = 512
"""The most products in an element that is computed again rather than kept."""


def in_tiles(program: Program) -> Program:
    """Put statements around large temporaries into loops over parts of them."""
    tried: set[str] = set()
    while True:
        seed = next((name for name in _seeds(program) if name not in tried), None)
        if seed is None:
            return program
        tried.add(seed)
        program = _in_tiles(program, seed, tried) or program


def _seeds(program: Program) -> Iterator[str]:
    """Temporaries that are far larger than what they are made from."""
    for step in program.steps:
        if not isinstance(step, Statement) or step.accumulate:
            continue
        made = program.tensors[step.target]
        if made.role != "temporary" or made.kind != "real" or None not in made.shape or elements(made) < LARGE:
            continue
        if all(GROWTH * elements(program.tensors[name]) <= elements(made) for name in reads(step)):
            yield step.target


def _in_tiles(program: Program, seed: str, tried: set[str]) -> Program | None:
    """The program with the statements around one temporary in loops; nothing if that cannot be or does not pay."""
    members = _members(program, seed)
    tried |= members
    if any(not isinstance(step, Statement) and _touches(s, members) for step in program.steps for s in step_statements(step)):
        return None
    core = [s for s in program.steps if isinstance(s, Statement) and _touches(s, members)]
    aligned = [_aligned(core, members, seed, k, program.tensors) for k in range(len(program.tensors[seed].shape))]
    lines = _chosen([line for line in aligned if line is not None], program.tensors[seed], core)
    if not lines or not _resident(core, members, lines, program.tensors):
        return None
    parts = sections(program, core, lines)
    parts, copies = _computed_again(program, parts, members)
    if not any(_within_one(name, parts) for name in members):
        return None
    return tiled(program.with_steps(program.steps, {**program.tensors, **copies}), parts, lines)


def _touches(s: Statement, members: set[str]) -> bool:
    return any(a.tensor in members for a in accesses(s))


def _members(program: Program, seed: str) -> set[str]:
    """The seed, and temporaries of about its size that statements use together with it."""
    least = elements(program.tensors[seed]) // 2
    members, before = {seed}, 0
    while len(members) > before:
        before = len(members)
        for s in program.statements():
            names = {s.target, *reads(s)}
            if names & members:
                members |= {n for n in names if program.tensors[n].role == "temporary" and _large(program.tensors[n], least)}
    return members


def _large(tensor: Tensor, least: int) -> bool:
    return None in tensor.shape and elements(tensor) >= least


def _aligned(
    core: Sequence[Statement], members: set[str], seed: str, k: int, tensors: Mapping[str, Tensor]
) -> Line | None:
    """How all statements go along dimension ``k`` of the seed together; nothing if one of them does not."""
    dims, axes, known = {seed: k}, dict[Statement, Axis](), 0
    while len(dims) > known:
        known = len(dims)
        for s in core:
            for access in accesses(s):
                if access.tensor in dims:
                    a = bare(access.subscripts[dims[access.tensor]])
                    if a is None or axes.setdefault(s, a) != a or a.extent != tensors[seed].shape[k]:
                        return None
            for access in accesses(s):
                if s in axes and access.tensor in members and access.tensor not in dims:
                    places = [i for i, e in enumerate(access.subscripts) if bare(e) == axes[s]]
                    if len(places) != 1 or tensors[access.tensor].shape[places[0]] != axes[s].extent:
                        return None
                    dims[access.tensor] = places[0]
    if len(axes) < len(core) or not all(_divisible(s, axes[s], members) for s in core):
        return None
    return Line(dims, axes, None, None)


def _divisible(s: Statement, a: Axis, members: set[str]) -> bool:
    """True if parts of the axis can be taken one after another: each writes its own, or adds to a sum."""
    if a in s.axes:
        return s.accumulate or any(bare(e) == a for e in s.subscripts)
    return a in s.over and s.reduce == "sum" and s.target not in members


def _chosen(lines: Sequence[Line], seed: Tensor, core: Sequence[Statement]) -> tuple[Line, ...]:
    """The axes to loop over, outermost first, the last perhaps in blocks, so that one part is small enough."""
    taken = {a.name for s in core for a in loop_axes(s)}
    remaining = elements(seed)
    found: list[Line] = []
    for line in lines:
        if remaining <= TILE and found:
            break
        a = next(iter(line.axes.values()))
        count = a.extent or 1
        if a.extent is None or remaining // count >= TILE // 8:
            found.append(replace(line, loop=fresh_axis(Axis(f"{a.name}_at", a.extent), taken)))
            remaining //= count
        else:
            fits = [b for b in range(SHORTEST, count) if count % b == 0 and remaining // count * b <= TILE]
            block = fits[-1] if fits else next((b for b in range(SHORTEST, count) if count % b == 0), None)
            if block is not None:
                loop = fresh_axis(Axis(f"{a.name}_block", count // block), taken)
                found.append(replace(line, loop=loop, block=block))
            break
    return tuple(found)


def _resident(core: Sequence[Statement], members: set[str], lines: Sequence[Line], tensors: Mapping[str, Tensor]) -> bool:
    """True if what the parts use over and over is small enough to stay in a cache."""
    for s in core:
        for access in accesses(s):
            if access.tensor in members:
                continue
            shared = {bare(e) for e in access.subscripts} & {line.axes[s] for line in lines}
            looped = {line.axes[s] for line in lines if line.axes[s] in shared}
            batch = None in tensors[access.tensor].shape and all(a.extent is not None for a in looped)
            size = elements(tensors[access.tensor]) * (TYPICAL_BATCH if batch else 1)
            if size // volume(a for a in looped if a.extent) > RESIDENT:
                return False
    return True


def _computed_again(
    program: Program, parts: Sequence[Step | Section], members: set[str]
) -> tuple[list[Step | Section], dict[str, Tensor]]:
    """Let each loop compute what it needs of the large temporaries of earlier loops, where that is cheap."""
    writers = Counter(s.target for s in program.statements())
    made: dict[str, Placed] = {}
    copies: dict[str, Tensor] = {}
    result: list[Step | Section] = []
    for part in parts:
        if not isinstance(part, Section):
            result.append(part)
            continue
        own = {p.statement.target for p in part.body}
        names: dict[str, str] = {}
        first: list[Placed] = []
        for name in dict.fromkeys(n for p in part.body for n in reads(p.statement)):
            for n in _needed(name, made, members, writers) if name in made and name not in own else ():
                if n not in names:
                    names[n] = f"{n}.again{len(copies)}"
                    copies[names[n]] = replace(program.tensors[n], name=names[n])
                    first.append(made[n])
        made |= {p.statement.target: p for p in part.body if p.statement.target in members and not p.statement.accumulate}
        result.append(Section(tuple(_reading(p, names) for p in (*first, *part.body))))
    return result, copies


def _needed(name: str, made: Mapping[str, Placed], members: set[str], writers: Mapping[str, int]) -> list[str]:
    """The large temporaries to compute again for one of them, in order; none if it has to be kept."""
    s = made[name].statement
    if any(writers.get(n, 0) > 1 for n in (name, *reads(s))) or volume(s.over) > AGAIN:
        return []
    order: dict[str, None] = {}
    for n in reads(s):
        if n in members:
            below = _needed(n, made, members, writers) if n in made else []
            if not below:
                return []
            order.update(dict.fromkeys(below))
    return [*order, name]


def _reading(p: Placed, names: Mapping[str, str]) -> Placed:
    """The statement with tensors under new names."""

    def change(e: Expr) -> Expr | None:
        return load(names[e.value[0]], e.args, e.value[1]) if e.op == "load" and e.value[0] in names else None

    s = p.statement
    if not names:
        return p
    return Placed(replace(s, target=names.get(s.target, s.target), body=rebuild(s.body, change)), p.along)


def _within_one(name: str, parts: Sequence[Step | Section]) -> bool:
    """True if one loop alone uses a tensor."""
    homes = [part for part in parts if any(_touches(s, {name}) for s in _statements(part))]
    return len(homes) == 1 and isinstance(homes[0], Section)


def _statements(part: Step | Section) -> tuple[Statement, ...]:
    return tuple(p.statement for p in part.body) if isinstance(part, Section) else step_statements(part)
