"""Normal form: every reduction becomes a statement of its own over exactly its free indices.

A mean becomes a sum divided by the extents. A reduction that is the whole right side stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bpcompile.calculus.freeze import batch_first
from bpcompile.nodes.access import is_affine
from bpcompile.nodes.expressions import Axis, Expr, axes_of, axis, children_first, const, load, node, size
from bpcompile.nodes.statements import Statement


def normalize(statements: Iterable[Statement]) -> list[Statement]:
    """Statements without reductions inside expressions; hoisted ones come right before their user."""
    return [part for s in statements for part in normalize_statement(s)]


def normalize_statement(s: Statement, before: int = 0) -> list[Statement]:
    """One statement and the reductions hoisted out of it, in the order in which they must run.

    ``before`` reductions were hoisted out of other statements of the same target: names count on from there.
    """
    if s.reduce is None and not any(e.op == "reduce" for e in children_first(s.body)):
        return [s]
    hoisted: list[Statement] = []
    body = _hoist(s, without_means(s.body), hoisted, s.reduce is None and _adds_sums(s), before)
    return [*hoisted, body]


def _adds_sums(s: Statement) -> bool:
    """Whether a reduction may be the whole right side: an accumulation adds sums, to places that do not depend on data."""
    return not s.accumulate or (s.body.op == "reduce" and s.body.value[0] == "sum" and is_affine(s.subscripts))


def without_means(e: Expr) -> Expr:
    """Every mean written as a sum over the number of its terms."""
    args = tuple(without_means(a) for a in e.args)
    e = e if args == e.args else node(e.op, args, e.value)
    if e.op != "reduce" or e.value[0] != "mean":
        return e
    axes = e.value[1]
    count: Expr | None = None
    for a in axes:
        count = size(a) if count is None else _product(count, size(a))
    assert count is not None
    return node("div", (node("reduce", e.args, ("sum", axes)), count))


def _product(a: Expr, b: Expr) -> Expr:
    return const(a.value * b.value) if a.op == b.op == "const" else node("mul", (a, b))


def _hoist(s: Statement, body: Expr, hoisted: list[Statement], keep_root: bool, before: int) -> Statement:
    """``s`` with ``body``, whose reductions have moved into ``hoisted``."""
    done: dict[Expr, Expr] = {}
    root = body
    for e in children_first(body):
        args = tuple(done[a] for a in e.args)
        fresh = e if args == e.args else node(e.op, args, e.value)
        if e.op != "reduce":
            done[e] = fresh
            continue
        kind, over = e.value
        inner = fresh.args[0]
        if e is root and keep_root:
            return replace(s, body=inner, reduce=kind, over=over)
        # The order of the free indices is that of the statement's left side, then of enclosing reductions.
        free = _in_order(batch_first(axes_of(fresh)), s.axes)
        name = f"{s.target}.{kind}{before + len(hoisted) + 1}"
        subscripts = tuple(axis(a) for a in free)
        hoisted.append(Statement(name, subscripts, free, inner, kind, over, origin=s.origin))
        done[e] = load(name, subscripts, fresh.kind)
    return replace(s, body=done[root])


def _in_order(axes: tuple[Axis, ...], preferred: tuple[Axis, ...]) -> tuple[Axis, ...]:
    first = [a for a in preferred if a in axes]
    return batch_first([*first, *axes])
