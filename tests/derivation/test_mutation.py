"""The check can fail: with a sign flipped or a transpose dropped in the record it goes red."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bpcompile.calculus.gradient import analyze, training
from bpcompile.calculus.record import Collected, Contribution, Step
from bpcompile.derivation.axes import renamed
from bpcompile.derivation.context import Options, prepared
from bpcompile.derivation.derive import SECTIONS, derivation
from bpcompile.derivation.verify import Check
from bpcompile.nodes.expressions import Expr, load, node, rebuild
from tests.derivation.networks import NETWORKS


def checked(name: str, change: Callable[[Step], Step]) -> Check:
    """The check of a derivation whose record was tampered with."""
    calculus = analyze(NETWORKS[name]())
    program = training(calculus)
    before = list(calculus.record.steps)
    calculus.record.steps[:] = [change(step) for step in before]
    assert calculus.record.steps != before, "nothing was changed"
    return derivation(prepared(calculus, program, Options()), [s for s in SECTIONS if s != "sharing"]).check()


def red(check: Check) -> set[str]:
    return {r.equation.label for r in check.rows if not r.passed}


def negated(e: Expr | None) -> Expr | None:
    return None if e is None else node("neg", (e,))


def turned(e: Expr | None) -> Expr | None:
    """The weight of the output with its indices the other way round."""
    if e is None:
        return None
    return rebuild(e, lambda x: load(x.value[0], x.args[::-1]) if x.op == "load" and x.value[0] == "output.W" else None)


@pytest.mark.parametrize("tensor", ["hidden.a", "hidden.W", "output.b"])
def test_a_flipped_sign_goes_red(tensor: str) -> None:
    def change(step: Step) -> Step:
        if isinstance(step, Collected) and step.tensor == tensor:
            return replace(step, simplified=negated(step.simplified))
        return step

    check = checked("logits", change)
    assert not check.passed
    assert f"gradient.{tensor}" in red(check)


def test_a_dropped_transpose_goes_red() -> None:
    def change(step: Step) -> Step:
        if isinstance(step, Collected) and step.tensor == "hidden.a":
            return replace(step, summed=turned(step.summed), simplified=turned(step.simplified))
        if isinstance(step, Contribution) and step.tensor == "hidden.a":
            return replace(step, gather=turned(step.gather))
        return step

    assert "gradient.hidden.a" in red(checked("logits", change))


def test_a_wrong_local_derivative_goes_red() -> None:
    def change(step: Step) -> Step:
        if isinstance(step, Contribution) and step.tensor == "hidden.z":
            return replace(step, derivative=node("mul", (step.derivative, step.derivative)))
        return step

    assert "local.hidden.a.hidden.z" in red(checked("sigmoid", change))


def test_a_wrong_place_goes_red() -> None:
    def change(step: Step) -> Step:
        if isinstance(step, Contribution) and step.tensor == "hidden.W":
            swap = dict(zip(step.source.axes[1:] + step.source.over, (step.source.over + step.source.axes[1:]), strict=True))
            return replace(step, scatter=replace(step.scatter, body=renamed(step.scatter.body, swap)))
        return step

    assert "gradient.hidden.W" in red(checked("sigmoid", change))


def test_an_honest_record_is_green() -> None:
    calculus = analyze(NETWORKS["logits"]())
    program = training(calculus)
    assert derivation(prepared(calculus, program, Options()), list(SECTIONS)).check().passed
