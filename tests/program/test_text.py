"""Expressions as text: short ones in full, those with heavy sharing cut off before they explode."""

from __future__ import annotations

import pytest

from bpcompile.nodes.expressions import Axis, Expr, axis, const, load, node
from bpcompile.nodes.text import LONGEST, expression_text

I = axis(Axis("i", 5))  # noqa: E741
X = load("x", (I,))


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (node("mul", (node("add", (X, const(1.0))), X)), "(x[i] + 1)*x[i]"),
        (node("sub", (X, node("sub", (X, X)))), "x[i] - (x[i] - x[i])"),
        (node("exp", (node("neg", (X,)),)), "exp(-x[i])"),
        (node("pow", (node("neg", (X,)), const(2.0))), "(-x[i])**2"),
    ],
)
def test_short_ones_are_written_in_full(expression: Expr, text: str) -> None:
    assert expression_text(expression) == text


@pytest.mark.parametrize("op", ["mul", "add", "div", "max"])
def test_a_value_used_twice_at_every_level_does_not_explode(op: str) -> None:
    e = X
    for _ in range(200):
        e = node(op, (e, node("sin", (e,))))
    text = expression_text(e)
    assert len(text) <= 2 * LONGEST and "..." in text
    assert text.count("(") == text.count(")") and text.count("[") == text.count("]")


def test_what_is_short_stays_beside_what_is_cut() -> None:
    deep = X
    for _ in range(60):
        deep = node("mul", (deep, deep))
    text = expression_text(node("add", (deep, load("bias", (I,)))))
    assert text.endswith(" + bias[i]") and "..." in text
