"""Letters for indices: renaming without capture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from bpcompile.nodes.expressions import Axis, Expr, axes_of, axis, children_first, node

_LETTERS: Final = "kmpqrsuvijotdh"


def renamed(e: Expr, names: Mapping[Axis, Axis]) -> Expr:
    """The expression with free and bound axes renamed, all at once."""
    if not names:
        return e
    done: dict[Expr, Expr] = {}
    for current in children_first(e):
        args = tuple(done[a] for a in current.args)
        value = current.value
        if current.op == "axis":
            value = names.get(value, value)
        elif current.op == "reduce":
            value = (value[0], tuple(names.get(a, a) for a in value[1]))
        elif current.op in ("ones", "onehot", "onehot_row", "sum_of"):
            value = names.get(value, value) if isinstance(value, Axis) else tuple(names.get(a, a) for a in value)
        done[current] = node(current.op, args, value)
    return done[e]


def bound_axes(e: Expr) -> list[Axis]:
    """The axes that reductions in an expression bind, in order."""
    found: dict[Axis, None] = {}
    for x in children_first(e):
        if x.op == "reduce":
            found.update(dict.fromkeys(x.value[1]))
    return list(found)


class Letters:
    """Gives out letters for indices, each once.

    Parameters
    ----------
    taken : iterable of str
        Names that are in use.
    avoid : iterable of str
        Letters that mean something else, such as tensors: taken only if there is no other.
    """

    def __init__(self, taken: Iterable[str], avoid: Iterable[str] = ()) -> None:
        self.taken = set(taken)
        self.avoid = tuple(avoid)

    def fresh(self, a: Axis, avoid: Iterable[str] = ()) -> Axis:
        """The axis under its own name, or under a letter that is free (and not in ``avoid``, where that is possible)."""
        base = a.name.rstrip("'0123456789") or a.name
        wanted = [c for c in _LETTERS if c not in (*self.avoid, *avoid)]
        candidates = [base, *wanted, *_LETTERS, *(base + "'" * k for k in range(1, 30))]
        name = next(c for c in candidates if c not in self.taken)
        self.taken.add(name)
        return Axis(name, a.extent)

    def all(self, axes: Iterable[Axis], avoid: Iterable[str] = ()) -> dict[Axis, Axis]:
        """New names for several axes; the batch keeps its own."""
        distinct = list(dict.fromkeys(axes))
        names = [*(a.name for a in distinct), *avoid]
        return {a: (a if a.name == "n" and a.extent is None else self.fresh(a, names)) for a in distinct}


def apart(e: Expr, taken: Iterable[Axis]) -> Expr:
    """The expression with bound axes renamed where a name in ``taken`` is the same."""
    names = {a.name for a in taken}
    letters = Letters(names | {a.name for a in bound_axes(e)} | _free_names(e))
    clashing = [a for a in bound_axes(e) if a.name in names]
    return renamed(e, {a: letters.fresh(a) for a in clashing})


def _free_names(e: Expr) -> set[str]:
    return {x.value.name for x in children_first(e) if x.op == "axis"}


def places(axes: Iterable[Axis]) -> tuple[Expr, ...]:
    """Axes as subscripts."""
    return tuple(axis(a) for a in axes)


def unshadowed(e: Expr, scope: frozenset[str] = frozenset()) -> Expr:
    """The expression with no index bound twice on the way down, and none bound that is free."""
    return _unshadowed(e, scope | _free_of(e), {})


def _unshadowed(e: Expr, scope: frozenset[str], memo: dict[tuple[Expr, frozenset[str]], Expr]) -> Expr:
    key = (e, scope)
    if key not in memo:
        inner = scope
        if e.op == "reduce":
            clashing = [a for a in e.value[1] if a.name in scope]
            letters = Letters(scope | _free_names(e) | {a.name for a in bound_axes(e)})
            own = {a: letters.fresh(a) for a in clashing}
            e = node("reduce", (renamed(e.args[0], own),), (e.value[0], tuple(own.get(a, a) for a in e.value[1])))
            inner = scope | {a.name for a in e.value[1]}
        args = tuple(_unshadowed(a, inner, memo) for a in e.args)
        memo[key] = e if args == e.args else node(e.op, args, e.value)
    return memo[key]


def _free_of(e: Expr) -> frozenset[str]:
    return frozenset(a.name for a in axes_of(e))
