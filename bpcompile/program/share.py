"""Compute each value once: value numbering across forward and backward, whatever the indices are called.

Requires a well-formed program. Establishes: no two statements compute the same tensor; where an expression is what an
earlier statement has stored, it is read from there (the backward pass uses ``a`` where it would compute ``sigmoid(z)``
again). This is the dynamic programming of backpropagation. A random draw says which element of which stream it is, so
equal draws are the same draw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bpcompile.nodes.access import bare, covers, inside, is_affine, one_to_one, reads_of_body, step_statements
from bpcompile.nodes.affine import simplify_integer
from bpcompile.nodes.expressions import (
    UNARY_FUNCTIONS,
    ZERO,
    Axis,
    Expr,
    axes_of,
    axis,
    children_first,
    const,
    load,
    loads,
    node,
    substitute,
)
from bpcompile.nodes.statements import Program, Statement, Step, Tensor, TimeLoop
from bpcompile.program.canonical import Canonical
from bpcompile.program.dead import without_dead

EXPENSIVE: Final = frozenset(UNARY_FUNCTIONS) - {"abs", "sign", "floor", "ceil", "round"} | {"div", "pow", "atan2"}
"""Operations that cost more than reading the result."""

EVERYWHERE: Final = -1
"""The scope of what has one value in the whole program; within a time loop only, the scope is the loop's position."""

_LEAVES: Final = ("const", "axis", "size", "flag", "seed")


Shape = tuple[bool, int]
"""Whether a value is that of a whole statement, and the canonical shape of the expression."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor that holds a value: its subscripts are the canonical axes of these numbers.

    ``fixed`` are the canonical axes that must be time itself, since the tensor holds the value of one iteration.
    """

    tensor: str
    numbers: tuple[int, ...]
    scope: int
    fixed: tuple[tuple[int, Axis], ...]


@dataclass(eq=False)
class _Known:
    """What has been computed so far."""

    tensors: Mapping[str, Tensor]
    scopes: Mapping[str, int]
    written_once: frozenset[str]
    canonical: Canonical
    values: dict[object, list[Stored]] = field(default_factory=dict)
    copies: dict[str, Statement] = field(default_factory=dict)
    waiting: dict[Shape, list[tuple[Statement, Expr, tuple[Axis, ...]]]] = field(default_factory=dict)
    """What is stored, by shape: a statement, the value that its target holds, the axes free around it.

    It is registered under its key when something of that shape is looked up: most keys are never needed.
    """

    def find(self, key: object, axes: tuple[Axis, ...], scope: int) -> Stored | None:
        """A tensor that holds the value here."""
        for stored in self.values.get(key, ()):
            if stored.scope in (EVERYWHERE, scope) and all(axes[k] == a for k, a in stored.fixed):
                return stored
        return None


def share(program: Program, canonical: Canonical | None = None) -> Program:
    """Replace what has been computed before by a load of it.

    Parameters
    ----------
    program : Program
    canonical : Canonical, optional
        What makes the keys; passes over one program that have the same one make each key once.
    """
    writers = Counter(s.target for s in program.statements())
    once = frozenset(name for name, count in writers.items() if count == 1)
    known = _Known(program.tensors, tensor_scopes(program), once, canonical or Canonical())
    steps: list[Step] = []
    for position, step in enumerate(program.steps):
        if isinstance(step, TimeLoop):
            body = [_shared(s, known, position, (step.axis,)) for s in step.body]
            kept = tuple(s for s in body if s is not None)
            if kept:
                steps.append(replace(step, body=kept))
        else:
            s = _shared(step, known, EVERYWHERE, ())
            if s is not None:
                steps.append(s)
    return without_dead(program.with_steps(tuple(steps)))


def tensor_scopes(program: Program) -> dict[str, int]:
    """The scope of each tensor that has one value there; those that are read between two writes are left out."""
    writers: dict[str, list[tuple[int, int]]] = {}
    for position, step in enumerate(program.steps):
        for inner, s in enumerate(step_statements(step)):
            writers.setdefault(s.target, []).append((position, inner))
    scopes = dict.fromkeys(program.tensors, EVERYWHERE)
    for position, step in enumerate(program.steps):
        for s in step_statements(step):
            if isinstance(step, TimeLoop) and step.axis not in {a for e in s.subscripts for a in axes_of(e)}:
                scopes[s.target] = position
    for position, step in enumerate(program.steps):
        for inner, s in enumerate(step_statements(step)):
            for name in reads_of_body(s):
                last = max(writers.get(name, [(-1, -1)]))
                if last[0] < position:
                    continue
                alone = len(writers[name]) == 1 and last[0] == position
                in_order = scopes.get(name) == EVERYWHERE or last[1] < inner
                if not (alone and in_order and isinstance(step, TimeLoop)):
                    scopes.pop(name, None)
    return scopes


def _shared(s: Statement, known: _Known, scope: int, free: tuple[Axis, ...]) -> Statement | None:
    """The statement with what is known replaced by loads; nothing if its whole value is known."""
    original = s
    memo: dict[Expr, Expr] = {}
    if _may_change(s, known):
        subscripts = tuple(_rewritten(e, known, scope, memo) for e in s.subscripts)
        body = _rewritten(s.body, known, scope, memo)
        if body is not s.body or subscripts != s.subscripts:
            s = replace(s, subscripts=subscripts, body=body)
    tensor = known.tensors[s.target]
    if s.accumulate or not one_to_one(s) or not covers(s, tensor.shape, free):
        return s
    if s.target not in known.scopes or s.target not in known.written_once:
        return s
    shape = (True, known.canonical.shape(s.body))
    stored = None
    if _registered(shape, known):
        key, axes = _whole_key(s, known)
        stored = known.find(key, axes, scope)
    if stored is not None:
        value = load(stored.tensor, [axis(axes[k]) for k in stored.numbers], tensor.kind)
        s = replace(s, body=_rewritten(value, known, scope, {}), reduce=None, over=())  # it may be a copy that is gone
    elif _one_value(s.body, known, scope):
        known.waiting.setdefault(shape, []).append((s, s.body, free))
    if s.reduce is None:
        if tensor.role == "temporary" and _copied(s, known):
            return None
        for body in dict.fromkeys((s.body, original.body if original.reduce is None else s.body)):
            if _worth_storing(body) and _one_value(body, known, scope):
                for value in (body, *_signs(body)):
                    known.waiting.setdefault((False, known.canonical.shape(value)), []).append((s, value, free))
    return s


def _may_change(s: Statement, known: _Known) -> bool:
    """False if nothing that the statement computes has the shape of a stored value: a quick answer for most statements."""
    shape, waiting, copies = known.canonical.shape, known.waiting, known.copies
    for root in (*s.subscripts, s.body):
        for e in children_first(root):
            if e.op == "load":
                if e.value[0] in copies:
                    return True
            elif e.args and (e.op == "stop" or (False, shape(e)) in waiting):
                return True
    return False


def _whole_key(s: Statement, known: _Known) -> tuple[object, tuple[Axis, ...]]:
    """The key of a whole statement: its body, which axes it reduces over, and those that the body does not use."""
    body, axes = known.canonical.key(s.body)
    axes = (*axes, *(a for a in (*s.axes, *s.over) if a not in axes))
    numbers = [axes.index(a) for a in s.over]
    over = tuple(numbers) if s.reduce in ("argmax", "argmin") else tuple(sorted(numbers))
    return (s.reduce, body, over, tuple(a.extent for a in axes)), axes


def _registered(shape: Shape, known: _Known) -> bool:
    """True if something of that shape is stored; it is then registered under its key."""
    waiting = known.waiting.get(shape)
    if waiting is None:
        return False
    for s, value, free in waiting:
        _register(s, *(_whole_key(s, known) if shape[0] else known.canonical.key(value)), known, free)
    waiting.clear()
    return True


def _register(s: Statement, key: object, axes: tuple[Axis, ...], known: _Known, free: tuple[Axis, ...]) -> None:
    """Note that the statement's target holds the value of the key."""
    target = [bare(e) for e in s.subscripts]
    if any(a not in axes for a in target):
        return
    numbers = tuple(axes.index(a) for a in target if a is not None)
    fixed = tuple((k, a) for k, a in enumerate(axes) if a in free and a not in target)
    known.values.setdefault(key, []).append(Stored(s.target, numbers, known.scopes[s.target], fixed))


def _copied(s: Statement, known: _Known) -> bool:
    """Note that a tensor is a copy of another one, its subscripts sums of the axes."""
    if s.body.op != "load" or not is_affine(s.body.args):
        return False
    source = known.tensors[s.body.value[0]]
    if source.name not in known.scopes or source.kind != known.tensors[s.target].kind:
        return False
    if known.scopes[source.name] != known.scopes[s.target] or not inside(s.body.args, source.shape):
        return False
    if any(a not in s.axes for e in s.body.args for a in axes_of(e)):
        return False
    known.copies[s.target] = s
    return True


def _one_value(e: Expr, known: _Known, scope: int) -> bool:
    """True if all that an expression reads has one value here."""
    return all(known.scopes.get(x.value[0], scope + 1) in (EVERYWHERE, scope) for x in loads(e))


def _worth_storing(e: Expr) -> bool:
    """True if reading the value, as part of a larger expression, beats computing it again."""
    if e.kind != "real" or e.op in _LEAVES or e.op == "load":
        return False
    if any(x.op == "draw" for x in children_first(e)):
        return True
    used = loads(e)
    return len(used) > 1 or (bool(used) and any(is_expensive(x) for x in children_first(e)))


def _signs(body: Expr) -> Iterator[Expr]:
    """``0 < z`` is ``0 < a`` where ``a = max(z, 0)`` is stored: nobody needs ``z`` itself then (NaN is not above 0)."""
    if body.op == "max" and body.args[1].op == "const" and body.args[1].value == 0:
        yield from (node("lt", (zero, body.args[0])) for zero in (body.args[1], ZERO, const(0.0)))


def is_expensive(e: Expr) -> bool:
    """True if an operation costs more than reading its result; small powers and divisions by a scalar do not."""
    if e.op == "pow" and e.args[1].op == "const":
        return e.args[1].value not in (2, 3, 4)
    return e.op in EXPENSIVE and not (e.op == "div" and not loads(e.args[1]))


def _rewritten(e: Expr, known: _Known, scope: int, memo: dict[Expr, Expr]) -> Expr:
    """The expression with what is stored replaced by loads, the largest parts first."""
    if e.op in _LEAVES:
        return e
    found = memo.get(e)
    if found is None:
        found = memo[e] = _rewritten_node(e, known, scope, memo)
    return found


def _rewritten_node(e: Expr, known: _Known, scope: int, memo: dict[Expr, Expr]) -> Expr:
    value = _looked_up(e, known, scope)
    if value is not None:
        return value
    args = tuple(_rewritten(a, known, scope, memo) for a in e.args)
    if e.op == "stop":
        return args[0]
    if e.op == "load" and e.value[0] in known.copies:
        copy = known.copies[e.value[0]]
        values = dict(zip(copy.subscripts, args, strict=True))
        return load(copy.body.value[0], [simplify_integer(substitute(x, values)) for x in copy.body.args], e.kind)
    if args == e.args:
        return e
    e = node(e.op, args, e.value)
    return _looked_up(e, known, scope) or e


def _looked_up(e: Expr, known: _Known, scope: int) -> Expr | None:
    """A load of the value, if it is stored."""
    positive = e.op == "lt" and e.args[0].op == "const" and e.args[0].value == 0
    if e.op == "load" or not (e.kind == "real" or positive):
        return None
    if not _registered((False, known.canonical.shape(e)), known):
        return None
    key, axes = known.canonical.key(e)
    stored = known.find(key, axes, scope)
    if stored is None:
        return None
    value = load(stored.tensor, [axis(axes[k]) for k in stored.numbers])
    return node("lt", (e.args[0], value)) if positive else value
