"""Stable forms: formulas that overflow or cancel are recognized and rewritten, and each rewriting is recorded.

The rules are rows: a pattern, and what it becomes. A pattern sees through tensors: ``log(a[n, y[n]])`` matches
``log(sigmoid(z))`` where ``a`` is defined as a sigmoid, in whichever layer. Sums of exponentials are shifted by their
maximum where they stand under a logarithm or below an exponential (Blanchard, Higham & Higham 2021, IMA J. Numer. Anal.).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bpcompile.calculus.algebra import is_number, mul, neg, sub
from bpcompile.calculus.forward import Forward
from bpcompile.calculus.record import Record
from bpcompile.calculus.simplify import matched
from bpcompile.nodes.expressions import Expr, axis, const, load, node, rebuild, substitute
from bpcompile.nodes.statements import Statement, Tensor

Bindings = dict[str, Expr]
Pattern = Any
"""An operation with patterns as arguments ``("log", ...)``, a number, or a variable's name."""


def _f(name: str, *args: Expr) -> Expr:
    return node(name, args)


def _log_cosh(z: Expr) -> Expr:
    """Near 0 ``log1p(2 sinh(z/2)^2)`` keeps the small value; far away the exponentials never overflow."""
    half, away = _f("sinh", _f("div", z, const(2))), _f("abs", z)
    near = _f("log1p", mul(const(2), mul(half, half)))
    tail = _f("softplus", mul(const(-2), away))
    far = _f("sub", _f("add", away, tail), const(math.log(2)))
    return _f("where", _f("lt", away, const(1)), near, far)


@dataclass(frozen=True, slots=True)
class Rule:
    """A row: the name in the record, what is matched, what it becomes."""

    name: str
    pattern: Pattern
    becomes: Callable[[Bindings], Expr]


_EXP_Z: Final = ("exp", "z")
_EXP_MINUS_Z: Final = ("exp", ("neg", "z"))
_COSH: Final = ("div", ("add", _EXP_Z, _EXP_MINUS_Z), 2)

RULES: Final[tuple[Rule, ...]] = (
    # log e^u = u
    Rule("log of exp", ("log", ("exp", "u")), lambda b: b["u"]),
    # log(1 + e^z) = softplus(z)
    Rule("softplus", ("log", ("add", 1, _EXP_Z)), lambda b: _f("softplus", b["z"])),
    Rule("softplus", ("log1p", _EXP_Z), lambda b: _f("softplus", b["z"])),
    # (e^z - e^-z) / (e^z + e^-z) = tanh(z)
    Rule("tanh", ("div", ("sub", _EXP_Z, _EXP_MINUS_Z), ("add", _EXP_Z, _EXP_MINUS_Z)), lambda b: _f("tanh", b["z"])),
    Rule("tanh", ("div", ("expm1", "u"), ("add", 1, ("exp", "u"))), lambda b: _f("tanh", _f("div", b["u"], const(2)))),
    Rule("tanh", ("div", ("sub", 1, ("exp", "u")), ("add", 1, ("exp", "u"))),
         lambda b: neg(_f("tanh", _f("div", b["u"], const(2))))),
    # e^z / (1 + e^z) = sigmoid(z),  x / (1 + e^u) = x sigmoid(-u)
    Rule("sigmoid of exp", ("div", _EXP_Z, ("add", 1, _EXP_Z)), lambda b: _f("sigmoid", b["z"])),
    Rule("sigmoid", ("div", "x", ("add", 1, ("exp", "u"))), lambda b: mul(b["x"], _f("sigmoid", neg(b["u"])))),
    # log sigmoid(z) = -softplus(-z),  log(1 - sigmoid(z)) = -softplus(z)
    Rule("log sigmoid", ("log", ("sigmoid", "z")), lambda b: neg(_f("softplus", neg(b["z"])))),
    Rule("log one minus sigmoid", ("log", ("sub", 1, ("sigmoid", "z"))), lambda b: neg(_f("softplus", b["z"]))),
    Rule("log one minus sigmoid", ("log1p", ("neg", ("sigmoid", "z"))), lambda b: neg(_f("softplus", b["z"]))),
    # log cosh z
    Rule("log cosh", ("log", ("cosh", "z")), lambda b: _log_cosh(b["z"])),
    Rule("log cosh", ("log", _COSH), lambda b: _log_cosh(b["z"])),
    # log(e^u / s) = u - log s
    Rule("log of quotient", ("log", ("div", ("exp", "u"), "s")), lambda b: sub(b["u"], _f("log", b["s"]))),
    # log(1 + x), log(1 - x), e^x - 1
    Rule("log1p", ("log", ("add", 1, "x")), lambda b: _f("log1p", b["x"])),
    Rule("log1p", ("log", ("sub", 1, "x")), lambda b: _f("log1p", neg(b["x"]))),
    Rule("expm1", ("sub", ("exp", "x"), 1), lambda b: _f("expm1", b["x"])),
)

_ROOTS: Final = frozenset(rule.pattern[0] for rule in RULES)
_SEEN_THROUGH: Final = frozenset({"exp", "sigmoid", "div", "neg", "add", "sub", "load", "cosh"})
"""Operations that a pattern looks at behind a tensor's name."""


@dataclass(frozen=True, slots=True)
class Softmax:
    """``exp(u - shift) / total``: a quotient that the backward pass may want as a value of its own."""

    axes: tuple[Any, ...]
    numerator: Expr
    total: Expr
    name: str


@dataclass
class _State:
    """What is known while the statements are rewritten, in order."""

    record: Record
    definitions: dict[str, Statement]
    tensors: dict[str, Tensor]
    shifted: dict[str, list[Statement]] = field(default_factory=dict)
    fresh: list[Statement] = field(default_factory=list)
    softmaxes: list[Softmax] = field(default_factory=list)
    target: str = ""

    def view(self, e: Expr) -> Expr:
        """What a load stands for, if its tensor is defined by an expression that a rule may want to see."""
        for _ in range(8):
            if e.op != "load":
                return e
            s = self.definitions.get(e.value[0])
            if s is None or s.reduce or not s.plain or s.body.op not in _SEEN_THROUGH:
                return e
            e = substitute(s.body, {axis(a): i for a, i in zip(s.axes, e.args, strict=True)})
        return e

    def load_of_sum(self, e: Expr) -> Expr:
        """The load that ``e`` is or stands for (copies of a sum are seen through)."""
        while e.op == "load":
            s = self.definitions.get(e.value[0])
            if s is None or s.reduce or not s.plain or s.body.op != "load":
                return e
            e = substitute(s.body, {axis(a): i for a, i in zip(s.axes, e.args, strict=True)})
        return e

    def view_of_sum(self, e: Expr) -> str:
        """The tensor behind `load_of_sum`; empty where there is none."""
        found = self.load_of_sum(e)
        return str(found.value[0]) if found.op == "load" else ""


def stabilize(forward: Forward, record: Record) -> tuple[Forward, list[Softmax]]:
    """Rewrite the forward statements into stable forms.

    Returns
    -------
    Forward
        The rewritten statements; statements that nothing reads any more are left in place.
    list of Softmax
        The shifted quotients that were met, for the simplification of adjoints.
    """
    state = _State(record, {s.target: s for s in forward.statements}, dict(forward.tensors))
    result: list[Statement] = []
    for s in forward.statements:
        state.target, state.fresh = s.target, []
        body = rebuild(s.body, lambda e: _rewritten(e, state))
        changed = replace(s, body=body)
        state.definitions[s.target] = changed
        result += [*state.fresh, changed]
    return replace(forward, statements=tuple(result), tensors=state.tensors), state.softmaxes


def _rewritten(e: Expr, state: _State) -> Expr | None:
    """The expression by the first rule that fits, again and again; None if no rule does."""
    current = e
    for _ in range(8):
        changed = _once(current, state)
        if changed is None:
            break
        current = changed
    return None if current is e else current


def _once(e: Expr, state: _State) -> Expr | None:
    if e.op not in _ROOTS:
        return None
    changed = _shifted(e, state)
    if changed is not None:
        return changed
    for rule in RULES:
        if rule.pattern[0] == e.op:
            found: Bindings = {}
            if _match(rule.pattern, e, found, state.view):
                after = rule.becomes(found)
                state.record.rewritten(rule.name, state.target, e, after)
                return after
    return None


def _match(pattern: Pattern, e: Expr, found: Bindings, view: Callable[[Expr], Expr]) -> bool:
    """Match with sums and products commuting, seeing through tensors, ``neg`` meaning any form of a minus."""
    if isinstance(pattern, str):
        return found.setdefault(pattern, e) is e
    if isinstance(pattern, int):
        return is_number(e, pattern) and e.kind != "bool"
    op, *arguments = pattern
    if e.op == "load":
        e = view(e)
    if op == "neg" and e.op != "neg":
        return (e.op == "sub" or _negative(e)) and _match(arguments[0], neg(_positive(e)), found, view)
    if e.op != op:
        return False
    orders = [e.args, e.args[::-1]] if op in ("add", "mul") else [e.args]
    for order in orders:
        trial = dict(found)
        if all(_match(p, a, trial, view) for p, a in zip(arguments, order, strict=True)):
            found.update(trial)
            return True
    return False


def _negative(e: Expr) -> bool:
    return e.op == "mul" and e.args[0].op == "const" and e.args[0].value < 0


def _positive(e: Expr) -> Expr:
    """``-(c*x)`` for ``e = (-c)*x`` so that negating it gives ``c*x``."""
    return node("neg", (mul(const(-e.args[0].value), e.args[1]),)) if _negative(e) else e


# --- sums of exponentials -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Exponential:
    """A term ``where(condition, rest * exp(u), 0)`` of a sum."""

    exponent: Expr
    rebuilt: Callable[[Expr], Expr]
    masked: Callable[[Expr], Expr]


def _exponential(e: Expr, state: _State) -> _Exponential | None:
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


def _shifted(e: Expr, state: _State) -> Expr | None:
    """``log S`` and ``exp(u) / S`` for a sum of exponentials S, by the sum shifted by its maximum."""
    if e.op == "log":
        total = _sum_of_exponentials(e.args[0], state)
        if total is None:
            return None
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


def _sum_of_exponentials(e: Expr, state: _State) -> tuple[Expr, Expr, Expr] | None:
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


def _make_shifted(s: Statement, state: _State) -> bool:
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


def without_stops(statements: Iterable[Statement]) -> list[Statement]:
    """Statements with every ``stop_gradient`` replaced by its argument: it matters to the calculus alone."""

    def change(e: Expr) -> Expr | None:
        return e.args[0] if e.op == "stop" else None

    def without(s: Statement) -> Statement:
        body = rebuild(s.body, change)
        return s if body is s.body else replace(s, body=body)

    return [without(s) for s in statements]
