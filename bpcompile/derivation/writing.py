"""Small builders that the sections share: equations with their left sides, lines with their reasons."""

from __future__ import annotations

from collections.abc import Sequence

from bpcompile.derivation.axes import places
from bpcompile.derivation.context import Context
from bpcompile.derivation.document import Claim, Equation, Inline, Line, Text
from bpcompile.derivation.formula import laid_out
from bpcompile.derivation.matrix import Layout, matrix_form
from bpcompile.derivation.names import Names
from bpcompile.derivation.notation import Notation, Number, Operator, Row, Words
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
    layout = context.layout(fixed)
    free = [a for a in axes if a not in fixed]
    if not free and not any(e.op == "reduce" for e in children_first(tree)):
        return None
    found = matrix_form(tree, axes, layout)
    if found is None:
        return None
    left = matrix_symbol(context, tensor, axes, layout)
    return Equation(left, (line(context.names, found, matrix=True),), claim, tuple(axes))


def matrix_symbol(context: Context, tensor: str, axes: Sequence[Axis], layout: Layout) -> Notation:
    """A tensor as a matrix, what is fixed as its subscripts."""
    fixed = [a for a in axes if a in layout.fixed]
    return symbol(context, tensor, fixed, bold=len(fixed) < len(axes))


def matrix_of(context: Context, tree: Expr, axes: Sequence[Axis], fixed: Sequence[Axis] = ()) -> Expr | None:
    """The matrix form over these axes; None for numbers."""
    return matrix_form(tree, axes, context.layout(fixed)) if any(a not in fixed for a in axes) else None


def dimensions(shape: Sequence[int | None]) -> Notation:
    """A shape: 3 x 4."""
    items: list[Notation] = []
    for extent in shape:
        if items:
            items.append(Operator("×"))
        items.append(Words("N") if extent is None else Number(str(extent)))
    return Row(tuple(items)) if items else Number("1")
