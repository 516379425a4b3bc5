"""Give expensive expressions that are computed more than once a tensor of their own.

Requires a well-formed program, values numbered. Establishes: an expensive expression (``exp``, ``tanh``, a root) that
several statements compute, or that a statement computes anew along an axis that it does not depend on, is stored once;
`share` then reads it wherever it stands. Divisions are cheap enough to be repeated over the same elements.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bpcompile.program.access import inside, is_affine, loop_axes, step_statements, volume
from bpcompile.program.canonical import Canonical
from bpcompile.program.nodes import Axis, Expr, axes_of, children_first, loads
from bpcompile.program.operands import NewTensors
from bpcompile.program.share import EVERYWHERE, EXPENSIVE, tensor_scopes
from bpcompile.program.statements import Origin, Program, Statement, Step, Tensor, TimeLoop

INVARIANT: Final = 8
"""An expression leaves a loop that would compute it so many times."""

_SLOW: Final = EXPENSIVE - {"div"}
"""Worth storing even at the price of one write and one read for each element."""


@dataclass(eq=False)
class _Found:
    """Where an expression occurs."""

    expression: Expr
    statements: set[int] = field(default_factory=set)
    repeats: bool = False
    first_step: int = 0
    first_statement: int = 0
    origin: Origin = field(default_factory=Origin)


def name_common(program: Program) -> Program:
    """Add statements that compute what occurs several times; the occurrences are left to `share`."""
    canonical = Canonical()
    scopes = tensor_scopes(program)
    ready = _positions(program)
    found: dict[object, _Found] = {}
    number = 0
    for position, step in enumerate(program.steps):
        free = (step.axis,) if isinstance(step, TimeLoop) else ()
        for inner, s in enumerate(step_statements(step)):
            number += 1
            for e in _outermost(s.body):
                if not _movable(e, s, free, program.tensors, scopes):
                    continue
                key, _ = canonical.key(e)
                where = found.setdefault(key, _Found(e, first_step=position, first_statement=inner, origin=s.origin))
                where.statements.add(number)
                own = set(axes_of(e))
                unused = [a for a in loop_axes(s) if a not in own]
                where.repeats = where.repeats or volume(unused) >= INVARIANT
    chosen = [f for f in found.values() if f.repeats or (len(f.statements) > 1 and f.expression.op in _SLOW)]
    return _inserted(program, chosen, ready) if chosen else program


def _outermost(body: Expr) -> Iterator[Expr]:
    """Expensive expressions, each before those inside it; what stands alone as a body has a tensor already."""
    for e in reversed(children_first(body)):
        if e.op in EXPENSIVE and e is not body and e.kind == "real":
            yield e


def _movable(
    e: Expr, s: Statement, free: tuple[Axis, ...], tensors: Mapping[str, Tensor], scopes: Mapping[str, int]
) -> bool:
    """True if the expression can be computed in a statement of its own: no guard needed, the same value everywhere."""
    used = loads(e)
    return (
        bool(used)
        and not any(a in free for a in axes_of(e))
        and any(x.kind == "real" for x in used)
        and all(scopes.get(x.value[0]) == EVERYWHERE for x in used)
        and all(is_affine(x.args) and inside(x.args, tensors[x.value[0]].shape) for x in used)
        and not any(x.op == "draw" for x in children_first(e))
        and not (e.op == "div" and not loads(e.args[1]))
    )


def _positions(program: Program) -> dict[str, int]:
    """The last step that writes each tensor."""
    return {s.target: i for i, step in enumerate(program.steps) for s in step_statements(step)}


def _inserted(program: Program, chosen: list[_Found], ready: Mapping[str, int]) -> Program:
    """Put each new statement before the step in which the expression occurs first."""
    made = NewTensors(dict(program.tensors))
    before: dict[int, list[Statement]] = {}
    # What was found last lies innermost: define it first, so that outer ones can read it.
    for f in reversed(chosen):
        e = f.expression
        if any(ready.get(x.value[0], -1) >= f.first_step for x in loads(e)):
            continue
        made.statements = []
        base = next(x.value[0] for x in loads(e) if x.kind == "real")
        made.define(f"{base}_{e.op}", tuple(axes_of(e)), e, replace(f.origin))
        before.setdefault(f.first_step, []).extend(made.statements)
    steps: list[Step] = []
    for position, step in enumerate(program.steps):
        steps += [*before.get(position, ()), step]
    return program.with_steps(tuple(steps), made.tensors)
