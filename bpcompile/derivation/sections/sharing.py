"""Section 6: sharing. What the backward pass reads again instead of computing it, and what that saves, in numbers."""

from __future__ import annotations

from bpcompile.derivation.context import Context
from bpcompile.derivation.document import Block, Inline, Paragraph, Section, Table, Text
from bpcompile.derivation.folding import folded_rows
from bpcompile.derivation.notation import Number
from bpcompile.derivation.writing import symbol, text
from bpcompile.nodes.expressions import walk_nodes
from bpcompile.nodes.statements import Statement


def sharing_section(context: Context) -> Section | None:
    """The dynamic programming of backpropagation: values that are computed once and read again, and the counts."""
    from bpcompile.driver import compile as compiled

    network = context.network
    if network is None:
        return None
    cost = compiled(network, backend="numpy", dtype="float64").cost
    rows = _read_again(context)
    blocks: list[Block] = [
        Paragraph(
            text(
                "Backpropagation is dynamic programming: each error is computed once and read by everything before it, and"
                " the derivatives are written with values that the forward pass has. These values are used again:",
            )
        ),
        Table((("value",), ("computed for",), ("read by",)), tuple(rows)),
        Paragraph(("In scalar operations for one example:",)),
    ]
    shared = cost.forward_ops + cost.backward_ops
    numeric = 2.0 * network.parameter_count * cost.forward_ops
    counts: list[tuple[str, float]] = [
        ("forward pass", cost.forward_ops),
        ("backward pass, values shared", cost.backward_ops),
        ("both passes, values shared", shared),
        ("both passes, nothing shared between statements", cost.unshared_ops),
        ("each parameter tensor differentiated on its own", cost.separate_ops),
        (f"numeric differentiation: two forward passes for each of {network.parameter_count:,} parameters", numeric),
    ]
    table = Table(
        (("way",), ("operations",), ("times the shared ones",)),
        tuple((text(name), _number(f"{value:,.0f}"), _number(f"{value / shared:,.2f}")) for name, value in counts if value),
        right=(1, 2),
    )
    blocks.append(table)
    ratio = cost.backward_ops / cost.forward_ops if cost.forward_ops else 0.0
    blocks.append(
        Paragraph((f"The backward pass costs {ratio:.1f} times the forward pass, however many parameters there are.",))
    )
    return Section("sharing", "What is shared, in numbers", tuple(blocks))


def _number(value: str) -> Text:
    return (Number(value.replace(",", "\u2009")),)


def _read_again(context: Context) -> list[tuple[Text, ...]]:
    """Forward values that the backward pass reads, and adjoints with several readers."""
    statements = list(context.program.statements())
    writers = {s.target: s for s in statements}
    read_by: dict[str, list[Statement]] = {}
    for r in statements:
        for tensor in dict.fromkeys(e.value[0] for e in walk_nodes((r.body, *r.subscripts)) if e.op == "load"):
            if tensor != r.target and r.target not in context.view.definitions:
                read_by.setdefault(tensor, []).append(r)
    rows: list[tuple[Text, ...]] = []
    for name, s in writers.items():
        if name in context.view.definitions or context.tensor(name).kind != "real":
            continue
        readers = read_by.get(name, [])
        backward = [r for r in readers if r.origin.phase == "backward"]
        again = backward if s.origin.phase == "forward" else readers if len(readers) > 1 else []
        if not again:
            continue
        parts: list[Inline] = []
        for k, r in enumerate(again):
            parts += [", " if k else "", symbol(context, r.target)]
        phase = "the forward pass" if s.origin.phase == "forward" else "the backward pass"
        rows.append(((symbol(context, name),), (phase,), tuple(parts)))
    return folded_rows(rows)

