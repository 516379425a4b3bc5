"""Section 2: the chain rule that is used, and the local derivative of every equation with its Kronecker deltas."""

from __future__ import annotations

from bpcompile.calculus.forward import LOSS
from bpcompile.derivation.context import Context
from bpcompile.derivation.document import Block, Bullets, Claim, Equation, Inline, Line, Paragraph, Section, Text
from bpcompile.derivation.local import Local, local_derivatives
from bpcompile.derivation.notation import Big, Fraction, Notation, Operator, Row, Script, Symbol, row
from bpcompile.derivation.writing import distinct, line, symbol, text


def chain_section(context: Context) -> Section:
    """The one rule, then what each equation contributes to it."""
    blocks: list[Block] = [*rule_in_words(context)]
    for target in context.stable:
        if target == LOSS or target in context.view.definitions:
            continue
        for local in local_derivatives(context, target):
            blocks.append(local_equation(context, local))
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


def _d(above: Notation, below: Notation) -> Fraction:
    return Fraction(row(Operator("∂", "plain"), above), row(Operator("∂", "plain"), below))


def local_equation(context: Context, local: Local) -> Equation:
    """One local derivative: with its deltas, contracted, in values of the forward pass."""
    names = context.names
    above = symbol(context, local.upper, local.upper_axes)
    below = symbol(context, local.lower, local.lower_axes)
    lines = []
    if context.options.student:
        lines.append(line(names, local.with_deltas, "each read at its own place"))
    lines.append(line(names, local.contracted, "the deltas contracted" if context.options.student else ""))
    lines.append(line(names, local.with_values, "a value of the forward pass"))
    kept = list(distinct(lines))
    if len(kept) == 1:
        kept[0] = line(names, kept[0].tree or local.contracted)
    claim = Claim("local", local.upper, local.lower)
    axes = (*local.upper_axes, *local.lower_axes)
    label = f"local.{local.upper}.{local.lower}"
    return Equation(names.derivative(above, below), tuple(kept), claim, axes, label)


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
    return tuple(items)

