"""The record of the derivation: every step that the calculus took, in order, as data.

The printed derivation is made of this record and of nothing else. A step names its rule (one of `RULES`), the tensor
it was taken for, and what stood there before and after.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from bpcompile.nodes.expressions import Expr
from bpcompile.nodes.statements import Statement

RULES: Final = frozenset(
    {
        "softplus",
        "sigmoid",
        "sigmoid of exp",
        "log sigmoid",
        "log one minus sigmoid",
        "log-sum-exp",
        "softmax shift",
        "log of quotient",
        "log of exp",
        "log one minus exp",
        "log of one and a square",
        "log1p",
        "expm1",
        "tanh",
        "sinh",
        "cosh",
        "artanh",
        "arsinh",
        "sigmoid of tanh",
        "log cosh",
        "one minus cos",
        "root of a square",
        "root of one and a square",
        "root minus one",
        "norm",
        "variance",
        "zero times log",
        "vanishing factor",
        "value of the forward pass",
    }
)
"""The names of the rewriting rules; what a rule did stands in its step, as the expressions before and after."""


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A rule fired: in the statement that defines ``tensor``, ``before`` became ``after``."""

    rule: str
    tensor: str
    before: Expr
    after: Expr


@dataclass(frozen=True, slots=True)
class Contribution:
    """The one rule at one access: what ``source`` adds to the adjoint of a tensor.

    Attributes
    ----------
    tensor : str
        The tensor whose adjoint receives the contribution.
    source : Statement
        The forward statement that reads the tensor.
    access : Expr
        The access in its body, with the subscripts g(I, r).
    derivative : Expr
        The scalar derivative of the body by this access.
    scatter : Statement
        ``adjoint[g(I, r)] += adjoint_of_source[I] * derivative`` for all I and r: the rule as it stands.
    gather : Expr or None
        The same contribution as an expression over the tensor's own indices, where the subscripts could be solved.
    solved : tuple of (Expr, Expr)
        How: each axis of the source and what was put in its place.
    """

    tensor: str
    source: Statement
    access: Expr
    derivative: Expr
    scatter: Statement
    gather: Expr | None
    solved: tuple[tuple[Expr, Expr], ...] = ()


@dataclass(frozen=True, slots=True)
class Collected:
    """All contributions to one adjoint together: its defining expression, then as simplified."""

    tensor: str
    adjoint: str
    axes: tuple[Expr, ...]
    summed: Expr | None
    simplified: Expr | None


Step = Rewriting | Contribution | Collected


@dataclass
class Record:
    """The steps in the order in which they were taken, and the forward statements before any of them."""

    forward: tuple[Statement, ...] = ()
    steps: list[Step] = field(default_factory=list)

    def rewritten(self, rule: str, tensor: str, before: Expr, after: Expr) -> None:
        """Note that a rule fired."""
        if rule not in RULES:
            raise KeyError(f"no rule is called {rule!r}")
        self.steps.append(Rewriting(rule, tensor, before, after))
