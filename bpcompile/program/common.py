"""Give expensive expressions that are computed more than once a tensor of their own.

Requires a well-formed program, values numbered. Establishes: an expensive expression (``exp``, ``tanh``, a root) that
several statements of one phase compute, or that a statement computes anew along an axis that it does not depend on, is
stored once; `share` then reads it wherever it stands. Over the same elements divisions are cheap enough to be repeated,
and so is everything that would have to be kept from the forward phase for the backward one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bpcompile.nodes.access import inside, is_affine, loop_axes, step_statements, volume
from bpcompile.nodes.expressions import Expr, axes_of, children_first, loads
from bpcompile.nodes.statements import Program, Statement, Step, Tensor, TimeLoop
from bpcompile.program.canonical import Canonical
from bpcompile.program.operands import NewTensors
from bpcompile.program.share import EVERYWHERE, is_expensive, tensor_scopes

INVARIANT: Final = 8
"""An expression leaves a loop that would compute it so many times."""

LONGEST_ROW: Final = 4096
"""The longest row that is worth a buffer: computing it again beats reading it back from memory."""


@dataclass(eq=False)
class _Found:
    """Where an expression occurs: statements by number, in which step first, and whether in one time loop only."""

    expression: Expr
    step: int
    before: Statement
    phases: dict[str, set[int]] = field(default_factory=dict)
    repeats: bool = False

    @property
    def shared(self) -> bool:
        """True if several statements of one phase compute the same rows, of a size that stays in the cache."""
        rows = [a.extent or 1 for a in axes_of(self.expression)]
        slow = is_expensive(self.expression) and self.expression.op != "div"
        return slow and max(rows, default=1) <= LONGEST_ROW and any(len(s) > 1 for s in self.phases.values())


def name_common(program: Program, canonical: Canonical | None = None) -> Program:
    """Add statements that compute what occurs several times; the occurrences are left to `share`."""
    canonical = canonical or Canonical()
    scopes = tensor_scopes(program)
    ready = {s.target: i for i, step in enumerate(program.steps) for s in step_statements(step)}
    found: dict[object, _Found] = {}
    number = 0
    for position, step in enumerate(program.steps):
        loop = step.axis if isinstance(step, TimeLoop) else None
        for s in step_statements(step):
            number += 1
            for e in _outermost(s):
                if not _movable(e, program.tensors, scopes, position if loop else EVERYWHERE):
                    continue
                timed = loop is not None and (loop in axes_of(e) or any(ready.get(x.value[0]) == position
                                                                       for x in loads(e)))  # fmt: skip
                key = (canonical.key(e)[0], position if timed else EVERYWHERE)
                where = found.setdefault(key, _Found(e, position, s))
                where.phases.setdefault(s.origin.phase, set()).add(number)
                own = set(axes_of(e))
                where.repeats |= volume(a for a in loop_axes(s) if a not in own) >= INVARIANT
    chosen = [f for f in found.values() if f.repeats or f.shared]
    return _inserted(program, chosen) if chosen else program


def _outermost(s: Statement) -> Iterator[Expr]:
    """Expensive expressions, each before those inside it; what is a statement's whole value has a tensor already."""
    for e in reversed(children_first(s.body)):
        if is_expensive(e) and (e is not s.body or s.reduce is not None):
            yield e


def _movable(e: Expr, tensors: Mapping[str, Tensor], scopes: Mapping[str, int], scope: int) -> bool:
    """True if the expression can be computed in a statement of its own: no guard needed, the same value everywhere."""
    used = loads(e)
    return (
        any(x.kind == "real" for x in used)
        and all(scopes.get(x.value[0], scope + 1) in (EVERYWHERE, scope) for x in used)
        and all(is_affine(x.args) and inside(x.args, tensors[x.value[0]].shape) for x in used)
        and not any(x.op == "draw" for x in children_first(e))
    )


def _inserted(program: Program, chosen: list[_Found]) -> Program:
    """Put each new statement before the statement in which the expression occurs first."""
    made = NewTensors(dict(program.tensors))
    before: dict[int, dict[int, list[Statement]]] = {}
    # What was found last lies innermost: define it first, so that outer ones can read it.
    for f in reversed(chosen):
        step = program.steps[f.step]
        time = step.axis if isinstance(step, TimeLoop) else None
        made.statements = []
        base = next(x.value[0] for x in loads(f.expression) if x.kind == "real")
        axes = tuple(a for a in axes_of(f.expression) if a != time)
        made.define(f"{base}_{f.expression.op}", axes, f.expression, f.before.origin)
        before.setdefault(f.step, {}).setdefault(id(f.before), []).extend(made.statements)
    steps: list[Step] = []
    for position, step in enumerate(program.steps):
        added = before.get(position, {})
        if isinstance(step, TimeLoop):
            body = [x for s in step.body for x in (*added.get(id(s), ()), s)]
            steps.append(replace(step, body=tuple(body)))
        else:
            steps += [*added.get(id(step), ()), step]
    return program.with_steps(tuple(steps), made.tensors)
