"""Local derivatives: of one equation by one of the tensors that it reads, as scalar derivatives with Kronecker deltas."""

from __future__ import annotations

from dataclasses import dataclass

from bpcompile.calculus.algebra import ZERO, add, mul, select
from bpcompile.calculus.gather import gather
from bpcompile.calculus.record import Contribution
from bpcompile.calculus.simplify import matched, simplify
from bpcompile.derivation.axes import places, renamed
from bpcompile.derivation.context import Context
from bpcompile.derivation.places import (
    position,
    shown,
    summed_over,
    tensor_axes,
    with_deltas,
)
from bpcompile.derivation.view import is_batch
from bpcompile.nodes.expressions import (
    Axis,
    Expr,
    axis,
    load,
    node,
    substitute,
)
from bpcompile.nodes.statements import Statement


@dataclass(frozen=True, slots=True)
class Path:
    """One way in which an equation depends on a tensor.

    ``derivative`` is scalar, over the axes of the equation and ``over``; it stands at the element ``subscripts``.
    """

    tensor: str
    subscripts: tuple[Expr, ...]
    derivative: Expr
    over: tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class Local:
    """The derivative of an equation by a tensor: with its deltas, then contracted, then with forward values."""

    upper: str
    upper_axes: tuple[Axis, ...]
    lower: str
    lower_axes: tuple[Axis, ...]
    with_deltas: Expr
    contracted: Expr
    with_values: Expr


def paths(context: Context, target: str) -> list[Path]:
    """How the equation of ``target`` depends on the user's tensors and on named ones, through what is written out."""
    return _paths(context, context.stable[target], set())


def _paths(context: Context, s: Statement, seen: set[str]) -> list[Path]:
    found: list[Path] = []
    for c in _contributions_from(context, s):
        derivative = c.derivative
        if s.reduce in ("max", "min"):
            chosen = load(f"{s.target}.arg{s.reduce}", places(s.axes), "int")
            derivative = select(node("eq", (position(s.over), chosen)), derivative, ZERO)
        inner = context.stable.get(c.tensor)
        if c.tensor in context.view.definitions and inner is not None and c.tensor not in seen:
            letters = context.letters([a.name for a in (*s.axes, *s.over)])
            names = letters.all((*inner.axes, *inner.over))
            swap = {axis(names[a]): i for a, i in zip(inner.axes, c.access.args, strict=True)}
            for p in _paths(context, inner, seen | {c.tensor}):
                local = substitute(renamed(p.derivative, names), swap)
                at = tuple(substitute(renamed(i, names), swap) for i in p.subscripts)
                over = (*s.over, *(names.get(a, a) for a in p.over))
                found.append(Path(p.tensor, at, mul(derivative, local), over))
        else:
            found.append(Path(c.tensor, c.access.args, derivative, s.over))
    return found


def _contributions_from(context: Context, s: Statement) -> list[Contribution]:
    return [c for steps in context.contributions.values() for c in steps if c.source.target == s.target]


def local_derivatives(context: Context, target: str) -> list[Local]:
    """The derivatives of one equation by everything that it reads and that has a gradient."""
    axes = tensor_axes(context, target)
    found: dict[str, list[Path]] = {}
    for p in context.paths(target):
        found.setdefault(p.tensor, []).append(p)
    return [_local(context, target, axes, tensor, ways) for tensor, ways in found.items()]


def _local(context: Context, target: str, axes: tuple[Axis, ...], tensor: str, ways: list[Path]) -> Local:
    own = tensor_axes(context, tensor)
    used = {a.name for p in ways for a in p.over} | {a.name for a in axes}
    letters = context.letters(used)
    lower = tuple(a if is_batch(a) and context.single else letters.fresh(a) for a in own)
    deltas: Expr | None = None
    contracted: Expr | None = None
    for p in ways:
        value = summed_over(with_deltas(p.derivative, p.subscripts, lower), p.over)
        deltas = value if deltas is None else node("add", (deltas, value))
        gathered = gather(p.derivative, p.subscripts, p.over, lower)
        short = value if gathered is None else gathered.expression
        contracted = short if contracted is None else add(contracted, short)
    assert deltas is not None
    assert contracted is not None
    contracted = simplify(contracted, lambda a, b: _quotient_of_forward_pass(context, a, b))
    show = context.view
    values = substitute(contracted, _own_values(context, target))
    return Local(
        target,
        show.axes(axes),
        tensor,
        show.axes(lower),
        shown(context, deltas),
        shown(context, contracted),
        shown(context, values),
    )


def _quotient_of_forward_pass(context: Context, numerator: Expr, divisor: Expr) -> Expr | None:
    """The tensor that holds a quotient, where the forward pass has it: a softmax."""
    for s in context.stable.values():
        if s.plain and not s.reduce and s.body.op == "div" and divisor.op == "load" and s.body.args[1].op == "load":
            at = matched(s.body, node("div", (numerator, divisor)), s.axes)
            if at is not None and len(at) == len(s.axes):
                return load(s.target, (at[a] for a in s.axes))
    return None


def _own_values(context: Context, target: str) -> dict[Expr, Expr]:
    """The function value that the forward pass has, where the record says that a derivative reads it."""
    s = context.stable[target]
    if any(r.rule == "value of the forward pass" and r.tensor == target for r in context.rewritings):
        return {s.body: load(target, places(s.axes), s.body.kind)}
    return {}
