"""Section 2: the chain rule that is used, and the local derivative of every equation with its Kronecker deltas."""

from __future__ import annotations

from bpcompile.calculus.derivatives import KINKS
from bpcompile.calculus.forward import LOSS
from bpcompile.derivation.context import Context
from bpcompile.derivation.document import Block, Bullets, Claim, Equation, Inline, Line, Paragraph, Section, Text
from bpcompile.derivation.folding import folded, folded_rows, piece
from bpcompile.derivation.formula import laid_out
from bpcompile.derivation.local import Local, local_derivatives
from bpcompile.derivation.matrix import jacobian_form
from bpcompile.derivation.notation import Big, Fraction, Group, Notation, Operator, Row, Script, Symbol, row
from bpcompile.derivation.view import whole
from bpcompile.derivation.writing import distinct, line, symbol, text
from bpcompile.nodes.expressions import children_first


def chain_section(context: Context) -> Section:
    """The one rule, then what each equation contributes to it."""
    blocks: list[Block] = [*rule_in_words(context)]
    if context.single and not context.time:
        blocks += layouts(context)
    targets = [t for t in context.stable if t != LOSS and t not in context.view.definitions]
    blocks += folded([piece(local_equation(context, x)) for t in targets for x in local_derivatives(context, t)])
    blocks += _kinks(context)
    paths = _several(context)
    if paths:
        words = "Some values are used more than once; their derivative is a sum over all the paths:"
        blocks += [Paragraph((words,)), Bullets(paths)]
    return Section("chain", "The chain rule and the local derivatives", tuple(blocks))


def rule_in_words(context: Context) -> list[Block]:
    """What is applied, again and again."""
    cost = Symbol(context.names.cost)
    total = row(
        Big("∑", Symbol("y")),
        Big("∑", Symbol("k")),
        _d(cost, Script(Symbol("y"), Symbol("k"))),
        _d(Script(Symbol("y"), Symbol("k")), Script(Symbol("u"), Symbol("j"))),
    )
    delta = Script(Symbol("δ"), Row((Symbol("j"), Symbol("k"))))
    return [
        Paragraph(
            text(
                "One rule is used throughout: the cost depends on ", Script(Symbol("u"), Symbol("j")),
                " through every element ", Script(Symbol("y"), Symbol("k")), " of every tensor whose equation reads ",
                Symbol("u"), ", and all these paths add up,",
            )
        ),
        Equation(_d(cost, Script(Symbol("u"), Symbol("j"))), (Line(total, None, ("chain rule",)),)),
        Paragraph(
            text(
                "In each equation the other values are held fixed. An equation that reads ", Symbol("u"), " at a place ",
                Symbol("g"), " has a derivative at that place alone: this is the Kronecker delta ", delta, ", which is 1 for ",
                row(Symbol("j"), Operator("=", "relation"), Symbol("k")), " and 0 otherwise. A sum over one of its indices"
                " leaves the term where the two are equal.",
            )
        ),
    ]


def layouts(context: Context) -> list[Block]:
    """How matrices of derivatives are laid out, and what that makes of the rule: where the transpose comes from."""
    numerator, columns = context.options.jacobian == "numerator", context.layout().columns
    above, below = ("y", "u") if numerator else ("u", "y")
    cost, y, u = Symbol(context.names.cost), Symbol("y", "bold"), Symbol("u", "bold")
    matrix: Notation = _d(y, u)
    if numerator == columns:
        matrix = Script(Group(matrix), None, Symbol("⊤", "upright"))
    parts = (matrix, _d(cost, y)) if columns else (_d(cost, y), matrix)
    reason = "the sum over the first index is a transpose" if numerator == columns else "no transpose in this layout"
    return [
        Paragraph(
            text(
                f"Matrices of derivatives are in {context.options.jacobian} layout: ", _d(y, u),
                " has a row for each element of ", Symbol(above, "bold"), " and a column for each of ", Symbol(below, "bold"),
                f". Vectors are {context.options.layout}s, and the derivative of the cost by a tensor has the shape of the"
                " tensor. So a path of the chain rule is, as matrices,",
            )
        ),
        Equation(_d(cost, u), (Line(row(*parts), None, (reason,)),)),
    ]  # fmt: skip


def _d(above: Notation, below: Notation) -> Fraction:
    return Fraction(row(Operator("∂", "plain"), above), row(Operator("∂", "plain"), below))


def local_equation(context: Context, local: Local) -> Equation:
    """One local derivative: with its deltas, contracted, in values of the forward pass."""
    names = context.names
    above = symbol(context, local.upper, local.upper_axes)
    below = symbol(context, local.lower, local.lower_axes)
    lines = []
    if context.options.student:
        placed = any(e.op == "eq" for e in children_first(local.with_deltas))
        lines.append(line(names, local.with_deltas, "each read at its own place" if placed else "differentiated"))
    lines.append(line(names, local.contracted, "the deltas contracted" if context.options.student else ""))
    lines.append(line(names, local.with_values, "a value of the forward pass"))
    kept = list(distinct(lines))
    if len(kept) == 1:
        kept[0] = line(names, kept[0].tree or local.contracted)
    kept += _jacobian(context, local)
    claim = Claim("local", local.upper, local.lower)
    axes = (*local.upper_axes, *local.lower_axes)
    label = f"local.{local.upper}.{local.lower}"
    return Equation(names.derivative(above, below), tuple(kept), claim, axes, label)


def _jacobian(context: Context, local: Local) -> list[Line]:
    """All derivatives of one vector by another as a matrix, in the layout that was asked for."""
    if context.time or not context.single:
        return []
    turned = context.options.jacobian == "denominator"
    found = jacobian_form(local.with_values, local.upper_axes, local.lower_axes, context.layout(), turned)
    if found is None:
        return []
    names = context.names
    above = symbol(context, local.upper, bold=bool(local.upper_axes))
    left = names.derivative(above, symbol(context, local.lower, bold=True))
    shown = row(left, Operator("=", "relation"), laid_out(found, names))
    return [Line(shown, found, (f"Jacobian, {context.options.jacobian} layout",), True, "⇒", turned)]


def _kinks(context: Context) -> list[Block]:
    """What is agreed where a function has no derivative, for the functions of this network."""
    typed = [e for s in context.forward.values() for e in children_first(whole(s))]
    used = {e.value[0] if e.op == "reduce" else e.op for e in typed}
    said = [words.replace(r"\sqrt{x}", "√x") for op, words in KINKS.items() if op in used and op != "sqrt"]
    if not said:
        return []
    return [Paragraph(("Where a function has a kink, this is agreed:",)), Bullets(tuple((f"{words}.",) for words in said))]


def _several(context: Context) -> tuple[Text, ...]:
    """Which values have several readers."""
    items: list[Text] = []
    for tensor in context.own:
        readers = [
            y
            for y in context.stable
            if y not in context.view.definitions and any(p.tensor == tensor for p in context.paths(y))
        ]
        if len(readers) > 1:
            parts: list[Inline] = [symbol(context, tensor), " is read by the equations of "]
            for k, y in enumerate(readers):
                parts += [", " if 0 < k < len(readers) - 1 else " and " if k else "", symbol(context, y)]
            items.append(tuple(parts))
    return tuple(cells[0] for cells in folded_rows([(item,) for item in items]))

