"""Where things stand: the axes of tensors, Kronecker deltas between subscripts and places, readers at other times."""

from __future__ import annotations

from collections.abc import Sequence

from bpcompile.calculus.algebra import ZERO, is_number, select
from bpcompile.derivation.axes import Letters, unshadowed
from bpcompile.derivation.context import Context
from bpcompile.derivation.view import tidied, whole
from bpcompile.nodes.affine import affine, simplify_integer
from bpcompile.nodes.expressions import (
    Axis,
    Expr,
    axis,
    children_first,
    const,
    loads,
    node,
    rebuild,
    reduce,
    size,
)


def shown(context: Context, e: Expr) -> Expr:
    """A recorded tree as it is printed."""
    return unshadowed(tidied(integers_simplified(context.view.tree(e))))


def integers_simplified(e: Expr) -> Expr:
    """Subscripts such as ``t + 1 - 1`` written short."""
    return rebuild(e, lambda x: simplify_integer(x) if x.kind == "int" else None)


def solved_subscripts(context: Context, subscripts: Sequence[Expr], at: Sequence[Axis]) -> dict[Axis, Expr]:
    """Where a reader stands on the axes that are not summed, time and layer number: ``a + c = p`` gives ``a = p - c``."""
    found: dict[Axis, Expr] = {}
    for s, p in zip(subscripts, at, strict=True):
        form = affine(s)
        if len(form.terms) != 1 or form.terms[0][0].op != "axis" or form.terms[0][1] != 1:
            continue
        a = form.terms[0][0].value
        if a.name in context.time and a not in found:
            found[a] = simplify_integer(node("sub", (axis(p), const(form.constant))))
    return found


def tensor_axes(context: Context, tensor: str) -> tuple[Axis, ...]:
    """The axes of a tensor as its equation, or its parameter's declaration, names them (the batch included)."""
    s = context.forward.get(tensor) or context.stable.get(tensor)
    if s is not None and s.plain:
        return s.axes
    shape = context.tensor(tensor).shape
    if context.tensor(tensor).role in ("input", "target"):
        return _axes_by_readers(context, tensor, shape)
    collected = context.collected.get(tensor)
    if collected is not None and all(a.op == "axis" for a in collected.axes):
        axes = [a.value for a in collected.axes]
        if len(axes) == len(shape):
            return tuple(axes)
    return tuple(Axis("n" if e is None else f"i{k}", e) for k, e in enumerate(shape))


def _axes_by_readers(context: Context, tensor: str, shape: Sequence[int | None]) -> tuple[Axis, ...]:
    """Axes of what no equation defines: called as the first equation that reads it calls them."""
    for s in context.forward.values():
        for e in loads(whole(s)):
            if e.value[0] != tensor:
                continue
            letters = Letters(())
            named = [next((x.value.name for x in children_first(i) if x.op == "axis"), "i") for i in e.args]
            return tuple(
                Axis("n", None) if extent is None else letters.fresh(Axis(name, extent))
                for name, extent in zip(named, shape, strict=True)
            )
    return tuple(Axis("n" if e is None else f"i{k}", e) for k, e in enumerate(shape))


def position(over: Sequence[Axis]) -> Expr:
    """The row-major position within reduced axes."""
    total: Expr = axis(over[0])
    for a in over[1:]:
        total = node("add", (node("mul", (total, size(a))), axis(a)))
    return total


def with_deltas(value: Expr, subscripts: Sequence[Expr], at: Sequence[Axis]) -> Expr:
    """``value`` times the Kronecker deltas that put it at its place."""
    result = value
    for s, p in zip(subscripts, at, strict=True):
        if not (s.op == "axis" and s.value == p):
            result = select(node("eq", (s, axis(p))), result, ZERO)
    return _conjoined(result)


def _conjoined(e: Expr) -> Expr:
    """Nested selections of the same value as one selection."""
    if e.op == "where" and e.args[1].op == "where" and is_number(e.args[2], 0) and is_number(e.args[1].args[2], 0):
        inner = _conjoined(e.args[1])
        return select(node("and", (inner.args[0], e.args[0])), inner.args[1], ZERO)
    return e


def summed_over(e: Expr, over: Sequence[Axis]) -> Expr:
    """The sum over axes, as it stands."""
    return reduce("sum", tuple(over), e) if over else e
