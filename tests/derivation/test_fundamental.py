"""The four equations come from a network that is a recurrence over the layer number, by the rule that every network gets."""

from __future__ import annotations

import bpcompile as bp
from bpcompile.derivation.abstract import LAST, abstract_context, at_layer
from bpcompile.derivation.context import Options
from bpcompile.derivation.steps import adjoint, inlined
from tests.derivation.networks import NETWORKS


def text(**options: object) -> str:
    return bp.derive(NETWORKS["sigmoid"](), sections="fundamental", **options).text()


def test_the_four_equations() -> None:
    found = text()
    for wanted in (
        "δ(L) = ∂C/∂a(L) ⊙ σ′(z(L))",
        "δ(l) = (W(l + 1)ᵀ δ(l + 1)) ⊙ σ′(z(l))",
        "∂C/∂b(l) = δ(l)",
        "∂C/∂W(l) = δ(l) a(l − 1)ᵀ",
    ):
        assert wanted in found, wanted


def test_letters_and_brackets_are_options() -> None:
    found = text(activation="f", superscript="[l]")
    assert "δ[l] = (W[l + 1]ᵀ δ[l + 1]) ⊙ f′(z[l])" in found


def test_the_cost_is_read_at_the_last_layer_alone() -> None:
    general = abstract_context(Options())
    a = adjoint(general, "a")
    assert a is not None
    assert a.simplified is not None
    last, before = at_layer(a.simplified, True), at_layer(a.simplified, False)
    assert "unspecified" in str(last)
    assert "W" not in str(last)
    assert "W" in str(before)
    assert "unspecified" not in str(before)
    assert LAST not in before.args


def test_the_error_of_a_layer_has_the_sum_over_the_next() -> None:
    general = abstract_context(Options())
    z = adjoint(general, "z")
    assert z is not None
    assert z.simplified is not None
    result = str(at_layer(inlined(general, z.simplified, "z"), False))
    assert result == "sum(z.bar[l + 1, k]*W[l + 1, k, j], k)*unspecified(z[l, j])"
