"""Small builders that the sections share: equations with their left sides, lines with their reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from bpcompile.derivation.axes import places
from bpcompile.derivation.context import Context
from bpcompile.derivation.document import Claim, Equation, Inline, Line, Text
from bpcompile.derivation.formula import laid_out
from bpcompile.derivation.matrix import Layout, matrix_form
from bpcompile.derivation.names import Names
from bpcompile.derivation.notation import Notation, Number, Operator, Row, Words
from bpcompile.derivation.view import is_batch
from bpcompile.nodes.expressions import Axis, Expr, children_first


def text(*parts: Inline) -> Text:
    """Words and formulas in a line."""
    return parts


def symbol(context: Context, tensor: str, axes: Sequence[Axis] = (), bold: bool = False) -> Notation:
    """A tensor, or its element at these axes."""
    subscripts = tuple(laid_out(p, context.names) for p in places(axes))
    return context.names.symbol(tensor, subscripts, "bold" if bold else "italic")


def line(names: Names, tree: Expr, *reason: Inline, matrix: bool = False, relation: str = "=") -> Line:
    """A line that shows a tree."""
    return Line(laid_out(tree, names), tree, reason, matrix, relation)


def distinct(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Lines without those that repeat the one before."""
    kept: list[Line] = []
    for x in lines:
        if kept and (kept[-1].tree is x.tree or kept[-1].shown == x.shown):
            continue
        kept.append(x)
    return tuple(kept)


def matrix_equation(
    context: Context, tensor: str, tree: Expr, axes: Sequence[Axis], claim: Claim, fixed: Sequence[Axis] = ()
) -> Equation | None:
    """``tensor = matrix form of tree``; None where there is none, or where it says nothing new."""
    free = [a for a in axes if a not in fixed]
    if not free and not any(e.op == "reduce" for e in children_first(tree)):
        return None
    found, fixed = matrix_of(context, tree, axes, fixed)
    if found is None:
        return None
    left = matrix_symbol(context, tensor, axes, context.layout(fixed))
    shown = replace(line(context.names, found, matrix=True), fixed=tuple(fixed))
    return Equation(left, (shown,), claim, tuple(axes))


def matrix_symbol(context: Context, tensor: str, axes: Sequence[Axis], layout: Layout) -> Notation:
    """A tensor as a matrix, what is fixed as its subscripts."""
    fixed = [a for a in axes if a in layout.fixed]
    return symbol(context, tensor, fixed, bold=len(fixed) < len(axes))


def matrix_of(
    context: Context, tree: Expr, axes: Sequence[Axis], fixed: Sequence[Axis] = ()
) -> tuple[Expr | None, tuple[Axis, ...]]:
    """The matrix form over these axes, and the axes that stay subscripts.

    A tensor of three axes or more is a family of matrices: some of its axes are fixed, where that leaves a product.
    """
    found = matrix_form(tree, axes, context.layout(fixed))
    if found is not None or context.network is None or not _reads_at_axes(tree):
        return found, tuple(fixed)
    free = [a for a in axes if a not in fixed and not is_batch(a)]
    for some in (s for count in range(1, len(free)) for s in combinations(free, count)):
        more = (*fixed, *some)
        found = matrix_form(tree, axes, context.layout(more))
        if found is not None and any(_is_contraction(e) for e in children_first(found)):
            return found, more
    return None, tuple(fixed)


def _is_contraction(e: Expr) -> bool:
    """True for a product of matrices, not for a vector that is repeated or added up."""
    return e.op == "matmul" and not any(a.op == "ones" or (a.op == "transpose" and a.args[0].op == "ones") for a in e.args)


def _reads_at_axes(tree: Expr) -> bool:
    """Whether every subscript is an index as it is: no windows, no shifts, no data."""
    return all(i.op == "axis" for e in children_first(tree) if e.op == "load" for i in e.args)


def dimensions(shape: Sequence[int | None]) -> Notation:
    """A shape: 3 x 4."""
    items: list[Notation] = []
    for extent in shape:
        if items:
            items.append(Operator("×"))
        items.append(Words("N") if extent is None else Number(str(extent)))
    return Row(tuple(items)) if items else Number("1")
