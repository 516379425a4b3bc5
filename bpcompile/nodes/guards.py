"""Conditions on index values: folded where bounds decide them, and used to narrow bounds where they hold.

``where(t - 1 == -1, where(0 <= t - 1, a, b), c)`` becomes ``where(t == 0, b, c)``. Only integer comparisons that hold or fail
for every value of their axes are folded; conditions on data stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bpcompile.nodes.affine import Affine, Interval, affine, from_affine, interval, simplify_integer
from bpcompile.nodes.expressions import Axis, Expr, axis, children_first, const, node

Known = Mapping[Expr, Interval]
_INTEGER_COMPARISONS: Final = frozenset({"lt", "le", "eq", "ne"})
OPPOSITE: Final = {"lt": "le", "le": "lt", "eq": "ne", "ne": "eq"}
_INFINITE: Final = float("inf")


def conjuncts(condition: Expr) -> Iterator[Expr]:
    """The conditions that ``and`` joins."""
    if condition.op == "and":
        yield from conjuncts(condition.args[0])
        yield from conjuncts(condition.args[1])
    else:
        yield condition


def simplify_guards(e: Expr, known: Known | None = None) -> Expr:
    """Fold conditions on indices within an expression, given bounds of its axes.

    Parameters
    ----------
    e : Expr
        Any expression.
    known : mapping of Expr to (float, float), optional
        Bounds (inclusive) of integer nodes that are narrower than their own.
    """
    if not any(x.op in ("where", *_INTEGER_COMPARISONS) for x in children_first(e)):
        return e
    return _simplified(e, dict(known or {}), {})


def _simplified(e: Expr, known: dict[Expr, Interval], done: dict[tuple[Expr, int], Expr]) -> Expr:
    key = (e, id(known))
    if key in done:
        return done[key]
    if e.op == "where":
        condition = _condition(e.args[0], known, done)
        if condition.op == "const":
            result = _simplified(e.args[1 if condition.value else 2], known, done)
        else:
            taken = _narrowed(known, condition)
            other = _narrowed_by_failure(known, condition)
            a, b = _simplified(e.args[1], taken, {}), _simplified(e.args[2], other, {})
            result = _merged(condition, a, b)
    elif e.kind == "bool":
        result = _condition(e, known, done)
    elif e.kind == "int":
        result = simplify_integer(e, known)
    else:
        args = tuple(_simplified(a, known, done) for a in e.args)
        result = e if args == e.args else node(e.op, args, e.value)
    done[key] = result
    return result


def _merged(condition: Expr, a: Expr, b: Expr) -> Expr:
    """``where(c, where(d, x, 0), 0)`` as ``where(c and d, x, 0)``, and ``where(c, 0, x)`` as ``where(not c, x, 0)``."""
    if a is b:
        return a
    # Of reals both a comparison and its opposite fail at NaN.
    integers = all(x.kind == "int" for x in condition.args)
    if a.op == "const" and b.op != "const" and condition.op in OPPOSITE and integers:
        return _merged(negated(condition), b, a)
    # A condition that reads data stays inside the one that guards its reads.
    if a.op == "where" and a.args[2] is b and b.op == "const" and not reads_data(a.args[0]):
        return node("where", (node("and", (condition, a.args[0])), a.args[1], b))
    return node("where", (condition, a, b))


def _condition(e: Expr, known: dict[Expr, Interval], done: dict[tuple[Expr, int], Expr]) -> Expr:
    if e.op in _INTEGER_COMPARISONS and all(a.kind == "int" for a in e.args):
        return _comparison(e, known)
    if e.op == "and":
        left = _condition(e.args[0], known, done)
        if left.op == "const":
            return _condition(e.args[1], known, done) if left.value else const(False)
        right = _condition(e.args[1], _narrowed(known, left), {})
        if right.op == "const":
            return left if right.value else const(False)
        return node("and", (left, right))
    if e.op in ("or", "not") or e.op in _INTEGER_COMPARISONS:
        args = tuple(_simplified(a, known, done) for a in e.args)
        if e.op == "or" and any(a.op == "const" for a in args):
            fixed, other = (args[0], args[1]) if args[0].op == "const" else (args[1], args[0])
            return fixed if fixed.value else other
        if e.op == "not" and args[0].op == "const":
            return const(not args[0].value)
        return node(e.op, args, e.value)
    return e


def _comparison(e: Expr, known: Known) -> Expr:
    """Decide ``left op right`` by bounds, else write it as ``terms op constant``."""
    form = affine(simplify_integer(node("sub", e.args), known))
    low, high = interval(from_affine(form), known)
    verdict = {
        "lt": True if high < 0 else False if low >= 0 else None,
        "le": True if high <= 0 else False if low > 0 else None,
        "eq": True if low == high == 0 else False if low > 0 or high < 0 else None,
        "ne": False if low == high == 0 else True if low > 0 or high < 0 else None,
    }[e.op]
    if verdict is not None:
        return const(verdict)
    terms, bound = Affine(0, form.terms), -form.constant
    if len(form.terms) == 1 and form.terms[0][1] < 0:
        left, right = const(-bound), from_affine(Affine(0, ((form.terms[0][0], -form.terms[0][1]),)))
        return node(e.op, (right, left)) if e.op in ("eq", "ne") else node(e.op, (left, right))
    if len(form.terms) > 1:
        positive = Affine(max(form.constant, 0), tuple(t for t in form.terms if t[1] > 0))
        negative = Affine(max(-form.constant, 0), tuple((t, -c) for t, c in form.terms if c < 0))
        return node(e.op, (from_affine(positive), from_affine(negative)))
    return node(e.op, (from_affine(terms), const(bound)))


def _narrowed(known: dict[Expr, Interval], condition: Expr) -> dict[Expr, Interval]:
    """Bounds where a condition holds."""
    result = dict(known)
    for c in conjuncts(condition):
        _narrow(result, c)
    return result


def _narrowed_by_failure(known: dict[Expr, Interval], condition: Expr) -> dict[Expr, Interval]:
    """Bounds where a single comparison fails."""
    if condition.op not in OPPOSITE or any(a.kind != "int" for a in condition.args):
        return known
    result = dict(known)
    _narrow(result, negated(condition))
    return result


def reads_data(condition: Expr) -> bool:
    """True if the condition depends on a tensor, and not on indices alone."""
    return any(e.op == "load" for e in children_first(condition))


def negated(comparison: Expr) -> Expr:
    """The comparison of integers that holds where this one does not."""
    swapped = comparison.args[::-1] if comparison.op in ("lt", "le") else comparison.args
    return node(OPPOSITE[comparison.op], swapped)


def _narrow(known: dict[Expr, Interval], c: Expr) -> None:
    """Use ``sum of terms op constant`` to bound the term, or each term of a sum given the bounds of the others."""
    if c.op not in ("lt", "le", "eq", "ne") or any(a.kind != "int" for a in c.args):
        return
    form = affine(node("sub", c.args))
    slack = 1 if c.op == "lt" else 0
    if c.op == "ne":
        _narrow_unequal(known, form)
        return
    for term, factor in form.terms:
        rest_low, rest_high = interval(from_affine(form.without(term)), known)
        low, high = interval(term, known)
        bounds = [(-rest_low - slack, factor)]  # factor * term <= -rest - slack
        if c.op == "eq":
            bounds.append((rest_high, -factor))  # -factor * term <= rest
        for limit, f in bounds:
            if abs(limit) == _INFINITE:
                continue
            if f > 0:
                high = min(high, limit // f)
            else:
                low = max(low, -(limit // -f))
        if low <= high:
            known[term] = (low, high)


def _narrow_unequal(known: dict[Expr, Interval], form: Affine) -> None:
    if len(form.terms) != 1 or abs(form.terms[0][1]) != 1:
        return
    term, factor = form.terms[0]
    value = -form.constant * factor
    low, high = interval(term, known)
    if value == low:
        known[term] = (low + 1, high)
    elif value == high:
        known[term] = (low, high - 1)


def pinned(condition: Expr, axes: tuple[Axis, ...]) -> dict[Axis, int]:
    """Axes that a condition holds at one value only: ``t == 0``."""
    found: dict[Axis, int] = {}
    for c in conjuncts(condition):
        if c.op == "eq" and c.args[0].op == "axis" and c.args[1].op == "const" and c.args[0].value in axes:
            found.setdefault(c.args[0].value, int(c.args[1].value))
        known: dict[Expr, Interval] = {}
        _narrow(known, c)
        for a in axes:
            low, high = known.get(axis(a), (0, _INFINITE))
            if low == high:
                found.setdefault(a, int(low))
    return found


def bounds_of(e: Expr, conditions: Sequence[Expr]) -> Interval:
    """Bounds (inclusive) of an axis where conditions hold."""
    known: dict[Expr, Interval] = {}
    for c in conditions:
        _narrow(known, c)
    return known.get(e, interval(e))


def bounds_by(e: Expr, conditions: Sequence[Expr]) -> Interval:
    """Bounds (inclusive) of an integer expression where comparisons of the same form, but for a constant, hold."""
    form = affine(e)
    low, high = interval(e)
    opposite = {t: -c for t, c in form.terms}
    for c in conditions:
        if c.op not in ("lt", "le") or any(a.kind != "int" for a in c.args):
            continue
        slack = affine(node("sub", (c.args[1], c.args[0])))  # which is not negative, or positive
        least = int(c.op == "lt") - slack.constant
        if dict(slack.terms) == dict(form.terms):
            low = max(low, form.constant + least)
        elif dict(slack.terms) == opposite:
            high = min(high, form.constant - least)
    return low, high
