"""Section 1: the network at hand. Its graph, its symbols with their shapes, its equations with indices and as matrices."""

from __future__ import annotations

from bpcompile.calculus.forward import LOSS
from bpcompile.derivation.context import Context
from bpcompile.derivation.document import Block, Box, Claim, Equation, Paragraph, Picture, Section, Table, Text
from bpcompile.derivation.folding import folded, folded_rows, piece, side_by_side, signature
from bpcompile.derivation.formula import laid_out
from bpcompile.derivation.notation import Operator, Symbol, row
from bpcompile.derivation.places import shown, tensor_axes
from bpcompile.derivation.view import whole
from bpcompile.derivation.writing import dimensions, distinct, line, matrix_equation, symbol, text
from bpcompile.nodes.expressions import Axis, children_first


def network_section(context: Context) -> Section:
    """The graph, the symbols and the forward equations."""
    network = context.network
    assert network is not None
    blocks: list[Block] = [Paragraph(_introduction(context)), picture(context), symbols(context)]
    blocks.append(Paragraph(("The forward pass computes, in this order" + _side_by_side(context) + ":",)))
    targets = [call.resolve[e.lhs.tensor] for call in network.calls for e in call.equations]
    equations = [e for t in (*dict.fromkeys(targets), LOSS) for e in forward_equations(context, t)]
    blocks += folded([piece(e) for e in equations], side_by_side)
    rules = _rules(context)
    if rules:
        words = "Before anything is differentiated, the compiler rewrites what overflows or cancels; each rule that fired:"
        blocks += [Paragraph((words,)), rules]
    return Section("network", "The network", tuple(blocks))


def _introduction(context: Context) -> Text:
    network = context.network
    assert network is not None
    count = network.parameter_count
    words = (
        f"The network “{network.name}” has {_plural(len(network.calls), 'layer call')} (the loss included) and"
        f" {_plural(count, 'parameter')}. "
    )
    if context.single:
        return text(
            words + f"One example is shown, with {context.options.layout} vectors; the batch comes in a section of its own."
            " The cost is ", Symbol(context.names.cost), "; its derivative by the pre-activation of a layer is the error ",
            Symbol("δ"), " of that layer.",
        )  # fmt: skip
    return text(
        words + "Its examples meet in the forward pass, so the batch index ", Symbol("n"), " (of ", Symbol("N"),
        " examples) stands in every formula. The cost is ", Symbol(context.names.cost), ".",
    )  # fmt: skip


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _side_by_side(context: Context) -> str:
    return ", with indices on the left and, where there is one, as matrices on the right" if context.options.student else ""


def symbols(context: Context) -> Table:
    """Every tensor of the user's: how it is printed, what it is, its shape, its name in the code."""
    rows: list[tuple[Text, ...]] = []
    roles = {"input": "input", "target": "target", "parameter": "parameter", "state": "state"}
    for name in context.own:
        t = context.tensor(name)
        what = roles.get(t.role, "cost" if name == LOSS else "computed")
        if name in context.names.errors:
            what = "computed; its error is "
            error: Text = (what, context.names.adjoint(name))
        else:
            error = (what,)
        shape = context.view.shape(name)
        extra = f", integers below {t.classes}" if t.classes else ""
        size = (dimensions(shape), extra) if shape else ("a number" + extra,)
        rows.append(((symbol(context, name, bold=bool(shape)),), error, size, (f"{name}",)))
    few = folded_rows(rows, differing=1)
    return Table((("symbol",), ("what",), ("shape",), ("name in the code",)), tuple(few))


def forward_equations(context: Context, target: str) -> list[Equation]:
    """The equation of one tensor as typed, with indices and as matrices."""
    s = context.forward.get(target)
    found: list[Equation] = []
    if s is None:
        return found
    for name in [n for n in context.forward if n.startswith(f"{target}.start")]:
        found += forward_equations(context, name)
    axes = context.view.axes(tensor_axes(context, target))
    tree = shown(context, whole(s))
    fixed = fixed_axes(context, axes)
    claim = Claim("value", target)
    lines = [line(context.names, tree)]
    final = tree
    fired = dict.fromkeys(
        r.rule for r in context.rewritings if r.tensor == target and r.rule != "value of the forward pass"
    )
    named = _named(context, target)
    if target in context.stable and (fired or named):
        final = shown(context, whole(context.stable[target]))
        lines.append(line(context.names, final, ", ".join(fired) if fired else "sums named"))
    beside = matrix_equation(context, target, final if not named else tree, axes, claim, fixed)
    index = distinct(lines)
    found.append(Equation(symbol(context, target, axes), index, claim, axes, f"forward.{target}", beside))
    for name in named:
        context.introduced[name] = None
        own = context.view.axes(context.stable[name].axes)
        value = shown(context, whole(context.stable[name]))
        found.append(
            Equation(symbol(context, name, own), (line(context.names, value),), Claim("value", name), own, f"forward.{name}")
        )
    return found


def _named(context: Context, target: str) -> list[str]:
    """The compiler's own tensors that the equation reads and that have a name of their own."""
    s = context.stable.get(target)
    if s is None:
        return []
    tensors = dict.fromkeys(e.value[0] for e in children_first(whole(s)) if e.op == "load")
    return [
        t
        for t in tensors
        if t in context.stable and t not in context.own and t not in context.view.definitions
        and t not in context.view.shifts and context.tensor(t).kind == "real" and t not in context.introduced
        and context.has_adjoint(t)
    ]  # fmt: skip


def fixed_axes(context: Context, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The axes that stay subscripts in a matrix form: time."""
    return tuple(a for a in axes if a.name in context.time)


def _rules(context: Context) -> Table | None:
    rows: dict[str, tuple[Text, ...]] = {}
    view = context.view
    for r in context.rewritings:
        if r.rule == "value of the forward pass":
            continue
        before, after = (laid_out(view.tree(e), context.names) for e in (r.before, r.after))
        formula = row(before, Operator("=", "relation"), after)
        if before == after:
            formula = row(before, Operator("⇒", "relation"), Symbol("the sum shifted by its maximum", "upright"))
        rows.setdefault(signature((r.rule, formula))[0], ((r.rule,), (formula,)))
    return Table((("rule",), ("what became of it",)), tuple(rows.values())) if rows else None


def picture(context: Context) -> Picture:
    """Inputs, layer calls and the cost, from left to right in the order in which they can be computed."""
    network = context.network
    assert network is not None
    column: dict[str, int] = dict.fromkeys((*network.inputs, *network.targets), 0)
    producers = {name: name for name in column}
    arrows: list[tuple[str, str, str]] = []
    for call in network.calls:
        sources = [call.resolve[local] for local in call.layer.inputs]
        for source in sources:
            arrow = (producers[source], call.name, source)
            if arrow not in arrows:
                arrows.append(arrow)
        column[call.name] = 1 + max((column[producers[s]] for s in sources), default=0)
        for local in call.layer.defined:
            producers[call.resolve[local]] = call.name
    column[LOSS] = 1 + max(column.values())
    arrows += [(producers[value.name], LOSS, value.name) for _, value in network.losses]
    last = column[LOSS]
    for name in network.targets:
        uses = [column[b] for a, b, _ in arrows if a == name]
        column[name] = max(0, min(uses, default=last) - 1)
    rows: dict[int, int] = {}
    boxes = []
    for name, at in column.items():
        place = rows.get(at, 0)
        rows[at] = place + 1
        kind = "leaf" if name in network.inputs or name in network.targets else "loss" if name == LOSS else "layer"
        boxes.append(Box(name, _label(context, name, kind), at, place, kind))
    return Picture(tuple(boxes), tuple(arrows))


def _label(context: Context, name: str, kind: str) -> tuple[str, ...]:
    network = context.network
    assert network is not None
    if kind == "loss":
        return (context.names.cost,)
    if kind == "leaf":
        shape = context.view.shape(name)
        return (name, " × ".join("N" if e is None else str(e) for e in shape)) if shape else (name,)
    call = next(c for c in network.calls if c.name == name)
    shapes = [context.view.shape(call.resolve[local]) for local in call.layer.parameters]
    sizes = ", ".join("×".join(map(str, shape)) for shape in shapes)
    return (name, call.layer.kind, sizes) if sizes else (name, call.layer.kind)
