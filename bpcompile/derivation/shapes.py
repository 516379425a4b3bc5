"""The shape under each factor of a matrix formula."""

from __future__ import annotations

from collections.abc import Sequence

from bpcompile.derivation.context import Context
from bpcompile.derivation.formula import factor_of_product, laid_out
from bpcompile.derivation.notation import Below, Big, Group, Notation, Number, Operator, Row, Words, row
from bpcompile.derivation.numerals import axis_symbol
from bpcompile.derivation.products import factors
from bpcompile.nodes.expressions import Axis, Expr

Shape = tuple[int | None, int | None]


def shape_of(context: Context, e: Expr) -> Shape:
    """Rows and columns of a matrix tree; ``None`` is the batch."""
    match e.op:
        case "matrix":
            tensor = e.value[0]
            sides = dict(zip(e.value[2], context.view.shape(tensor.removesuffix(".bar")), strict=True))
            return sides.get("r", 1), sides.get("c", 1)
        case "transpose":
            rows, columns = shape_of(context, e.args[0])
            return columns, rows
        case "matmul":
            return shape_of(context, e.args[0])[0], shape_of(context, e.args[1])[1]
        case "ones":
            rows_, columns_ = (1 if a is None else a.extent for a in e.value)
            return rows_, columns_
        case "onehot":
            return e.value.extent, 1
        case "onehot_row":
            return 1, e.value.extent
        case "diagonal":
            rows, _ = shape_of(context, e.args[0])
            return rows, rows
        case "scaled" | "where":
            return shape_of(context, e.args[1])
    shapes = [shape_of(context, a) for a in e.args]
    return next((s for s in shapes if s != (1, 1)), (1, 1))


def _remark(shape: Shape) -> Notation:
    def side(extent: int | None) -> Notation:
        return Words("N") if extent is None else Number(str(extent))

    return Row((side(shape[0]), Operator("×"), side(shape[1])))


def annotated(context: Context, e: Expr, axes: Sequence[Axis], fixed: Sequence[Axis] = ()) -> Notation:
    """The formula with a brace and a shape under each matrix that is a factor."""
    if e.op == "matmul":
        return row(*[_braced(context, f) for f in factors(e, "matmul")])
    if e.op == "sum_of":
        inner = annotated(context, e.args[0], axes, fixed)
        return row(Big("∑", axis_symbol(e.value)), Group(inner) if e.args[0].op in ("add", "sub", "neg") else inner)
    if e.op == "hadamard":
        parts: list[Notation] = []
        for f in factors(e, "hadamard"):
            if parts:
                parts.append(Operator("⊙"))
            inner = annotated(context, f, axes, fixed) if f.op == "matmul" else _braced(context, f)
            parts.append(Group(inner) if f.op == "matmul" else inner)
        return row(*parts)
    if e.op == "scaled":
        inner = annotated(context, e.args[1], axes, fixed)
        inner = Group(inner) if e.args[1].op in ("add", "sub", "neg") else inner
        return row(factor_of_product(e.args[0], context.names), inner)
    return laid_out(e, context.names)


def _braced(context: Context, e: Expr) -> Notation:
    body = factor_of_product(e, context.names)
    if e.op in ("add", "sub", "neg", "scaled", "matmul", "hadamard") and not isinstance(body, Group):
        body = Group(body)
    return Below(body, _remark(shape_of(context, e)))

