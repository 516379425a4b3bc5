"""A program: statements in order, each ``access (= | +=) reduce(expression)`` over a domain of axes.

Forward and backward statements are alike. The semantics, which the verifier states and every emitter keeps:

- a statement is executed once for every combination of its ``axes``; all its loads see the tensors as they were before it,
  unless it accumulates;
- ``reduce`` runs over the axes ``over`` (never empty then); ``argmax``/``argmin`` give the row-major position
  within ``over`` of the first element that attains the extreme value; ``max``/``min`` let NaN win;
- ``accumulate`` adds to what the target holds (a tensor that is only accumulated into is zero at the start);
- a load whose subscripts leave the tensor stands under a ``where`` that selects it off: emitters may clamp the address,
  and must not read outside;
- a `TimeLoop` runs its statements in order for each value of its axis, up or down; within it the axis is free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from bpcompile.nodes.expressions import Axis, Expr, Kind, axis
from bpcompile.nodes.text import expression_text

Role = Literal["input", "target", "parameter", "state", "temporary", "output", "loss", "gradient", "next_state"]
Phase = Literal["forward", "backward", "update"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a program.

    ``shape`` has ``None`` only for the batch. ``role`` says who owns the memory: ``gradient`` tensors lie where the
    caller wants the gradients (``of`` names the parameter or input), ``next_state`` where the state is (``of``).
    """

    name: str
    shape: tuple[int | None, ...]
    role: Role = "temporary"
    kind: Kind = "real"
    label: str = ""
    of: str = ""
    classes: int | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a statement comes from: the layer call, the user's equation, and the phase."""

    call: str = ""
    equation: str = ""
    phase: Phase = "forward"


@dataclass(frozen=True, slots=True)
class Statement:
    """``target[subscripts] (= | +=) reduce(body, over)`` for all values of ``axes``."""

    target: str
    subscripts: tuple[Expr, ...]
    axes: tuple[Axis, ...]
    body: Expr
    reduce: str | None = None
    over: tuple[Axis, ...] = ()
    accumulate: bool = False
    origin: Origin = field(default=Origin(), compare=False)

    def __str__(self) -> str:
        left = f"{self.target}[{', '.join(map(str, self.subscripts))}]" if self.subscripts else self.target
        body = expression_text(self.body)
        if self.reduce:
            body = f"{self.reduce}({', '.join([body, *(a.name for a in self.over)])})"
        return f"{left} {'+=' if self.accumulate else '='} {body}"

    @property
    def plain(self) -> bool:
        """True if the left side's subscripts are just the axes, in order: each element is written once."""
        return self.subscripts == tuple(axis(a) for a in self.axes)


@dataclass(frozen=True, slots=True)
class TimeLoop:
    """Statements that run together over ``axis`` (down if ``reverse``), which they see as a free axis.

    ``outer`` are axes of loops around that one, which the statements see as well; only schedules have any.
    """

    axis: Axis
    reverse: bool
    body: tuple[Statement, ...]
    outer: tuple[Axis, ...] = ()

    def __str__(self) -> str:
        head = f"for {self.axis.name} {'down' if self.reverse else 'up'}:"
        return "\n".join([head, *("    " + str(s) for s in self.body)])


Step = Statement | TimeLoop


@dataclass(frozen=True)
class Program:
    """Tensors and steps; ``outputs`` are the names of the tensors that a caller reads (predictions, loss, ...)."""

    name: str
    tensors: Mapping[str, Tensor]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self.steps))

    def statements(self) -> Iterator[Statement]:
        """All statements in order, those inside time loops included."""
        for step in self.steps:
            yield from step.body if isinstance(step, TimeLoop) else (step,)

    def with_steps(self, steps: tuple[Step, ...], tensors: Mapping[str, Tensor] | None = None) -> Program:
        """The same program with other steps (and tensors)."""
        return replace(self, steps=steps, tensors=self.tensors if tensors is None else tensors)
