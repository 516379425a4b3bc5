"""The same computation under other names: what one copy of a layer has in place of another's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bpcompile.nodes.expressions import Expr, node, rebuild
from bpcompile.nodes.statements import Statement, Step, TimeLoop


@dataclass(frozen=True)
class Renaming:
    """New names of tensors, layer calls and streams of random numbers; what is not in them keeps its name."""

    tensors: Mapping[str, str]
    calls: Mapping[str, str] = field(default_factory=dict)
    streams: Mapping[int, int] = field(default_factory=dict)

    def expression(self, root: Expr) -> Expr:
        """The expression under the new names."""

        def change(e: Expr) -> Expr | None:
            if e.op == "load" and e.value[0] in self.tensors:
                return node("load", e.args, (self.tensors[e.value[0]], e.value[1]))
            if e.op == "draw" and e.value[1] in self.streams:
                return node("draw", e.args, (e.value[0], self.streams[e.value[1]]))
            return None

        return rebuild(root, change)

    def statement(self, s: Statement) -> Statement:
        """The statement under the new names."""
        return replace(
            s,
            target=self.tensors.get(s.target, s.target),
            subscripts=tuple(self.expression(e) if e.args else e for e in s.subscripts),
            body=self.expression(s.body),
            origin=replace(s.origin, call=self.calls.get(s.origin.call, s.origin.call)),
        )

    def step(self, step: Step) -> Step:
        """The statement, or the loop over time, under the new names."""
        if isinstance(step, TimeLoop):
            return replace(step, body=tuple(self.statement(s) for s in step.body))
        return self.statement(step)
