"""Statements in loops over parts of their axes, and their tensors without what only a loop counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bpcompile.nodes.access import accesses, bare, covers, step_statements
from bpcompile.nodes.expressions import Axis, Expr, axis, const, load, node, rebuild, substitute
from bpcompile.nodes.statements import Program, Statement, Step, Tensor, TimeLoop
from bpcompile.program.tile_loops import Line, Placed, Section

Homes = Mapping[str, tuple[bool, tuple[int, ...]]]
"""For each tensor that the loops alone use: whether one loop alone does, and its dimension for each line."""


def tiled(program: Program, parts: Sequence[Step | Section], lines: Sequence[Line]) -> Program:
    """The program with each section as a loop over the lines."""
    homes = _homes(program, parts, len(lines))
    tensors = {name: _shaped(t, homes[name], lines) if name in homes else t for name, t in program.tensors.items()}
    loops = [line.loop for line in lines if line.loop is not None]
    steps = tuple(
        TimeLoop(loops[-1], False, tuple(_placed(p, lines, homes) for p in part.body), tuple(loops[:-1]))
        if isinstance(part, Section)
        else part
        for part in parts
    )
    return program.with_steps(steps, tensors)


def _homes(program: Program, parts: Sequence[Step | Section], count: int) -> Homes:
    """Temporaries that loops alone use, always along the lines at the same dimensions.

    What one loop alone uses it has to make anew for each part.
    """
    found: dict[str, tuple[int, tuple[int, ...]] | None] = {}
    several: set[str] = set()
    for number, part in enumerate(parts):
        if not isinstance(part, Section):
            found.update((a.tensor, None) for s in step_statements(part) for a in accesses(s))
            continue
        covered: set[str] = set()
        for p in part.body:
            s = p.statement
            if s.accumulate and s.target not in covered:  # adds to zeros, which are set once, and not for each part
                several.add(s.target)
            elif not s.accumulate and covers(s, program.tensors[s.target].shape):
                covered.add(s.target)
            for a in accesses(s):
                dims = _dimensions(a.subscripts, p.along) if program.tensors[a.tensor].role == "temporary" else None
                known = found.get(a.tensor, (number, dims))
                if dims is None or known is None or known[1] != dims or len(dims) != count:
                    found[a.tensor] = None
                    continue
                if known[0] != number:
                    several.add(a.tensor)
                found[a.tensor] = (number, dims)
    return {name: (name not in several, home[1]) for name, home in found.items() if home is not None}


def _dimensions(subscripts: Sequence[Expr], along: Sequence[Axis]) -> tuple[int, ...] | None:
    places = [[k for k, e in enumerate(subscripts) if bare(e) == a] for a in along]
    return tuple(found[0] for found in places) if all(len(found) == 1 for found in places) else None


def _shaped(tensor: Tensor, home: tuple[bool, tuple[int, ...]], lines: Sequence[Line]) -> Tensor:
    alone, dims = home
    by_dim = dict(zip(dims, lines, strict=True))
    shape: list[int | None] = []
    for k, extent in enumerate(tensor.shape):
        line = by_dim.get(k)
        if line is None or line.loop is None:
            shape.append(extent)
        else:
            shape += () if alone else (line.loop.extent,)
            shape += () if line.block is None else (line.block,)
    return replace(tensor, shape=tuple(shape))


def _placed(p: Placed, lines: Sequence[Line], homes: Homes) -> Statement:
    """A statement inside the loop: its axes are the loop's, or run over one block."""
    s = p.statement
    within = {a: Axis(a.name, line.block) for a, line in zip(p.along, lines, strict=True) if line.block is not None}
    gone = {a for a in p.along if a not in within}
    values: dict[Expr, Expr] = {}
    for a, line in zip(p.along, lines, strict=True):
        assert line.loop is not None
        start = axis(line.loop)
        if line.block is not None:
            start = node("add", (node("mul", (start, const(line.block))), axis(within[a])))
        values[axis(a)] = start

    def shaped(name: str, subscripts: tuple[Expr, ...]) -> tuple[Expr, ...]:
        alone, dims = homes[name]
        by_dim = {k: (a, line) for k, a, line in zip(dims, p.along, lines, strict=True)}
        result: list[Expr] = []
        for k, e in enumerate(subscripts):
            if k not in by_dim:
                result.append(e)
                continue
            a, line = by_dim[k]
            assert line.loop is not None
            result += () if alone else (axis(line.loop),)
            result += () if line.block is None else (axis(within[a]),)
        return tuple(result)

    def change(e: Expr) -> Expr | None:
        return load(e.value[0], shaped(e.value[0], e.args), e.value[1]) if e.op == "load" and e.value[0] in homes else None

    subscripts = shaped(s.target, s.subscripts) if s.target in homes else s.subscripts
    over = tuple(within.get(a, a) for a in s.over if a not in gone)
    return replace(
        s,
        subscripts=tuple(substitute(rebuild(e, change), values) for e in subscripts),
        axes=tuple(within.get(a, a) for a in s.axes if a not in gone),
        body=substitute(rebuild(s.body, change), values),
        reduce=s.reduce if over else None,
        over=over,
        accumulate=s.accumulate or any(a in s.over for a in p.along),
    )
