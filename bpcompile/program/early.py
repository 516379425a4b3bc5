"""Slopes computed in the forward phase, where their argument still is in a register.

Requires a well-formed program, values numbered. Establishes: where the backward phase reads a tensor of the forward one
only to compute an expensive function of it, such as the slope of ``gelu`` at ``z``, the forward phase stores that function's
value and the tensor itself need not be kept: the same memory, and ``tanh(z)`` is computed once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from bpcompile.nodes.access import bare, inside, is_affine, reads, step_statements
from bpcompile.nodes.expressions import UNARY_FUNCTIONS, Axis, Expr, axes_of, children_first, load, loads, node, substitute
from bpcompile.nodes.statements import Program, Statement, Step, TimeLoop
from bpcompile.program.operands import NewTensors
from bpcompile.program.product import without_factor
from bpcompile.program.share import EXPENSIVE

_SLOW = EXPENSIVE & frozenset(UNARY_FUNCTIONS)


@dataclass(frozen=True, slots=True)
class _Slope:
    """An expression of forward values, the tensor that it makes needless, and the step after which it is known."""

    expression: Expr
    tensor: str
    after: int


def slopes_early(program: Program) -> Program:
    """Store expensive functions of forward values instead of what they are functions of."""
    writers = Counter(s.target for s in program.statements())
    ready: dict[str, int] = {}
    inner: set[str] = set()
    for position, step in enumerate(program.steps):
        for s in step_statements(step):
            if isinstance(step, TimeLoop) or writers[s.target] > 1:
                inner.add(s.target)
            elif s.origin.phase == "forward":
                ready[s.target] = position
    given = {t.name for t in program.tensors.values() if t.role in ("input", "target", "parameter", "state")}
    known = {**dict.fromkeys(given - inner, -1), **ready}
    readers = Counter(name for s in program.statements() if s.origin.phase == "backward" for name in reads(s))
    made = NewTensors(dict(program.tensors))
    steps: list[Step] = []
    added: dict[int, list[Statement]] = {}
    for step in program.steps:
        if not isinstance(step, TimeLoop) and step.origin.phase == "backward":
            whole = _slope_apart(step, known)
            for slope in list(_slopes(whole, program, known, readers)):
                step = whole = _stored(whole, slope, program, made, added)
        steps.append(step)
    if not added:
        return program
    ordered = [s for position, step in enumerate(steps) for s in (step, *added.get(position, ()))]
    return program.with_steps(tuple(ordered), made.tensors)


def _slope_apart(s: Statement, known: Mapping[str, int]) -> Statement:
    """The statement as its one value of the backward phase times a slope of forward values, if it is that."""
    late = dict.fromkeys(x for x in loads(s.body) if x.value[0] not in known)
    factor = next(iter(late)) if len(late) == 1 else None
    slope = without_factor(s.body, factor) if factor is not None and s.reduce is None else None
    return s if factor is None or slope is None else replace(s, body=node("mul", (factor, slope)))


def _slopes(
    s: Statement, program: Program, known: Mapping[str, int], readers: Mapping[str, int]
) -> Iterator[_Slope]:
    """The largest expressions of forward values that are worth storing."""
    taken: set[str] = set()
    for e in _largest(s.body, known):
        used = list(loads(e))
        axes = set(axes_of(e))
        if not any(x.op in _SLOW for x in children_first(e)) or any(x.op == "draw" for x in children_first(e)):
            continue
        if not all(is_affine(x.args) and inside(x.args, program.tensors[x.value[0]].shape) for x in used):
            continue
        if e.kind != "real" or not axes <= {*s.axes, *s.over}:
            continue
        for name in dict.fromkeys(x.value[0] for x in used):
            if name in taken or readers[name] != 1 or program.tensors[name].role != "temporary":
                continue
            if _only_here(s.body, e, name) and all(_whole(x, axes) for x in used if x.value[0] == name):
                taken.add(name)
                yield _Slope(e, name, max(known[x.value[0]] for x in used))
                break


def _largest(e: Expr, known: Mapping[str, int]) -> Iterator[Expr]:
    """The outermost expressions that read forward values, and nothing else."""
    stack, seen = [e], {e}
    while stack:
        current = stack.pop()
        used = loads(current)
        if used and all(x.value[0] in known for x in used):
            if current.op != "load":
                yield current
            continue
        for a in reversed(current.args):
            if a not in seen:
                seen.add(a)
                stack.append(a)


def _whole(x: Expr, axes: set[Axis]) -> bool:
    """True if a load goes through its tensor element by element, once over exactly these axes."""
    own = [bare(i) for i in x.args]
    return None not in own and len(set(own)) == len(own) and set(own) == axes


def _only_here(body: Expr, e: Expr, tensor: str) -> bool:
    """True if a body reads the tensor within one of its parts only."""
    marker = load("", ())
    rest = substitute(body, {e: marker})
    return all(x.value[0] != tensor for x in loads(rest))


def _stored(
    s: Statement, slope: _Slope, program: Program, made: NewTensors, added: dict[int, list[Statement]]
) -> Statement:
    """Define the tensor of the slope in the forward phase; the statement reads it."""
    shape = next(x for x in loads(slope.expression) if x.value[0] == slope.tensor).args
    axes = tuple(a for a in map(bare, shape) if a is not None)
    after = program.steps[slope.after]
    origin = replace(s.origin, phase="forward", call=after.origin.call if isinstance(after, Statement) else s.origin.call)
    made.statements = []
    name = made.define(f"{slope.tensor}_slope", axes, slope.expression, origin)
    added.setdefault(slope.after, []).extend(made.statements)
    value = load(name, made.statements[0].subscripts)
    return replace(s, body=substitute(s.body, {slope.expression: value}))
