"""One statement as C text in a given place: its value, its reduction, and its store."""

from __future__ import annotations

from collections.abc import Sequence

from bpcompile.emit.c import reductions
from bpcompile.emit.c.access import store
from bpcompile.emit.c.affine import inside
from bpcompile.emit.c.blocks import write_lanes, write_loops
from bpcompile.emit.c.expressions import numeric, scalar
from bpcompile.emit.c.loops import collapse, heavy, target_load, uses
from bpcompile.emit.c.scope import Scope
from bpcompile.nodes.expressions import Axis
from bpcompile.nodes.statements import Statement


def write_statement(scopes: Sequence[Scope], s: Statement, lane: Axis | None = None) -> None:
    """Write a statement into scopes that bind its axes.

    Parameters
    ----------
    scopes : sequence of Scope
        One for each vector (or the one scalar scope) to compute.
    s : Statement
    lane : Axis, optional
        In a scalar scope: the reduced axis that runs along the lanes.
    """
    if s.reduce is None:
        for scope in scopes:
            integers = scope.lane is None and _is_integer(scope, s) and s.body.kind == "int"
            _finish(scope, s, scalar(scope, s.body) if integers else numeric(scope, s.body))
    elif lane is not None:
        _reduce_along_lanes(scopes[0], s, lane)
    else:
        _reduce(scopes, s)


def _reduce(scopes: Sequence[Scope], s: Statement) -> None:
    """An accumulator for each scope (a vector of them where it has lanes), all in the same loops."""
    kind = s.reduce or ""
    totals = [reductions.begin(scope, kind, scope.lane is not None) for scope in scopes]

    def body(inner: Sequence[Scope]) -> None:
        for scope, total in zip(inner, totals, strict=True):
            reductions.update(scope, s, total)

    write_loops(scopes, collapse(s.over, uses(scopes[0].writer, (s,))), body, frozenset((s.target,)))
    for scope, total in zip(scopes, totals, strict=True):
        _finish(scope, s, reductions.result(s, total))


def _reduce_along_lanes(scope: Scope, s: Statement, lane: Axis) -> None:
    """Vectors of partial results along a reduced axis, which meet in a fixed tree."""
    kind = s.reduce or ""
    writes = frozenset((s.target,))
    order = [*(a for a in s.over if a != lane), lane]
    *outer, last = collapse(order, uses(scope.writer, (s,)))
    copies = reductions.copies(s, last)
    totals = [reductions.begin(scope, kind, True) for _ in range(copies)]

    def lanes(inner: Sequence[Scope]) -> None:
        write_lanes(inner[0], last, body, writes, copies=copies, once=heavy((s,)))

    def body(inner: Sequence[Scope]) -> None:
        for one, total in zip(inner, totals, strict=False):
            mask = ""
            if one.count:
                mask = one.writer.fresh("m")
                one.lines.append(f"const vmask {mask} = v_lt(v_iota(), v_splat((real){one.count}));")
            reductions.update(one, s, total, mask)

    write_loops([scope], outer, lanes, writes)
    _finish(scope, s, reductions.result(s, reductions.across_lanes(scope, s, totals)))


def _is_integer(scope: Scope, s: Statement) -> bool:
    return scope.writer.arguments.tensors[s.target].kind == "int"


def _finish(scope: Scope, s: Statement, text: str) -> None:
    """Store a value, and let what follows in this block use the variable that holds it."""
    writer = scope.writer
    held = target_load(writer, s)
    wide = scope.lane is not None
    local = writer.local.get(s.target)
    in_variable = local is not None and not any(local.strides)
    previous = scope.find(held, wide)
    if s.accumulate and previous is not None:
        text = f"{previous} + {text}"
    if not text.isidentifier():
        name = writer.fresh("i" if not wide and _is_integer(scope, s) else "x")
        c_type = "vreal" if wide else "ptrdiff_t" if _is_integer(scope, s) else "real"
        cast = f"({c_type})" if c_type == "ptrdiff_t" and not text.startswith("(ptrdiff_t)") else ""
        scope.lines.append(f"const {c_type} {name} = {cast}{f'({text})' if cast else text};")
        text = name
    if in_variable:
        scope.forget(s.target)
        scope.keep(held, wide, text)
        return
    accumulate = s.accumulate and previous is None
    store(scope, s.target, s.subscripts, text, accumulate=accumulate, vector=wide)
    whole = all(
        inside(e, extent) for e, extent in zip(s.subscripts, writer.layout(s.target)[1], strict=True)
    )
    if whole and not accumulate:
        scope.keep(held, wide, text)
