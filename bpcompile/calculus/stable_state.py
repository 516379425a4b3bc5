"""What the rules of stable forms know while the statements are rewritten in order: the definitions so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from bpcompile.calculus.record import Record
from bpcompile.nodes.expressions import Expr, axis, substitute
from bpcompile.nodes.statements import Statement, Tensor

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
class State:
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
