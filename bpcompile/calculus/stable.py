"""Stable forms: formulas that overflow or cancel are recognized and rewritten, and each rewriting is recorded.

The rules are rows (`stable_rules`): a pattern, and what it becomes. A pattern sees through tensors: ``log(a[n, y[n]])``
matches ``log(sigmoid(z))`` where ``a`` is defined as a sigmoid, in whichever layer. Sums have forms of their own
(`stable_sums`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from bpcompile.calculus.algebra import is_number, mul, neg
from bpcompile.calculus.forward import Forward
from bpcompile.calculus.record import Record
from bpcompile.calculus.stable_rules import RULES, Bindings, Pattern
from bpcompile.calculus.stable_state import Softmax, State
from bpcompile.calculus.stable_sums import centered, difference, scaled, shifted
from bpcompile.nodes.expressions import Expr, const, node, rebuild
from bpcompile.nodes.statements import Statement

_ROOTS: Final = frozenset(rule.pattern[0] for rule in RULES)
_FORMS: Final = (shifted, scaled, centered, difference)

__all__ = ["Softmax", "stabilize", "without_stops"]


def stabilize(forward: Forward, record: Record) -> tuple[Forward, list[Softmax]]:
    """Rewrite the forward statements into stable forms.

    Returns
    -------
    Forward
        The rewritten statements; statements that nothing reads any more are left in place.
    list of Softmax
        The shifted quotients that were met, for the simplification of adjoints.
    """
    state = State(record, {s.target: s for s in forward.statements}, dict(forward.tensors))
    result: list[Statement] = []
    for s in forward.statements:
        state.target, state.fresh = s.target, []
        body = rebuild(s.body, lambda e: _rewritten(e, state))
        changed = replace(s, body=body)
        state.definitions[s.target] = changed
        result += [*state.fresh, changed]
    return replace(forward, statements=tuple(result), tensors=state.tensors), state.softmaxes


def _rewritten(e: Expr, state: State) -> Expr | None:
    """The expression by the first rule that fits, again and again; None if no rule does."""
    current = e
    for _ in range(8):
        changed = _once(current, state)
        if changed is None:
            break
        current = changed
    return None if current is e else current


def _once(e: Expr, state: State) -> Expr | None:
    if e.op not in _ROOTS:
        return None
    for form in _FORMS:
        changed = form(e, state)
        if changed is not None:
            return changed
    for rule in RULES:
        if rule.pattern[0] == e.op:
            found: Bindings = {}
            after = rule.becomes(found) if _match(rule.pattern, e, found, state.view) else None
            if after is not None:
                state.record.rewritten(rule.name, state.target, e, after)
                return after
    return None


def _match(pattern: Pattern, e: Expr, found: Bindings, view: Callable[[Expr], Expr]) -> bool:
    """Match with sums and products commuting, seeing through tensors, ``neg`` meaning any form of a minus."""
    if isinstance(pattern, str):
        return found.setdefault(pattern, e) is e
    if isinstance(pattern, (int, float)):
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


def without_stops(statements: Iterable[Statement]) -> list[Statement]:
    """Statements with every ``stop_gradient`` replaced by its argument: it matters to the calculus alone."""

    def change(e: Expr) -> Expr | None:
        return e.args[0] if e.op == "stop" else None

    def without(s: Statement) -> Statement:
        body = rebuild(s.body, change)
        return s if body is s.body else replace(s, body=body)

    return [without(s) for s in statements]
