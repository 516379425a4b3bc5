"""Section 3, second part: the error of every tensor of the network at hand, and the gradient of every parameter."""

from __future__ import annotations

from typing import Final

from bpcompile.calculus.forward import LOSS
from bpcompile.derivation.context import Context
from bpcompile.derivation.document import NOTHING, Block, Claim, Details, Equation, Line, Paragraph, Section, Text
from bpcompile.derivation.folding import Piece, folded, piece
from bpcompile.derivation.formula import laid_out
from bpcompile.derivation.notation import Notation, Operator, broken, row, width
from bpcompile.derivation.numerals import axis_symbol
from bpcompile.derivation.places import shown
from bpcompile.derivation.sections.network import fixed_axes
from bpcompile.derivation.shapes import annotated
from bpcompile.derivation.steps import Adjoint, adjoint, inlined
from bpcompile.derivation.view import whole
from bpcompile.derivation.writing import distinct, line, matrix_of, matrix_symbol, symbol, text
from bpcompile.nodes.expressions import Axis, Expr, children_first


def layers_section(context: Context) -> Section:
    """From the cost backwards: every adjoint that the record has, step by step."""
    pieces: list[Piece] = []
    for tensor in context.collected:
        if tensor in context.view.definitions or tensor == LOSS:
            continue
        found = adjoint(context, tensor)
        if found is None or trivial(context, found):
            continue
        pieces.append(piece(*adjoint_blocks(context, found)))
    return Section("layers", "The equations of this network", tuple(folded(pieces)))


def trivial(context: Context, a: Adjoint) -> bool:
    """The adjoint of a summand of the cost is its weight: nothing to derive."""
    return a.simplified is not None and a.simplified.op == "const" and not context.has_adjoint(a.tensor)


def adjoint_blocks(context: Context, a: Adjoint) -> list[Block]:
    """One adjoint: its heading and its lines."""
    blocks: list[Block] = [*new_definitions(context, a)]
    equation = Equation(
        adjoint_symbol(context, a), lines_of(context, a), Claim("gradient", a.tensor), a.axes, f"gradient.{a.tensor}"
    )
    blocks.append(equation)
    return [Details(_title(context, a), tuple(blocks))]


def adjoint_symbol(context: Context, a: Adjoint) -> Notation:
    """The left side: the error or the derivative, at the tensor's own indices."""
    subscripts = tuple(axis_symbol(x) for x in a.axes)
    return context.names.adjoint(a.tensor, subscripts)


def _title(context: Context, a: Adjoint) -> Text:
    role = context.tensor(a.tensor).role
    if a.tensor in context.names.errors:
        return text("The error of layer ", context.names.layer(context.names.errors[a.tensor]), ", ",
                    context.names.adjoint(a.tensor), ":")  # fmt: skip
    what = {"parameter": "The gradient of ", "input": "The gradient of the input "}.get(role, "The derivative by ")
    return text(what, symbol(context, a.tensor), ":")


def lines_of(context: Context, a: Adjoint) -> tuple[Line, ...]:
    """The steps of one adjoint, at the level that was asked for."""
    names, student = context.names, context.options.student
    lines: list[Line] = []
    if a.tensor in names.errors:
        definition = names.derivative(names.symbol(LOSS), symbol(context, a.tensor, a.axes))
        lines.append(Line(definition, None, ("definition of the error",)))
    if student:
        lines.append(line(names, a.chain, _paths(a)))
        lines.append(line(names, a.inserted, "local derivatives inserted"))
    contracted = a.contracted if a.contracted is not None else a.inserted
    if student:
        lines.append(line(names, contracted, _contraction(a, contracted)))
    result = a.simplified if a.simplified is not None else contracted
    lines.append(line(names, result, "terms collected"))
    final = result
    if a.tensor in names.errors or not student:
        final = readable(context, inlined(context, result, a.tensor), result)
        lines.append(line(names, final, "with the derivatives above"))
    lines += matrix_line(context, a, final, fixed_axes(context, a.axes))
    left = adjoint_symbol(context, a)
    return distinct([x for x in lines if x.shown != left])


MOST_WIDE: Final = 56.0
"""How many ems a part of a formula may have that cannot be broken."""


def readable(context: Context, e: Expr, otherwise: Expr) -> Expr:
    """A formula with others put in, unless some part of it becomes too wide to be read."""
    parts = broken(laid_out(e, context.names), MOST_WIDE, MOST_WIDE)
    return e if all(width(p) <= MOST_WIDE for p in parts) else otherwise


def _paths(a: Adjoint) -> str:
    return "chain rule" if len(a.readers) < 2 else f"chain rule, over {len(a.readers)} paths"


def _contraction(a: Adjoint, contracted: Expr) -> str:
    before = sum(x.op == "eq" for x in children_first(a.inserted))
    after = sum(x.op == "eq" for x in children_first(contracted))
    if after == before:
        return "in order"
    sums = any(x.op == "reduce" for x in children_first(contracted))
    return "the deltas leave one sum" if sums else "the deltas pick one term"


def matrix_line(context: Context, a: Adjoint, tree: Expr, fixed: tuple[Axis, ...]) -> list[Line]:
    """The matrix form, with the shape under each factor; nothing where there is none."""
    if all(x in fixed for x in a.axes):
        return []
    found, fixed = matrix_of(context, tree, a.axes, fixed)
    if found is None:
        return []
    left = matrix_symbol(context, f"{a.tensor}.bar", a.axes, context.layout(fixed))
    laid = annotated(context, found, a.axes, fixed) if context.options.student else laid_out(found, context.names)
    reason = "summed over the first index: the transpose" if _turns_a_parameter(context, found) else "matrix form"
    return [Line(row(left, Operator("=", "relation"), laid), found, (reason,), True, "⇒", fixed=fixed)]


def _turns_a_parameter(context: Context, e: Expr) -> bool:
    """Whether a weight appears transposed."""
    turned = [x.args[0].value[0] for x in children_first(e) if x.op == "transpose" and x.args[0].op == "matrix"]
    return context.layout().columns and any(
        not t.endswith(".bar") and context.tensor(t).role == "parameter" for t in turned
    )


def new_definitions(context: Context, a: Adjoint) -> list[Block]:
    """Equations for the compiler's own tensors that appear in this adjoint for the first time."""
    blocks: list[Block] = []
    for e in children_first(a.simplified if a.simplified is not None else a.inserted):
        if e.op != "load" or e.value[0].endswith(".bar"):
            continue
        name = e.value[0]
        s = context.stable.get(name)
        if name in context.own or name in context.introduced or s is None:
            continue
        context.introduced[name] = None
        axes = context.view.axes(s.axes)
        tree = shown(context, whole(s))
        blocks.append(Paragraph(text("With ", symbol(context, name), " for")))
        drawn = any(x.op == "draw" for x in children_first(tree))
        claim = NOTHING if drawn else Claim("value", name)
        blocks.append(
            Equation(symbol(context, name, axes), (line(context.names, tree),), claim, axes, f"forward.{name}")
        )
    return blocks
