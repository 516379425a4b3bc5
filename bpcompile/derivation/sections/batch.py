"""Section 5: the batch form. All examples at once, as matrices, and the average over the batch."""

from __future__ import annotations

from dataclasses import replace

from bpcompile.calculus.forward import LOSS
from bpcompile.derivation.context import Context, batch_context
from bpcompile.derivation.document import Block, Claim, Equation, Line, Paragraph, Section
from bpcompile.derivation.folding import folded, piece, side_by_side
from bpcompile.derivation.notation import Number, Operator, Symbol, row
from bpcompile.derivation.sections.layers import adjoint_symbol, matrix_line, trivial
from bpcompile.derivation.sections.network import fixed_axes, forward_equations
from bpcompile.derivation.steps import adjoint
from bpcompile.derivation.writing import distinct, line, text


def batch_section(context: Context) -> Section | None:
    """Forward and backward equations with the batch index; nothing where it is shown everywhere already."""
    if not context.single or context.calculus is None:
        return None
    batch = batch_context(context)
    columns = context.options.layout == "column"
    blocks: list[Block] = [
        Paragraph(
            text(
                "A batch has ", Symbol("N"), " examples, numbered ", Symbol("n"), ". As a matrix, its ",
                "columns" if columns else "rows", " are the examples, so that ", Symbol("x", "bold"), " is ",
                row(Symbol("D"), Operator("×"), Symbol("N")) if columns else row(Symbol("N"), Operator("×"), Symbol("D")),
                " for examples of ", Symbol("D"), " numbers; ", Symbol("1", "bold"),
                " is a column of ones. The cost is the mean over the batch. Its ",
                row(Number("1"), Operator("/", "plain"), Symbol("N")),
                " enters with the derivative of the loss and is part of every error below; the sum over the batch in the"
                " gradient of a parameter is therefore the average of the gradients of the single examples.",
            )
        )
    ]
    assert batch.network is not None
    targets = [call.resolve[e.lhs.tensor] for call in batch.network.calls for e in call.equations]
    forward = [e for t in (*dict.fromkeys(targets), LOSS) for e in forward_equations(batch, t)]
    blocks += folded([piece(_here(e)) for e in forward], side_by_side)
    blocks.append(Paragraph(("Backwards:",)))
    backward: list[Equation] = []
    for tensor in batch.collected:
        found = None if tensor in batch.view.definitions or tensor == LOSS else adjoint(batch, tensor)
        if found is None or trivial(batch, found):
            continue
        final = found.simplified if found.simplified is not None else found.inserted
        lines: list[Line] = [line(batch.names, final)]
        lines += matrix_line(batch, found, final, fixed_axes(batch, found.axes))
        left = adjoint_symbol(batch, found)
        kept = distinct([x for x in lines if x.shown != left])
        backward.append(Equation(left, kept, Claim("gradient", tensor), found.axes, f"batch.{tensor}", world="batch"))
    blocks += folded([piece(e) for e in backward], side_by_side)
    return Section("batch", "The whole batch at once", tuple(blocks))


def _here(block: Equation) -> Equation:
    """A forward equation of this section."""
    beside = None if block.beside is None else replace(block.beside, world="batch")
    return replace(block, world="batch", label=f"batch.{block.label}", beside=beside)
