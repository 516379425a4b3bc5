"""Zeros around padded tensors: which products of a contraction need not be computed.

A convolution with a halo sums over windows that reach into the zeros around its operand. At the first positions, the first
offsets of the window meet zeros only, and at the last ones the last offsets do. This pass tells a contraction for one
axis of its result, and one of its depth, between which bounds their sum has to lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bpcompile.nodes.affine import affine
from bpcompile.nodes.expressions import Axis, Expr
from bpcompile.nodes.statements import Program, Statement
from bpcompile.program.schedule_types import BatchLoop, Contraction, Halo, Kernel, KernelLoop, ScheduledStep

Bounds = dict[Axis, tuple[int, int]]


def with_halos(program: Program, steps: Sequence[ScheduledStep]) -> tuple[ScheduledStep, ...]:
    """Note in each contraction which of its products are zero because an operand is padded."""
    writers: dict[str, list[Statement]] = {}
    for s in program.statements():
        writers.setdefault(s.target, []).append(s)
    padded = {name: found[0] for name, found in writers.items() if len(found) == 1 and zero_outside(found[0])}

    def noted(kernel: Kernel) -> Kernel:
        if not isinstance(kernel, Contraction):
            return kernel
        read = (e for e in (kernel.left, kernel.right) if e.value[0] in padded)
        return replace(kernel, halo=next((h for e in read for h in halos(kernel, e, padded[e.value[0]])), None))

    return tuple(
        replace(step, body=tuple(map(noted, step.body))) if isinstance(step, KernelLoop | BatchLoop) else noted(step)
        for step in steps
    )


def zero_outside(s: Statement) -> Bounds:
    """For axes of a padded copy: the positions outside which it is zero."""
    if not s.plain or s.accumulate or s.reduce:
        return {}
    found: Bounds = {}
    for condition in _conditions(s):
        bound = _bound(condition, s)
        if bound:
            a, low, high = bound
            found[a] = (max(low, found.get(a, bound[1:])[0]), min(high, found.get(a, bound[1:])[1]))
    return {a: b for a, b in found.items() if b != (0, a.extent)}


def copied(s: Statement) -> Expr | None:
    """The load whose values a padded copy holds within its bounds, if it holds nothing else."""
    body = s.body
    while body.op == "where" and _zero(body.args[2]):
        body = body.args[1]
    return body if body.op == "load" and all(_bound(c, s) for c in _conditions(s)) else None


def _conditions(s: Statement) -> Iterator[Expr]:
    """What has to hold where a statement's value is not zero."""
    body = s.body
    while body.op == "where" and _zero(body.args[2]):
        yield from _all_of(body.args[0])
        body = body.args[1]


def _bound(condition: Expr, s: Statement) -> tuple[Axis, int, int] | None:
    """The axis that a condition bounds, and its values there."""
    if condition.op not in ("lt", "le") or any(e.kind != "int" for e in condition.args):
        return None
    # between the sides: 0 <= right - left - (1 if strict)
    form = affine(condition.args[1])
    left = affine(condition.args[0])
    terms = [*form.terms, *((t, -c) for t, c in left.terms)]
    if len(terms) != 1 or terms[0][0].op != "axis" or abs(terms[0][1]) != 1:
        return None
    a, sign = terms[0][0].value, terms[0][1]
    rest = form.constant - left.constant - (condition.op == "lt")
    if a not in s.axes or a.extent is None:
        return None
    return (a, max(0, -rest), a.extent) if sign == 1 else (a, 0, min(a.extent, rest + 1))


def _all_of(condition: Expr) -> Iterator[Expr]:
    if condition.op == "and":
        for e in condition.args:
            yield from _all_of(e)
    else:
        yield condition


def _zero(e: Expr) -> bool:
    return e.op == "const" and bool(e.value == 0)


def halos(kernel: Contraction, operand: Expr, copy: Statement) -> Iterator[Halo]:
    """The bounds on an axis of the rows or columns and one of the depth, outermost dimensions of a padded operand first."""
    bounds = zero_outside(copy)
    for subscript, a in zip(operand.args, copy.axes, strict=True):
        terms = affine(subscript).terms
        if a not in bounds or len(terms) != 2:
            continue
        inner = next((t.value for t, c in terms if t.value in kernel.depth and abs(c) == 1), None)
        outer = next((t.value for t, c in terms if t.value not in kernel.depth and c == 1), None)
        if inner is None or outer is None:
            continue
        sign = next(c for t, c in terms if t.value == inner)
        low, high = (bound - affine(subscript).constant for bound in bounds[a])
        yield Halo(outer, inner, sign, low, high)
