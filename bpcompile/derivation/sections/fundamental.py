"""Section 3, first part: the four equations, for a network of L layers with any activation and any cost."""

from __future__ import annotations

from typing import Final

from bpcompile.derivation.abstract import LAST, LAYER, abstract_context, at_layer
from bpcompile.derivation.axes import places
from bpcompile.derivation.context import Context
from bpcompile.derivation.document import Block, Boxed, Claim, Equation, Line, Paragraph, Section
from bpcompile.derivation.formula import laid_out
from bpcompile.derivation.matrix import matrix_form
from bpcompile.derivation.names import letters
from bpcompile.derivation.notation import Group, Notation, Operator, Symbol, row
from bpcompile.derivation.numerals import axis_symbol
from bpcompile.derivation.steps import Adjoint, adjoint, inlined
from bpcompile.derivation.view import whole
from bpcompile.derivation.writing import distinct, line, text
from bpcompile.nodes.expressions import Axis, Expr, axis, load, substitute


def fundamental_section(context: Context) -> Section:
    """The abstract network, its four equations step by step, and the four together."""
    general = abstract_context(context.options)
    names = general.names
    layer = axis_symbol(LAYER)
    blocks: list[Block] = [
        Paragraph(
            text(
                "Let a network have ", Symbol("L"), " layers, numbered ", layer, ", with any activation ",
                letters(general.options.activation), " and any cost ", Symbol(names.cost),
                " of the last layer’s output. This is a recurrence over the layer number; the same rule that"
                " differentiates every other network is applied to it.",
            )
        )
    ]
    for target in ("z", "a", "loss"):
        s = general.forward[target]
        left = names.symbol(target, tuple(laid_out(p, names) for p in places(s.axes)))
        if target == "loss":
            shown = row(Symbol(names.cost), Group(_bold(general, "a", LAST)))
            blocks.append(Equation(left, (Line(shown),)))
            continue
        claim = Claim("value", target)
        beside = _in_matrices(general, whole(s), s.axes, names.symbol(target, (layer,), "bold"), claim)
        blocks.append(Equation(left, (line(names, whole(s)),), claim, s.axes, f"abstract.{target}", beside, "abstract"))
    blocks.append(
        Paragraph(text("The error of unit ", Symbol("j"), " in layer ", layer, " is, by definition, ",
                       row(_error(general, axis(LAYER)), Operator("=", "relation"),
                           names.derivative(Symbol(names.cost), _unit(general))), "."))
    )
    found: list[Equation] = []
    for number, (title, tensor, last) in enumerate(_FOUR, 1):
        equation, result = _derived(general, tensor, last, f"BP{number}")
        blocks += [Paragraph(text(f"({number}) {title}.")), equation]
        found.append(result)
    blocks += [Paragraph(("The four equations together:",)), Boxed(tuple(found))]
    return Section("fundamental", "The four fundamental equations", tuple(blocks))


_FOUR: tuple[tuple[str, str, bool | None], ...] = (
    ("The error of the last layer", "z", True),
    ("The error of a layer from that of the next one", "z", False),
    ("The gradient of a bias", "b", None),
    ("The gradient of a weight", "W", None),
)


_WHY: Final[dict[str, str]] = {
    "column": "summed over the first index: the transpose",
    "row": "summed over the first index: a row times the matrix",
}
"""Where the transpose comes from, and where it goes."""


def _error(general: Context, layer: Expr) -> Notation:
    return general.names.adjoint("z", (laid_out(layer, general.names), Symbol("j")))


def _unit(general: Context) -> Notation:
    return general.names.symbol("z", (axis_symbol(LAYER), Symbol("j")))


def _bold(general: Context, tensor: str, layer: Expr) -> Notation:
    return general.names.symbol(tensor, (laid_out(layer, general.names),), "bold")


def _derived(general: Context, tensor: str, last: bool | None, label: str) -> tuple[Equation, Equation]:
    """One of the four, step by step; then its result alone."""
    a = adjoint(general, tensor)
    assert a is not None, "the abstract network has all four"
    assert a.contracted is not None
    assert a.simplified is not None
    names = general.names

    def change(e: Expr) -> Expr:
        return e if last is None else at_layer(e, last)

    axes = a.axes
    at = tuple(LAST if last and x == LAYER else axis(x) for x in axes)
    subscripts = tuple(laid_out(p, names) for p in at)
    lines: list[Line] = []
    if tensor == "z":
        definition = names.derivative(Symbol(names.cost), names.symbol("z", subscripts))
        lines.append(Line(definition, None, ("definition",)))
    lines.append(line(names, change(a.chain), "chain rule"))
    if general.options.student:
        lines.append(line(names, change(a.inserted), "local derivatives inserted"))
    lines.append(line(names, change(a.contracted), "the deltas pick one term"))
    result = change(inlined(general, a.simplified, tensor))
    if tensor == "z":
        if not last:
            lines.append(line(names, change(_through_the_next_layer(general, a.simplified)), "a is read by the next layer"))
        lines.append(line(names, result, "the cost reads the last layer" if last else "its local derivative is the weight"))
    left = names.adjoint(tensor, subscripts)
    claim = Claim("gradient", tensor)
    equation = Equation(left, distinct(lines), claim, axes, f"abstract.{label}")
    matrix = _matrix_result(general, a, result, at, label)
    shown = Line(
        row(matrix.left, Operator("=", "relation"), matrix.lines[0].shown), None, matrix.lines[0].reason, False, "⇒"
    )
    return Equation(left, (*equation.lines, shown), claim, axes, f"abstract.{label}", world="abstract"), matrix


def _through_the_next_layer(general: Context, e: Expr) -> Expr:
    """The derivative by the output of a layer as the chain rule gives it, before any local derivative is put in."""
    a = adjoint(general, "a")
    assert a is not None
    return substitute(e, {load("a.bar", places(a.axes)): a.chain})


def _matrix_result(general: Context, a: Adjoint, result: Expr, at: tuple[Expr, ...], label: str) -> Equation:
    names = general.names
    layout = general.layout((LAYER,))
    found = matrix_form(result, a.axes, layout)
    assert found is not None, "the four equations are products of matrices"
    left = names.adjoint(a.tensor, (laid_out(at[0], names),), "bold")
    reason = _WHY[general.options.layout] if label == "BP2" else "matrix form"
    claim = Claim("gradient", a.tensor)
    return Equation(left, (line(names, found, reason, matrix=True),), claim, a.axes, label, world="abstract")


def _in_matrices(
    general: Context, tree: Expr, axes: tuple[Axis, ...], left: Notation, claim: Claim
) -> Equation | None:
    found = matrix_form(tree, axes, general.layout((LAYER,)))
    return None if found is None else Equation(left, (line(general.names, found, matrix=True),), claim, axes, world="abstract")

