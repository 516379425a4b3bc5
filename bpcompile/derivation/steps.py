"""The steps to an adjoint as trees: chain rule, local derivatives inserted, deltas contracted, sums collected.

Nothing is derived here a second time: the scalar derivatives, the places they go to and what they add up to are read from
the record; what is made here is how they are put one below the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bpcompile.calculus.algebra import ZERO, add, is_number, mul, select
from bpcompile.calculus.differentiate import adjoint_name
from bpcompile.calculus.gather import gather
from bpcompile.calculus.record import Contribution
from bpcompile.derivation.axes import Letters, apart, bound_axes, places, renamed, unshadowed
from bpcompile.derivation.context import Context
from bpcompile.derivation.places import (
    integers_simplified,
    shown,
    solved_subscripts,
    summed_over,
    tensor_axes,
    with_deltas,
)
from bpcompile.derivation.view import is_batch, tidied
from bpcompile.nodes.affine import affine, interval, simplify_integer
from bpcompile.nodes.expressions import (
    Axis,
    Expr,
    axes_of,
    axis,
    children_first,
    const,
    load,
    loads,
    node,
    substitute,
)
from bpcompile.nodes.guards import simplify_guards

LONGEST_INLINED: Final = 24
"""How many nodes the adjoint of an intermediate may have to be put in where it is read."""


@dataclass(frozen=True, slots=True)
class Adjoint:
    """How the adjoint of one tensor comes about; trees over ``axes``.

    Attributes
    ----------
    chain : Expr
        The chain rule: sums over the readers' elements of their adjoints times partial derivatives.
    inserted : Expr
        The local derivatives put in, each with its deltas.
    contracted, simplified : Expr or None
        As recorded; None where the contributions are scattered.
    readers : tuple of str
        The tensors whose equations read this one.
    """

    tensor: str
    axes: tuple[Axis, ...]
    chain: Expr
    inserted: Expr
    contracted: Expr | None
    simplified: Expr | None
    readers: tuple[str, ...]


def adjoint(context: Context, tensor: str) -> Adjoint | None:
    """The steps to the adjoint of a tensor; None where the record has none."""
    collected = context.collected.get(tensor)
    steps = context.contributions.get(tensor, [])
    if collected is None or not steps:
        return None
    show = context.view
    recorded = tuple(a.value for a in collected.axes)
    final = tensor_axes(context, tensor)
    letters = context.letters(a.name for a in final)
    domain = _letters_of_domain(context, steps, final, letters)
    inserted: Expr | None = None
    contracted: Expr | None = None
    for c in steps:
        part = _inserted(context, c, domain, final)
        inserted = part if inserted is None else node("add", (inserted, part))
        short = None if c.gather is None else _at(c.gather, recorded, final, domain)
        short = _partly_contracted(context, c, domain, final) if short is None else short
        contracted = short if contracted is None else add(contracted, short)
    chain, readers = _chain(context, tensor, final)
    assert inserted is not None
    assert contracted is not None
    scattered = any(c.gather is None for c in steps)
    simplified = contracted if scattered or collected.simplified is None else _at(collected.simplified, recorded, final, domain)
    return Adjoint(
        tensor,
        show.axes(final),
        unshadowed(chain),
        shown(context, inserted),
        shown(context, contracted),
        shown(context, simplified),
        readers,
    )


def _in_range(solved: Mapping[Axis, Expr]) -> list[Expr]:
    """What must hold so that a reader is there: the step after the last one reads nothing."""
    conditions: list[Expr] = []
    for a, value in solved.items():
        low, high = interval(value)
        if low < 0:
            conditions.append(node("le", (const(0), value)))
        if a.extent is not None and high >= a.extent:
            conditions.append(_less(value, a.extent))
    return conditions


def _less(value: Expr, extent: int) -> Expr:
    """``t + 1 < T`` as ``t < T - 1``."""
    form = affine(value)
    rest = simplify_integer(node("sub", (value, const(form.constant))))
    return node("lt", (rest, const(extent - form.constant)))


def _letters_of_domain(
    context: Context, steps: Sequence[Contribution], final: Sequence[Axis], letters: Letters
) -> dict[Axis, Axis]:
    """Letters for the axes that are summed; axes that are solved for get none of the good ones."""
    read: dict[Axis, None] = {}
    summed: dict[Axis, None] = {}
    everything: dict[Axis, None] = {}
    for c in steps:
        solved = solved_subscripts(context, c.access.args, final)
        everything.update(dict.fromkeys((*c.source.axes, *c.source.over)))
        read.update(dict.fromkeys(a for a in c.source.axes if a not in solved))
        summed.update(dict.fromkeys(a for a in c.source.over if a not in solved))
    bare = {i.value for c in steps for i in c.access.args if i.op == "axis"}
    names = letters.all(read, [a.name for a in summed if a not in bare])
    names |= letters.all(a for a in summed if a not in names)
    return {a: names[a] if a in names else Axis(f"{a.name}''", a.extent) for a in everything}


def _inserted(context: Context, c: Contribution, names: dict[Axis, Axis], final: Sequence[Axis]) -> Expr:
    domain = (*c.source.axes, *c.source.over)
    solved = solved_subscripts(context, c.access.args, final)
    swap = {axis(names[a]): value for a, value in solved.items()}
    at = tuple(simplify_integer(substitute(renamed(i, names), swap)) for i in c.access.args)
    value = renamed(apart(c.scatter.body, names.values()), names)
    value = integers_simplified(substitute(value, swap))
    for condition in reversed(_in_range(solved)):
        value = select(condition, value, ZERO)
    body = simplify_guards(with_deltas(value, at, final))
    return summed_over(body, [names[a] for a in domain if a not in solved and (not is_batch(a) or a not in final)])


def _partly_contracted(context: Context, c: Contribution, names: dict[Axis, Axis], final: Sequence[Axis]) -> Expr:
    """A scatter: the places that depend on data keep their deltas, the others are solved."""
    at = [renamed(i, names) for i in c.access.args]
    value = renamed(apart(c.scatter.body, names.values()), names)
    told = [(i, p) for i, p in zip(at, final, strict=True) if not loads(i)]
    asked = [(i, p) for i, p in zip(at, final, strict=True) if loads(i)]
    value = with_deltas(value, [i for i, _ in asked], [p for _, p in asked])
    domain = tuple(names[a] for a in (*c.source.axes, *c.source.over))
    found = gather(value, [i for i, _ in told], domain, [p for _, p in told])
    return _inserted(context, c, names, final) if found is None else found.expression


def _at(e: Expr, recorded: Sequence[Axis], final: Sequence[Axis], names: dict[Axis, Axis]) -> Expr:
    """A recorded expression over the tensor's own axes, its sums over the same letters as the steps before."""
    mapping = dict(zip(recorded, final, strict=True))
    letters = Letters(a.name for a in (*final, *axes_of(e)))
    for b in bound_axes(e):
        if b in mapping or is_batch(b):
            continue
        origin = next((a for a in names if a.extent == b.extent and a.name == b.name.rstrip("0123456789")), None)
        wanted = names[origin] if origin is not None else None
        mapping[b] = wanted if wanted is not None and wanted.name not in letters.taken else letters.fresh(b)
        letters.taken.add(mapping[b].name)
    return renamed(e, mapping)


def _chain(context: Context, tensor: str, final: tuple[Axis, ...]) -> tuple[Expr, tuple[str, ...]]:
    """Sum over readers: adjoint of the reader times its partial derivative by this tensor."""
    show = context.view
    own = show.axes(final)
    total: Expr | None = None
    readers: list[str] = []
    for y in context.stable:
        ways = [] if y in show.definitions else [p for p in context.paths(y) if p.tensor == tensor]
        standing: dict[tuple[tuple[tuple[Axis, Expr], ...], tuple[tuple[Axis, Expr], ...]], None] = {}
        for p in ways:
            solved = solved_subscripts(context, p.subscripts, final)
            standing.setdefault((tuple(solved.items()), _read_once(context, p.subscripts, final)))
        for at, once in standing:
            term = _chain_term(context, y, tensor, own, dict(at))
            for condition in reversed(_in_range(dict(at))):
                term = select(condition, term, ZERO)
            for place, where in once:
                term = select(node("eq", (axis(place), where)), term, ZERO)
            if is_number(term, 0):
                continue
            readers.append(y)
            total = term if total is None else node("add", (total, term))
    return (ZERO if total is None else total), tuple(readers)


def _read_once(context: Context, subscripts: Sequence[Expr], final: Sequence[Axis]) -> tuple[tuple[Axis, Expr], ...]:
    """Times at which alone a reader reads: the last one, for a cost of the last state."""
    return tuple((p, s) for s, p in zip(subscripts, final, strict=True) if p.name in context.time and not axes_of(s))


def _chain_term(context: Context, y: str, tensor: str, own: tuple[Axis, ...], solved: dict[Axis, Expr]) -> Expr:
    original = context.view.axes(tensor_axes(context, y))
    letters = context.letters(a.name for a in own)
    names = letters.all(a for a in original if a not in solved)
    at = tuple(solved[a] if a in solved else axis(names[a]) for a in original)
    seed = _adjoint_of_reader(context, y, at)
    if is_number(seed, 0):
        return ZERO
    partial = node("partial", (*at, *places(own)), (y, tensor, len(at)))
    summed = [names[a] for a in original if a not in solved and (a not in own or not is_batch(a))]
    return summed_over(mul(seed, partial), summed)


def _adjoint_of_reader(context: Context, tensor: str, at: tuple[Expr, ...]) -> Expr:
    """The adjoint of a reader: its symbol, or its value where that is a number."""
    found = context.collected.get(tensor)
    if found is None or found.simplified is None:
        return load(adjoint_name(tensor), at) if context.has_adjoint(tensor) else const(1)
    shown = context.view.tree(found.simplified)
    if shown.op == "const" and not context.has_adjoint(tensor):
        return shown
    return load(adjoint_name(tensor), at)


def inlined(context: Context, e: Expr, keep: str) -> Expr:
    """The adjoints of intermediates that have no name of their own put in, as long as that stays short."""
    result = e
    for x in [x for x in _adjoint_loads(e) if x.value[0] != adjoint_name(keep)]:
        known = short_adjoint(context, x.value[0].removesuffix(".bar"))
        if known is None or known.simplified is None:
            continue
        value = apart(known.simplified, [*axes_of(e), *bound_axes(e)])
        value = substitute(value, {axis(a): i for a, i in zip(known.axes, x.args, strict=True)})
        result = substitute(result, {x: value})
    return unshadowed(tidied(result))


def short_adjoint(context: Context, tensor: str) -> Adjoint | None:
    """The adjoint of an intermediate that is put in where it is read; None for errors and for long ones."""
    known = None if tensor in context.names.errors else adjoint(context, tensor)
    if known is None or known.simplified is None or known.simplified.op == "where":
        return None
    return known if len(children_first(known.simplified)) <= LONGEST_INLINED else None


def _adjoint_loads(e: Expr) -> list[Expr]:
    return [x for x in loads(e) if x.value[0].endswith(".bar")]
