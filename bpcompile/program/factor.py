"""Bring sums of products into the form that contractions have.

Requires a well-formed program. Establishes, where it pays: factors that do not depend on the summed axes stand outside
the sum; sums of several terms are several sums; products of more than two factors are summed in the cheapest order, by
pairs; operands are plain loads, windows over zero-padded copies. What a time loop computes alike in each iteration
stands before it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from bpcompile.nodes.access import inside, is_affine, reads, volume
from bpcompile.nodes.expressions import Axis, Expr, axes_of, axis, const, load, node
from bpcompile.nodes.guards import bounds_by
from bpcompile.nodes.statements import Program, Statement, Step, Tensor, TimeLoop
from bpcompile.program.contract import as_contraction
from bpcompile.program.operands import NewTensors, as_operand, is_plain, operand_volume
from bpcompile.program.order import REDUCED, Tree, best_order
from bpcompile.program.product import Product, as_product, guarded, is_one, multiplied, quotient, terms_of

REUSE: Final = 4
"""An operand gets a tensor of its own if each of its elements is used at least so often."""


def factor(program: Program) -> Program:
    """Rewrite sums of products so that they can be contractions."""
    tensors = dict(program.tensors)
    steps: list[Step] = []
    for step in program.steps:
        if isinstance(step, TimeLoop):
            body = [part for s in step.body for part in _factored(s, (step.axis,), tensors)]
            hoisted, kept = _hoisted(step, body)
            steps += hoisted
            if kept:
                steps.append(replace(step, body=tuple(kept)))
        else:
            steps += _factored(step, (), tensors)
    return program.with_steps(tuple(steps), tensors)


def _hoisted(loop: TimeLoop, body: list[Statement]) -> tuple[list[Statement], list[Statement]]:
    """What every iteration computes alike, and the rest."""
    varying = {s.target for s in body}
    before: list[Statement] = []
    kept: list[Statement] = []
    for s in body:
        timed = any(loop.axis in axes_of(e) for e in (*s.subscripts, s.body))
        if timed or s.accumulate or any(name in varying for name in reads(s)):
            kept.append(s)
        else:
            before.append(s)
            if sum(o.target == s.target for o in body) == 1:
                varying.discard(s.target)
    return before, kept


def _factored(s: Statement, fixed: Collection[Axis], tensors: dict[str, Tensor]) -> list[Statement]:
    """The statement, or statements that compute the same by contractions."""
    if s.reduce != "sum":
        return [s]
    made = NewTensors(dict(tensors))
    result: list[Statement] = []
    found = False
    for k, (minus, term) in enumerate(terms_of(s.body)):
        part = replace(s, body=node("neg", (term,)) if minus else term, accumulate=s.accumulate or k > 0)
        made.statements = []
        plan = _Sum.of(part, fixed, made.tensors)
        rewritten = plan and _planned(plan, made)
        if rewritten:
            found = True
            result += [*made.statements, rewritten]
        else:
            result.append(part)
    if not found:
        return [s]
    used = {name for r in result for name in (r.target, *reads(r))}
    added = list(islice(made.tensors.items(), len(tensors), None))
    tensors.update((name, t) for name, t in added if name in used)
    return result


@dataclass(frozen=True, slots=True)
class _Sum:
    """A sum of products taken apart: what stands outside the sum, and the factors inside."""

    statement: Statement
    fixed: tuple[Axis, ...]
    outside: Product
    factors: tuple[Expr, ...]

    @staticmethod
    def of(s: Statement, fixed: Collection[Axis], tensors: Mapping[str, Tensor]) -> _Sum | None:
        """Take a sum of a product apart; nothing if there are not at least two factors inside."""
        product = as_product(s.body)
        summed = set(s.over)

        def inner(e: Expr) -> bool:
            return not summed.isdisjoint(axes_of(e))

        exposed = any(_exposed(f, tensors) for f in product.factors)
        outside = Product(
            product.negative,
            tuple(g for g in product.guards if not exposed and not inner(g)),
            tuple(f for f in product.factors if not inner(f)),
            tuple(d for d in product.divisors if not inner(d)),
        )
        factors = [f for f in product.factors if inner(f)]
        for d in product.divisors:
            if inner(d) and not _absorbed(factors, d):
                factors.append(node("div", (const(1.0), d)))
        if any(f.kind != "real" for f in factors):
            factors = [node("mul", (const(1.0), f)) if f.kind != "real" else f for f in factors]
        if len(factors) < 2 or not summed <= {a for f in factors for a in axes_of(f)}:
            return None
        guards = [g for g in product.guards if g not in outside.guards]
        kept = _guarded_factors(factors, guards, frozenset(fixed), tensors)
        return None if kept is None else _Sum(s, tuple(fixed), outside, tuple(kept))

    def axes(self, e: Expr) -> frozenset[Axis]:
        """The axes of an expression that vary within the statement."""
        return frozenset(a for a in axes_of(e) if a not in self.fixed)


def _absorbed(factors: list[Expr], d: Expr) -> bool:
    """Divide a factor that has all the axes of the divisor."""
    needed = set(axes_of(d))
    for k, f in enumerate(factors):
        if needed <= set(axes_of(f)):
            factors[k] = node("div", (f, d))
            return True
    return False


def _guarded_factors(
    factors: Sequence[Expr], guards: Sequence[Expr], fixed: frozenset[Axis], tensors: Mapping[str, Tensor]
) -> list[Expr] | None:
    """Give each guard to the factors that it may protect: those with loads that may leave their tensors.

    Without such, those that are more than a load; without these, the first that has its axes.
    """
    result = list(factors)
    needed = {g: set(axes_of(g)) - fixed for g in guards}
    within = [[g for g in guards if needed[g] <= set(axes_of(f))] for f in factors]
    exposed = [_exposed(f, tensors) for f in factors]
    safe = [not _exposed(f, tensors, own) for f, own in zip(factors, within, strict=True)]
    for g in reversed(guards):
        able = [k for k, own in enumerate(within) if g in own]
        if not able or any(not safe[k] and k not in able for k in range(len(factors))):
            return None
        needing = [k for k in able if exposed[k] and (not safe[k] or _exposed(factors[k], tensors, _others(within[k], g)))]
        smallest = min(able, key=lambda k: len(axes_of(factors[k])))
        composite = needing or [k for k in able if factors[k].op != "load"] or [smallest]
        for k in composite:
            result[k] = guarded([g], result[k])
    return result


def _others(guards: Sequence[Expr], g: Expr) -> list[Expr]:
    return [other for other in guards if other is not g]


def _exposed(e: Expr, tensors: Mapping[str, Tensor], guards: Sequence[Expr] = ()) -> bool:
    """True if a load that neither a ``where`` nor one of the guards protects may leave its tensor."""
    if e.op == "load":
        shape = tensors[e.value[0]].shape
        bounds = [bounds_by(i, guards) if size is not None else (0, 0) for i, size in zip(e.args, shape, strict=True)]
        outside = any(low < 0 or high >= (size or 1) for (low, high), size in zip(bounds, shape, strict=True))
        if not is_affine(e.args) or (outside and not inside(e.args, shape)):
            return True
    return any(_exposed(a, tensors, guards) for a in (e.args[:1] if e.op == "where" else e.args))


def _planned(plan: _Sum, made: NewTensors) -> Statement | None:
    """The last statement of a rewriting by contractions; the others are added to what is made. Nothing if none pays."""
    s = plan.statement
    axes = [plan.axes(f) for f in plan.factors]
    found = best_order(axes, frozenset(s.over))
    if found is None:
        return None
    cost, tree = found
    everything = frozenset().union(*axes)
    if len(axes) > 2 and cost >= REDUCED * volume(everything) * (len(axes) - 1):
        return None
    value = _built(tree, plan, made)
    if value is None:
        return None
    last = made.statements[-1]
    if not any(as_contraction(x, made.tensors) for x in made.statements) and len(axes) == 2:
        return None
    outside = plan.outside
    direct = not (outside.negative or outside.guards or outside.divisors or any(not is_one(f) for f in outside.factors))
    if direct and value.op == "load" and value.value[0] == last.target and set(last.axes) == set(s.axes):
        made.statements.pop()
        return replace(s, body=last.body, over=last.over)
    body = multiplied([*(f for f in outside.factors if not is_one(f)), value])
    body = quotient(body, outside.divisors)
    body = guarded(outside.guards, node("neg", (body,)) if outside.negative else body)
    return replace(s, body=body, reduce=None, over=())


def _built(tree: Tree, plan: _Sum, made: NewTensors) -> Expr | None:
    """The value of a tree: a factor, a product of values, or a load of a new tensor that holds a sum."""
    if tree.left is None or tree.right is None:
        return plan.factors[tree.leaf]
    left, right = _built(tree.left, plan, made), _built(tree.right, plan, made)
    if left is None or right is None:
        return None
    if not tree.over:
        return node("mul", (left, right))
    operands = []
    for e in (left, right):
        operand = e if is_plain(e, made.tensors) else None
        if operand is None and _reused(e, tree, plan):
            operand = as_operand(e, plan.fixed, made, plan.statement.origin)
        if operand is None:
            return None
        operands.append(operand)
    s = plan.statement
    axes = tuple(a for a in s.axes if a in tree.axes) + tuple(a for a in s.over if a in tree.axes)
    over = tuple(a for a in s.over if a in tree.over)
    body = node("mul", tuple(operands))
    name = made.define(f"{s.target}_sum", axes, body, s.origin, "sum", over)
    return load(name, [axis(a) for a in made.statements[-1].axes])


def _reused(e: Expr, tree: Tree, plan: _Sum) -> bool:
    """True if a tensor that holds the operand would be small beside the work of the sum."""
    needed = operand_volume(e, plan.fixed)
    return needed is not None and volume(needed) * REUSE <= volume(tree.axes | tree.over)
