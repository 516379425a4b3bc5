"""Sums, evaluated in little memory: each factor over its own indices, a Kronecker delta by its one term.

The value is that of the sum as it is printed. Only the order of work differs: a product is not spread over all indices of
its sum, and a sum over an index that a delta ties to others has one term.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.derivation.products import is_zero
from bpcompile.errors import BPCompileError
from bpcompile.nodes.affine import Affine, affine, from_affine
from bpcompile.nodes.expressions import Axis, Expr, axes_of, axis, const, node, size, substitute
from bpcompile.nodes.guards import conjuncts

Array = NDArray[Any]
Env = Mapping[Axis, Any]


PIECES: Final = 32
"""A sum that is too large is evaluated in so many pieces."""


SMALL: Final = 20_000
"""A sum of so few terms is evaluated as it stands; for a larger one an order of products is sought."""


class TooManyTerms(BPCompileError):
    """A formula has more terms than its evaluator may take."""


@dataclass(frozen=True)
class Factor:
    """What is multiplied, and the conditions under which it stands: elsewhere it may be no number."""

    value: Expr
    guards: tuple[Expr, ...] = ()


@dataclass(frozen=True)
class Term:
    """A sum over ``over`` of the product of ``factors`` where all conditions hold."""

    over: tuple[Axis, ...]
    factors: tuple[Factor, ...]
    conditions: tuple[Expr, ...] = ()


@lru_cache(maxsize=8192)
def terms(body: Expr, over: tuple[Axis, ...]) -> tuple[Term, ...]:
    """A sum taken apart: sums of sums, products into factors, deltas solved."""
    if body.op in ("add", "sub"):
        right = body.args[1] if body.op == "add" else node("neg", (body.args[1],))
        return (*terms(body.args[0], over), *terms(right, over))
    if body.op == "neg" and body.args[0].op in ("add", "sub", "neg"):
        inner = body.args[0]
        if inner.op == "neg":
            return terms(inner.args[0], over)
        first, second = (node("neg", (a,)) for a in inner.args)
        return (*terms(first, over), *terms(second if inner.op == "add" else inner.args[1], over))
    return (_solved(_flat(body, Term(over, ()), ())),)


def _flat(e: Expr, term: Term, guards: tuple[Expr, ...]) -> Term:
    """The term with the factors of ``e`` added."""
    if e.op == "mul":
        return _flat(e.args[1], _flat(e.args[0], term, guards), guards)
    if e.op == "neg":
        return _flat(e.args[0], _flat(const(-1), term, guards), guards)
    if e.op == "div":
        below = node("div", (const(1), e.args[1]))
        return _flat(e.args[0], Term(term.over, (*term.factors, Factor(below, guards)), term.conditions), guards)
    if e.op == "where" and is_zero(e.args[2]):
        asked = tuple(conjuncts(e.args[0]))
        return _flat(e.args[1], Term(term.over, term.factors, (*term.conditions, *asked)), (*guards, *asked))
    if e.op == "reduce" and e.value[0] == "sum" and e.args[0].op in ("mul", "neg", "div", "where", "load"):
        return _flat(e.args[0], Term((*term.over, *e.value[1]), term.factors, term.conditions), guards)
    return Term(term.over, (*term.factors, Factor(e, guards)), term.conditions)


def _solved(term: Term) -> Term:
    """The term without the summed indices that an equation between subscripts determines."""
    for k, condition in enumerate(term.conditions):
        found = _solution(condition, term.over)
        if found is None:
            continue
        a, value = found
        inside = (node("le", (const(0), value)), node("lt", (value, size(a))))
        put = {axis(a): value}
        rest = [c for m, c in enumerate(term.conditions) if m != k]
        conditions = (*(substitute(c, put) for c in rest), *inside)
        factors = tuple(
            Factor(substitute(f.value, put), (*(substitute(c, put) for c in f.guards if c is not condition), *inside))
            for f in term.factors
        )
        return _solved(Term(tuple(x for x in term.over if x != a), factors, conditions))
    return term


def _solution(condition: Expr, over: tuple[Axis, ...]) -> tuple[Axis, Expr] | None:
    """A summed index and its value, where an equation determines one."""
    if condition.op != "eq" or any(a.kind != "int" for a in condition.args):
        return None
    form = affine(node("sub", condition.args))
    for e, coefficient in sorted(form.terms, key=lambda t: -(t[0].value.extent or 0) if t[0].op == "axis" else 0):
        if e.op != "axis" or e.value not in over or abs(coefficient) != 1:
            continue
        rest = form.without(e)
        if any(e.value in axes_of(t) for t, _ in rest.terms):
            continue
        turned = Affine(-coefficient * rest.constant, tuple((t, -coefficient * c) for t, c in rest.terms))
        return e.value, from_affine(turned)
    return None


def summed(
    body: Expr, over: tuple[Axis, ...], env: Env, value: Callable[[Expr, Env], Any], extent: Callable[[Axis], int], limit: int
) -> Any:
    """The sum of ``body`` over ``over`` in a grid.

    Parameters
    ----------
    body : Expr
        What is summed.
    over : tuple of Axis
        The summed indices.
    env : mapping of Axis to array
        The values of the free indices, shaped to broadcast.
    value : callable
        The value of an expression in a grid.
    extent : callable
        How many values an index has.
    limit : int
        How many terms there may be.
    """
    total: Any = 0.0
    for term in terms(body, over):
        for a in term.over:
            if extent(a) > limit:
                raise TooManyTerms(f"A sum over {extent(a):,} values of an index is too large to be evaluated.")
        places = {a: np.arange(extent(a)) for a in term.over}
        try:
            total = total + _value(term, env, value, places, limit)
        except TooManyTerms:
            if not places:
                raise
            longest = max(places, key=lambda a: len(places[a]))
            for part in np.array_split(places[longest], PIECES):
                total = total + _value(term, env, value, {**places, longest: part}, limit)
    return total


def _value(term: Term, env: Env, value: Callable[[Expr, Env], Any], places: Mapping[Axis, Array], limit: int) -> Any:
    """The term, its indices summed over these places."""
    rank = max((np.ndim(v) for v in env.values()), default=0)
    count = len(term.over)
    inner = dict(env)
    for k, a in enumerate(term.over):
        inner[a] = places[a].reshape([-1] + [1] * (rank + count - 1 - k))
    known: dict[Expr, Array] = {c: np.asarray(value(c, inner), dtype=bool) for c in dict.fromkeys(term.conditions)}
    arrays: list[Array] = []
    for f in term.factors:
        part = np.asarray(value(f.value, inner), dtype=float)
        guards = [known[c] for c in f.guards if c in known]
        if guards and not np.all(np.isfinite(part)):
            _bounded([part, *guards], rank + count, limit)
            part = np.where(np.logical_and.reduce(np.broadcast_arrays(*guards)), part, 0.0)
        arrays.append(part)
    arrays += [c.astype(float) for c in known.values()]
    return _contracted(arrays, [len(places[a]) for a in term.over], rank, limit)


def _bounded(arrays: list[Array], rank: int, limit: int) -> tuple[int, ...]:
    """The shape of all arrays together, refused where it is too large."""
    shape = np.broadcast_shapes(*(a.shape for a in arrays), (1,) * rank)
    if prod(shape) > limit:
        raise TooManyTerms(f"A sum of {prod(shape):,} terms is too large to be evaluated.")
    return shape


def _contracted(arrays: list[Array], over: list[int], rank: int, limit: int) -> Any:
    """The product of arrays, summed over the leading dimensions."""
    count = len(over)
    shape = _bounded(arrays, rank + count, limit)
    scale: Any = 1.0
    operands: list[Array] = []
    labels: list[Any] = []
    for a in arrays:
        if a.ndim == 0:
            scale = scale * a
            continue
        first = rank + count - a.ndim
        kept = [k for k, extent in enumerate(a.shape) if extent != 1]
        labels.append([first + k for k in kept])
        operands.append(a.reshape([a.shape[k] for k in kept]))
    repeated = prod(extent for k, extent in enumerate(over) if shape[k] == 1 and extent != 1)
    if not operands:
        return scale * repeated
    wanted = [k for k in range(count, rank + count) if shape[k] != 1]
    pairs = [x for pair in zip(operands, labels, strict=True) for x in pair]
    large = len(operands) > 1 and prod(shape) > SMALL
    found = np.einsum(*pairs, wanted, optimize="greedy" if large else False)
    return scale * repeated * found.reshape([shape[k] for k in range(count, rank + count)])
