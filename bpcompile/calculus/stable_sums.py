"""Sums of exponentials and of squares: shifted by their maximum, scaled by their largest term, centred on their mean.

A shift or a scale is a constant to the calculus, since the value does not depend on it: the derivative is that of the sum
(Blanchard, Higham & Higham 2021, IMA J. Numer. Anal.; Blue 1978, ACM Trans. Math. Software, for the norm).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from bpcompile.calculus.algebra import is_number
from bpcompile.calculus.simplify import matched
from bpcompile.calculus.stable_rules import FAR
from bpcompile.calculus.stable_state import Softmax, State
from bpcompile.nodes.expressions import Expr, axis, const, load, node, substitute
from bpcompile.nodes.statements import Statement, Tensor


def _f(name: str, *args: Expr) -> Expr:
    return node(name, args)


@dataclass(frozen=True, slots=True)
class _Exponential:
    """A term ``where(condition, rest * exp(u), 0)`` of a sum."""

    exponent: Expr
    rebuilt: Callable[[Expr], Expr]
    masked: Callable[[Expr], Expr]


def _exponential(e: Expr, state: State) -> _Exponential | None:
    """The one exponential in a product, under selections perhaps."""
    e = state.view(e)
    if e.op == "exp":
        return _Exponential(e.args[0], lambda x: node("exp", (x,)), lambda u: u)
    if e.op == "where" and (is_number(e.args[2], 0) or is_number(e.args[1], 0)):
        k = 1 if is_number(e.args[2], 0) else 2
        inner = _exponential(e.args[k], state)
        if inner is None:
            return None

        def put(value: Expr, other: Expr) -> Expr:
            return node("where", (e.args[0], value, other) if k == 1 else (e.args[0], other, value))

        minus, within = const(float("-inf")), inner
        return _Exponential(
            inner.exponent, lambda x: put(within.rebuilt(x), const(0.0)), lambda u: put(within.masked(u), minus)
        )
    if e.op in ("mul", "div"):
        for k in (0, 1) if e.op == "mul" else (0,):
            inner = _exponential(e.args[k], state)
            if inner is not None:
                rest = e.args[1 - k]
                whole = inner

                def product(x: Expr, k: int = k, rest: Expr = rest, whole: _Exponential = whole) -> Expr:
                    parts = (whole.rebuilt(x), rest) if k == 0 else (rest, whole.rebuilt(x))
                    return node(e.op, parts)

                return _Exponential(inner.exponent, product, inner.masked)
    return None


def shifted(e: Expr, state: State) -> Expr | None:
    """``log S`` and ``exp(u) / S`` for a sum of exponentials S, by the sum shifted by its maximum."""
    if e.op == "log":
        total = _sum_of_exponentials(e.args[0], state)
        if total is None:
            return _shifted_terms(e, state)
        shift, small, _ = total
        after = node("add", (shift, node("log", (small,))))
        state.record.rewritten("log-sum-exp", state.target, e, after)
        return after
    if e.op != "div":
        return None
    numerator = _exponential(e.args[0], state)
    total = None if numerator is None else _sum_of_exponentials(e.args[1], state)
    if numerator is None or total is None:
        return None
    shift, small, exponent = total
    axes = state.definitions[state.view_of_sum(e.args[1])].over
    if matched(exponent, numerator.exponent, axes) is None:
        return None
    after = node("div", (numerator.rebuilt(node("sub", (numerator.exponent, shift))), small))
    state.record.rewritten("softmax shift", state.target, e, after)
    return after


def _sum_of_exponentials(e: Expr, state: State) -> tuple[Expr, Expr, Expr] | None:
    """For a load of ``S = sum(w*exp(u))``: loads of its shift and of the shifted sum, and the exponent there."""
    name = state.view_of_sum(e)
    s = state.definitions.get(name)
    if s is None or s.reduce != "sum" or name.endswith(".shifted"):
        return None
    if name not in state.shifted and not _make_shifted(s, state):
        return None
    at = state.load_of_sum(e)
    swap = {axis(a): i for a, i in zip(s.axes, at.args, strict=True)}
    exponential = _exponential(s.body, state)
    assert exponential is not None
    shift = node("stop", (load(f"{name}.shift", at.args),))
    return shift, load(f"{name}.shifted", at.args), substitute(exponential.exponent, swap)


def _make_shifted(s: Statement, state: State) -> bool:
    """Define the maximum, the shift (the maximum where it is finite) and the shifted sum of ``s``."""
    exponential = _exponential(s.body, state)
    if exponential is None or any(x.op == "stop" for x in (exponential.exponent, *exponential.exponent.args)):
        return False
    left = tuple(axis(a) for a in s.axes)
    top = load(f"{s.target}.max", left)
    finite = node("lt", (node("abs", (top,)), const(float("inf"))))
    shift = node("stop", (load(f"{s.target}.shift", left),))
    body = exponential.rebuilt(node("sub", (exponential.exponent, shift)))
    made = [
        replace(s, target=f"{s.target}.max", body=exponential.masked(exponential.exponent), reduce="max"),
        Statement(f"{s.target}.shift", left, s.axes, node("where", (finite, top, const(0.0))), origin=s.origin),
        replace(s, target=f"{s.target}.shifted", body=body),
    ]
    shape = tuple(a.extent for a in s.axes)
    for m in made:
        state.tensors[m.target] = Tensor(m.target, shape, label=m.target.rpartition(".")[2])
        state.definitions[m.target] = m
    state.shifted[s.target] = made
    state.fresh += made
    if body.op == "exp":
        total = load(f"{s.target}.shifted", left)
        state.softmaxes.append(Softmax((*s.axes, *s.over), body, total, f"{s.target}.softmax"))
    return True


def _terms(e: Expr) -> list[Expr]:
    """What is added up in an expression."""
    return [*_terms(e.args[0]), *_terms(e.args[1])] if e.op == "add" else [e]


def _added(terms: list[Expr]) -> Expr:
    total = terms[0]
    for t in terms[1:]:
        total = _f("add", total, t)
    return total


def _greatest(terms: list[Expr]) -> Expr:
    top = terms[0]
    for t in terms[1:]:
        top = _f("max", top, t)
    return top


def _shifted_terms(e: Expr, state: State) -> Expr | None:
    """``log(exp(a) + exp(b) + ...)`` by the exponentials shifted by the largest exponent."""
    terms = _terms(e.args[0])
    if len(terms) < 2 or any(t.op != "exp" for t in terms):
        return None
    exponents = [t.args[0] for t in terms]
    after = _log_add_exp(*exponents) if len(terms) == 2 else _log_sum_exp(exponents)
    state.record.rewritten("log-sum-exp", state.target, e, after)
    return after


def _log_add_exp(a: Expr, b: Expr) -> Expr:
    """``max(a, b) + log(1 + exp(-|a - b|))``; equal exponents, infinite ones among them, share the gradient."""
    apart = _f("add", _f("max", a, b), _f("softplus", _f("neg", _f("abs", _f("sub", a, b)))))
    half = _f("add", _f("div", a, const(2)), _f("div", b, const(2)))
    return _f("where", _f("eq", a, b), _f("add", half, const(math.log(2))), apart)


def _log_sum_exp(exponents: list[Expr]) -> Expr:
    top = _greatest(exponents)
    shift = _f("stop", _f("where", _f("lt", _f("abs", top), const(math.inf)), top, const(0.0)))
    return _f("add", shift, _f("log", _added([_f("exp", _f("sub", u, shift)) for u in exponents])))


def difference(e: Expr, state: State) -> Expr | None:
    """``u - log S`` and ``log S - u`` with a shifted S: the shift is taken from u first, where it cancels exactly."""
    if e.op != "sub":
        return None
    left, right = (state.view(a) for a in e.args)
    if _is_shifted_log(right):
        shift, small = right.args
        after = _f("sub", _f("sub", e.args[0], shift), small)
    elif _is_shifted_log(left):
        shift, small = left.args
        after = _f("sub", small, _f("sub", e.args[1], shift))
    else:
        return None
    state.record.rewritten("log-sum-exp", state.target, e, after)
    return after


def _is_shifted_log(e: Expr) -> bool:
    return e.op == "add" and e.args[0].op == "stop" and e.args[1].op == "log"


# --- sums of squares ----------------------------------------------------------------------------------------------------


def _squared(e: Expr) -> Expr | None:
    """``u`` where the expression is ``u*u`` or ``u**2``."""
    if e.op == "mul" and e.args[0] is e.args[1]:
        return e.args[0]
    return e.args[0] if e.op == "pow" and is_number(e.args[1], 2) else None


def scaled(e: Expr, state: State) -> Expr | None:
    """``sqrt(u^2 + v^2 + ...)`` by squares of what is divided by the largest; the gradient of a norm at 0 is 0."""
    if e.op != "sqrt":
        return None
    roots = [_squared(t) for t in _terms(e.args[0])]
    if len(roots) > 1 and all(r is not None for r in roots):
        return _scaled_terms(e, [r for r in roots if r is not None], state)
    total = e.args[0].args[0] if e.args[0].op == "div" and e.args[0].args[1].op in ("const", "size") else e.args[0]
    s = state.definitions.get(state.view_of_sum(total))
    if s is None or s.reduce != "sum" or _squared(s.body) is None:
        return None
    after = _f("where", _f("eq", total, const(0)), const(0.0), e)
    state.record.rewritten("norm", state.target, e, after)
    return after


def _scaled_terms(e: Expr, roots: list[Expr], state: State) -> Expr:
    largest = _greatest([_f("abs", r) for r in roots])
    # Twice the largest, since the derivative halves the scale, which may be the smallest number there is.
    moderate = _f("and", _f("lt", const(0), largest), _f("lt", largest, FAR))
    huge = _f("and", _f("le", FAR, largest), _f("lt", largest, const(math.inf)))
    scale = _f("stop", _f("where", moderate, _f("mul", const(2), largest), _f("where", huge, largest, const(1.0))))
    parts = [_f("div", r, scale) for r in roots]
    total = _added([_f("mul", p, p) for p in parts])
    root = _f("where", _f("eq", total, const(0)), const(0.0), _f("sqrt", total))
    after = _f("mul", scale, root)
    state.record.rewritten("norm", state.target, e, after)
    return after


def centered(e: Expr, state: State) -> Expr | None:
    """``mean(u^2) - mean(u)^2`` as ``mean((u - mean(u))^2)``, which does not cancel."""
    if e.op != "sub":
        return None
    squares = _mean(state.view(e.args[0]), state)
    mean = _squared(state.view(e.args[1]))
    plain = None if mean is None else _mean(state.view(mean), state)
    if squares is None or plain is None or mean is None:
        return None
    (count, s), (other, m) = squares, plain
    u = _squared(s.body)
    if u is not m.body or count is not other or (s.axes, s.over) != (m.axes, m.over):
        return None
    place = state.load_of_sum(state.view(e.args[0]).args[0]).args
    swap = {i: axis(a) for a, i in zip(s.axes, place, strict=True)}
    deviation = _f("sub", m.body, _f("stop", substitute(mean, swap)))  # deviations add up to 0: the mean's own slope is 0
    name = f"{s.target}.centered"
    if name not in state.definitions:
        made = replace(s, target=name, body=_f("mul", deviation, deviation))
        state.tensors[name] = Tensor(name, tuple(a.extent for a in s.axes), label="centered")
        state.definitions[name] = made
        state.fresh.append(made)
    after = _f("div", load(name, place), count)
    state.record.rewritten("variance", state.target, e, after)
    return after


def _mean(e: Expr, state: State) -> tuple[Expr, Statement] | None:
    """The number of terms and the sum, where the expression is a mean."""
    if e.op != "div" or e.args[1].op not in ("const", "size", "mul"):
        return None
    s = state.definitions.get(state.view_of_sum(e.args[0]))
    return None if s is None or s.reduce != "sum" else (e.args[1], s)
