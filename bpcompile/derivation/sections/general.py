"""Section 4: what the same rule gives for convolution, pooling, recurrence, lookup and products of computed values."""

from __future__ import annotations

from typing import Final

from bpcompile.derivation.axes import apart, bound_axes, unshadowed
from bpcompile.derivation.context import Context, with_inputs
from bpcompile.derivation.document import Block, Claim, Equation, Line, Paragraph, Section
from bpcompile.derivation.drawn import UNROLLED
from bpcompile.derivation.features import Feature, features
from bpcompile.derivation.folding import folded, piece
from bpcompile.derivation.formula import laid_out
from bpcompile.derivation.places import integers_simplified
from bpcompile.derivation.sections.layers import adjoint_symbol, matrix_line, new_definitions, readable
from bpcompile.derivation.sections.network import fixed_axes
from bpcompile.derivation.steps import adjoint, inlined
from bpcompile.derivation.view import tidied
from bpcompile.derivation.writing import distinct, line, symbol, text
from bpcompile.nodes.expressions import Axis, Expr, axes_of, axis, const, loads, rebuild, substitute
from bpcompile.nodes.guards import simplify_guards

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "convolution": (
        "Convolution. ",
        " is a sum over a window that moves with the output. Solving the subscript of the input for the output’s index turns"
        " the window round: the gradient of the input is a correlation of the errors with the flipped kernel, and that of the"
        " kernel is a correlation of the errors with the input.",
    ),
    "maximum": (
        "Maximum. ",
        " takes the largest of several values. Its derivative is 1 at the place of the first maximum, which the forward pass"
        " notes, and 0 elsewhere: the error goes to that place alone.",
    ),
    "statistic": (
        "Statistics. ",
        " is a mean of values that are also used themselves. Each value acts on the cost directly and through the mean; the"
        " sum over these paths is what makes the gradient of a normalization.",
    ),
    "product of values": (
        "Products of values. ",
        " is a product of two computed values, as in attention. The derivative by each factor has the other one, and the sum"
        " over the index that is left, so that one of them is transposed.",
    ),
    "lookup": (
        "Lookup. ",
        " reads a table at places that the data name. The error is added to the rows that were read, as often as they were"
        " read: this is the sum over a Kronecker delta between a row and a place.",
    ),
    "noise": (
        "Noise. ",
        " has a random draw as a factor or a summand. The backward pass uses the same draw.",
    ),
    "recurrence": (
        "Recurrence. ",
        " depends on itself at another time. A value is read at the next time, so its error is found from the error of the"
        " next time: backpropagation through time. Written as a recursion:",
    ),
}
"""What each feature is called, and what is said about it."""




def general_section(context: Context) -> Section | None:
    """A paragraph and the resulting equations for each feature; nothing for a network that has none."""
    if context.network is None:
        return None
    everything = with_inputs(context)
    said: dict[str, None] = {}
    pieces = [piece(*_blocks(everything, feature, said)) for feature in features(everything)]
    blocks = folded([p for p in pieces if p.blocks])
    if not blocks:
        return None
    words = "Nothing new is needed for the following; each is the one rule, applied to the equation as it stands."
    return Section("general", "Beyond dense layers, by the same rule", (Paragraph((words,)), *blocks))


def _blocks(context: Context, feature: Feature, said: dict[str, None]) -> list[Block]:
    head, words = _WORDS[feature.kind]
    first = f"{feature.kind} {feature.target}" not in said and feature.kind not in said
    said[feature.kind] = None
    target = symbol(context, feature.target)
    opening = text(head, target, words) if first else text(head, "So is ", target, ":")
    blocks: list[Block] = []
    for tensor in feature.sources:
        blocks += _result(context, tensor)
    if feature.kind == "recurrence":
        blocks += _unrolled(context, feature.target)
    return [Paragraph(opening), *blocks] if blocks else []


def _result(context: Context, tensor: str) -> list[Block]:
    """The adjoint as collected, and its matrix form."""
    a = adjoint(context, tensor)
    if a is None or a.simplified is None or tensor in context.view.definitions:
        return []
    final = readable(context, inlined(context, a.simplified, tensor), a.simplified)
    lines: list[Line] = [line(context.names, a.simplified), line(context.names, final, "with the derivatives above")]
    lines += matrix_line(context, a, final, fixed_axes(context, a.axes))
    equation = Equation(
        adjoint_symbol(context, a), distinct(lines), Claim("gradient", tensor), a.axes, f"general.{tensor}", world="inputs"
    )
    return [*new_definitions(context, a), equation]


def _unrolled(context: Context, tensor: str) -> list[Block]:
    """The recursion at the last three times, each put into the one before."""
    a = adjoint(context, tensor)
    if a is None or a.simplified is None:
        return []
    recursion = inlined(context, a.simplified, tensor)
    time = next((x for x in a.axes if x.name in context.time), None)
    own = f"{tensor}.bar"
    others = [x for x in loads(recursion) if x.value[0].endswith(".bar") and x.value[0] != own]
    if time is None or time.extent is None or any(_moves(x, time) for x in others):
        return []
    order = _times(recursion, own, a.axes.index(time), time)
    blocks: list[Block] = []
    known: dict[int, Expr] = {}
    for t in order:
        here = at_time(recursion, time, t)
        whole = _put_in(here, own, a.axes, time, known)
        known[t] = whole
        rest = tuple(x for x in a.axes if x is not time)
        left = context.names.adjoint(tensor, tuple(laid_out(const(t) if x is time else axis(x), context.names) for x in a.axes))
        lines = distinct([line(context.names, here), line(context.names, whole, "the step before put in")])
        blocks.append(
            Equation(left, lines, Claim("gradient", tensor), rest, f"unrolled.{tensor}.{t}", world="inputs", at=((time, t),))
        )
    return [Paragraph((f"Unrolled for {len(order)} steps, from the end of the recursion:",)), *blocks] if blocks else []


def _moves(e: Expr, time: Axis) -> bool:
    return any(x.op == "axis" and x.value == time for i in e.args for x in (i, *i.args))


def _times(recursion: Expr, own: str, place: int, time: Axis) -> list[int]:
    """The times in the order of the backward pass: down where an error is found from the next time."""
    assert time.extent is not None
    forward = any(x.value[0] == own and x.args[place].op == "add" for x in loads(recursion))
    times = list(range(time.extent))
    return (times[::-1] if forward else times)[:UNROLLED]


def at_time(e: Expr, time: Axis, t: int) -> Expr:
    """The formula at one time, conditions decided."""
    fixed = integers_simplified(substitute(e, {axis(time): const(t)}))
    return tidied(simplify_guards(rebuild(fixed, _decided)))


def _decided(e: Expr) -> Expr | None:
    """Comparisons of numbers, selections by them, and sums of nothing."""
    if e.op in ("lt", "le", "eq", "ne") and all(a.op == "const" for a in e.args):
        a, b = (x.value for x in e.args)
        return const({"lt": a < b, "le": a <= b, "eq": a == b, "ne": a != b}[e.op])
    if e.op == "where" and e.args[0].op == "const":
        return e.args[1] if e.args[0].value else e.args[2]
    if e.op == "reduce" and e.args[0] is const(0):
        return const(0)
    if e.op == "add" and const(0) in e.args:
        return e.args[0] if e.args[1] is const(0) else e.args[1]
    if e.op == "mul" and const(0) in e.args:
        return const(0)
    return None


def _put_in(e: Expr, own: str, axes: tuple[Axis, ...], time: Axis, known: dict[int, Expr]) -> Expr:
    """The error of the next time replaced by what was found for it."""
    result = e
    place = axes.index(time)
    for x in loads(e):
        if x.value[0] != own or x.args[place].op != "const" or x.args[place].value not in known:
            continue
        value = apart(known[x.args[place].value], [*axes_of(e), *bound_axes(e)])
        rest = {axis(a): i for a, i in zip(axes, x.args, strict=True) if a is not time}
        result = substitute(result, {x: substitute(value, rest)})
    return unshadowed(result)
