"""Make an expression an operand of a contraction: a load that stays inside its tensor.

What is not such a load becomes a tensor of its own. A window, ``where(0 <= h + p - 1, x[h + p - 1], 0)``, depends on
``h`` and ``p`` through ``h + p`` only: its tensor runs over the values of that sum, which is a copy of ``x`` with a halo
of zeros, and not one value for each pair. ``x[(t + k) % 64]`` is a copy whose end goes on with the beginning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bpcompile.nodes.access import extent, fresh_axis, inside, is_affine
from bpcompile.nodes.affine import Affine, affine, from_affine, interval
from bpcompile.nodes.expressions import COMPARISONS, Axis, Expr, axes_of, axis, load, loads, node
from bpcompile.nodes.statements import Origin, Statement, Tensor

Terms = tuple[tuple[Expr, int], ...]
DIVISIONS: Final = ("floordiv", "mod")


@dataclass(eq=False)
class NewTensors:
    """Tensors and statements that a pass adds."""

    tensors: dict[str, Tensor]
    statements: list[Statement] = field(default_factory=list)

    def name(self, wanted: str) -> str:
        """A name that is not taken."""
        name, number = wanted, 1
        while name in self.tensors:
            name, number = f"{wanted}_{number}", number + 1
        return name

    def define(
        self, wanted: str, axes: tuple[Axis, ...], body: Expr, origin: Origin,
        reduce: str | None = None, over: tuple[Axis, ...] = (),
    ) -> str:  # fmt: skip
        """Add a tensor over some axes, the batch first, and the statement that computes it."""
        ordered = tuple(sorted(axes, key=lambda a: a.extent is not None))
        name = self.name(wanted)
        self.tensors[name] = Tensor(name, tuple(a.extent for a in ordered), label=wanted)
        subscripts = tuple(axis(a) for a in ordered)
        self.statements.append(Statement(name, subscripts, ordered, body, reduce, over, False, origin))
        return name


def is_plain(e: Expr, tensors: dict[str, Tensor]) -> bool:
    """True if the expression is an operand already."""
    return e.op == "load" and e.kind == "real" and is_affine(e.args) and inside(e.args, tensors[e.value[0]].shape)


def operand_axes(e: Expr, fixed: Collection[Axis]) -> dict[Axis, tuple[Expr, Axis, int]] | None:
    """How a tensor that holds the expression would be indexed.

    For each axis of the expression: the affine form it is used through, the axis of the new tensor, and the least value
    of the form. Nothing if some axes are used through several forms. A form may consist of others: ``6*(h - p) + (w - q)`` is
    the place of ``[h - p, w - q]`` in a flat tensor.
    """
    forms: dict[Terms, None] = {}
    for part in _integer_parts(e):
        form = affine(part)
        if any(axes_of(t.args[1] if t.op in DIVISIONS else t) for t, _ in form.terms if t.op not in ("axis", "size", "load")):
            return None
        own, _ = _direction(form, fixed)
        if own:
            forms[own] = None
    simple = _simple_forms(forms)
    if simple is None:
        return None
    found: dict[Axis, tuple[Expr, Axis, int]] = {}
    taken = {a.name for a in axes_of(e)}
    for form_terms in simple:
        combined = from_affine(Affine(0, form_terms))
        low, high = interval(combined)
        axes = [t.value for t, _ in form_terms]
        if len(axes) == 1 and form_terms[0][1] == 1:
            new = axes[0]
        elif high == float("inf"):
            return None
        else:
            new = fresh_axis(Axis(axes[0].name, int(high - low) + 1), taken)
            taken.add(new.name)
        found.update(dict.fromkeys(axes, (combined, new, int(low))))
    return found


def _simple_forms(forms: Iterable[Terms]) -> list[Terms] | None:
    """Forms without an axis in common of which all are made; nothing if there are none."""
    simple: list[Terms] = []
    for form in sorted(forms, key=lambda terms: (len(terms), sum(abs(c) for _, c in terms))):
        parts = _parts(form, simple)
        if parts is None:
            return None
        multiples, left = parts
        simple += _by_factor(left) if multiples else [form]
    return simple


def _by_factor(terms: Terms) -> Iterator[Terms]:
    """Forms of terms that have the same factor but for the sign: ``36*o + w - q`` is made of ``o`` and ``w - q``."""
    for factor in dict.fromkeys(abs(c) for _, c in terms):
        form = Affine(0, tuple((t, c // factor) for t, c in terms if abs(c) == factor))
        yield _direction(form, ())[0]


def _parts(form: Terms, simple: Iterable[Terms]) -> tuple[list[tuple[Terms, int]], Terms] | None:
    """A form as multiples of simple ones, and the terms that are left; nothing if one of those has an axis in common only."""
    left = dict(form)
    multiples: list[tuple[Terms, int]] = []
    for other in simple:
        shared = [(left.pop(t), c) for t, c in other if t in left]
        if not shared:
            continue
        factor = shared[0][0] // shared[0][1]
        if len(shared) < len(other) or any(c * factor != own for own, c in shared):
            return None
        multiples.append((other, factor))
    return multiples, tuple(left.items())


def _direction(form: Affine, fixed: Collection[Axis]) -> tuple[Terms, int]:
    """The part of a form that runs over axes, the longest axis forwards; and its sign."""
    own = sorted(((t, c) for t, c in form.terms if t.op == "axis" and t.value not in fixed),
                 key=lambda term: (-extent(term[0].value), str(term[0].value.name)))  # fmt: skip
    sign = -1 if own and own[0][1] < 0 else 1
    return tuple((t, sign * c) for t, c in own), sign


def _integer_parts(e: Expr) -> Iterator[Expr]:
    """The outermost integer expressions: subscripts, differences that comparisons compare with zero, and what is divided."""
    stack, seen = [e], {e}
    while stack:
        current = stack.pop()
        if current.op in COMPARISONS and all(a.kind == "int" for a in current.args):
            current = node("sub", current.args)
        if current.kind == "int" and current.op != "load":
            yield current
            terms = [t for t, _ in affine(current).terms]
            stack_next = (*(t for t in terms if t.op == "load"), *(t.args[0] for t in terms if t.op in DIVISIONS))
        else:
            stack_next = current.args
        for a in reversed(stack_next):
            if a not in seen:
                seen.add(a)
                stack.append(a)


def operand_volume(e: Expr, fixed: Collection[Axis]) -> tuple[Axis, ...] | None:
    """The axes of the tensor that would hold the expression."""
    found = operand_axes(e, fixed)
    return None if found is None else tuple(dict.fromkeys(new for _, new, _ in found.values()))


def as_operand(e: Expr, fixed: Collection[Axis], made: NewTensors, origin: Origin) -> Expr | None:
    """A load of the expression's value; adds a tensor unless the expression is an operand already."""
    if is_plain(e, made.tensors):
        return e
    found = operand_axes(e, fixed)
    if found is None or not found:
        return None
    values: dict[Terms, tuple[Axis, int]] = {}
    for combined, new, low in found.values():
        values[_direction(affine(combined), fixed)[0]] = (new, low)
    body = _over_new_axes(e, fixed, values)
    in_order = [a for x in loads(e) for subscript in x.args for a in axes_of(subscript)]
    axes = tuple(dict.fromkeys(found[a][1] for a in (*in_order, *found) if a in found))
    window = any(affine(combined).terms != ((axis(new), 1),) for combined, new, _ in found.values())
    base = next((x.value[0] for x in loads(e) if x.kind == "real"), "mask")
    name = made.define(f"{base}_{'padded' if window else 'factor'}", axes, body, origin)
    subscripts = {}
    for combined, new, low in found.values():
        subscripts[new] = from_affine(Affine(-low, affine(combined).terms))
    return load(name, [subscripts[e_axis.value] for e_axis in made.statements[-1].subscripts])


def _over_new_axes(
    e: Expr, fixed: Collection[Axis], values: dict[Terms, tuple[Axis, int]]
) -> Expr:
    """The expression with each affine form of the old axes written in the new ones."""
    memo: dict[Expr, Expr] = {}

    def go(x: Expr) -> Expr:
        found = memo.get(x)
        if found is None:
            found = memo[x] = change(x)
        return found

    def change(x: Expr) -> Expr:
        if x.op in COMPARISONS and all(a.kind == "int" for a in x.args):
            form = affine(go(node("sub", x.args)))
            above = Affine(max(form.constant, 0), tuple((t, c) for t, c in form.terms if c > 0))
            below = Affine(max(-form.constant, 0), tuple((t, -c) for t, c in form.terms if c < 0))
            return node(x.op, (from_affine(above), from_affine(below)))
        if x.op in DIVISIONS:
            return node(x.op, (go(x.args[0]), x.args[1]))
        if x.kind == "int" and x.op != "load":
            form = affine(x)
            own, sign = _direction(form, fixed)
            bound = {t for t, _ in own}
            rest = tuple((go(t) if t.op in ("load", *DIVISIONS) else t, c) for t, c in form.terms if t not in bound)
            parts = _parts(own, values)
            assert parts is not None, f"{x} is not made of the forms of its expression"
            multiples, left = parts
            assert not left, f"{x} is not made of the forms of its expression"
            places = [(*values[simple], sign * factor) for simple, factor in multiples]
            constant = form.constant + sum(factor * low for _, low, factor in places)
            return from_affine(Affine(constant, (*((axis(new), factor) for new, _, factor in places), *rest)))
        args = tuple(go(a) for a in x.args)
        return x if args == x.args else node(x.op, args, x.value)

    return go(e)
