"""What a well-formed program is. Every pass requires one and gives one; the tests run this after each pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from bpcompile.nodes.access import apart, inside, is_affine, reads, step_statements
from bpcompile.nodes.expressions import ARITY, LOGIC, Axis, Expr, axes_of, children_first
from bpcompile.nodes.statements import Program, Statement, Tensor, TimeLoop

REDUCTIONS: Final = ("sum", "max", "min", "argmax", "argmin")
_GIVEN: Final = ("input", "target", "parameter", "state")
_LEAVES: Final = {"const": 0, "axis": 0, "size": 0, "flag": 0, "seed": 0}


class MalformedProgram(AssertionError):
    """A pass has produced a program that breaks a rule: a defect of the compiler, not of its input.

    Parameters
    ----------
    statement : Statement or None
        Where.
    reason : str
        Which rule.
    """

    def __init__(self, statement: Statement | None, reason: str) -> None:
        super().__init__(f"{reason}, in: {statement}" if statement else reason)
        self.statement = statement
        self.reason = reason


def verify(program: Program) -> None:
    """Raise `MalformedProgram` unless the program is well-formed.

    Each node has its arguments and kinds; every axis is bound once, and every load has its tensor's rank and kind and
    stays inside unless a ``where`` guards it; no assignment writes what a statement before it may have written;
    nothing is read before it is written, but for what an earlier iteration of a time loop wrote; what the caller gives
    is never written (parameters are, by updates); outputs are written.
    """
    for step in program.steps:
        free: tuple[Axis, ...] = (*step.outer, step.axis) if isinstance(step, TimeLoop) else ()
        for s in step_statements(step):
            _check_axes(s, free)
            for e in (*s.subscripts, s.body):
                _check_nodes(s, e, program.tensors)
            _check_target(s, program.tensors)
            _check_bounds(s, s.body, program.tensors)
    _check_order(program)


def _check_axes(s: Statement, free: tuple[Axis, ...]) -> None:
    names = [a.name for a in (*free, *s.axes, *s.over)]
    if len(set(names)) != len(names):
        raise MalformedProgram(s, f"an axis is bound twice ({', '.join(names)})")
    if bool(s.reduce) != bool(s.over) or s.reduce not in (None, *REDUCTIONS):
        raise MalformedProgram(s, f"the reduction {s.reduce} over {len(s.over)} axes means nothing")
    bound = {*free, *s.axes, *s.over}
    for e in (*s.subscripts, s.body):
        for a in axes_of(e):
            if a not in bound:
                raise MalformedProgram(s, f"the axis {a.name} (extent {a.extent}) is not bound")


def _check_nodes(s: Statement, root: Expr, tensors: Mapping[str, Tensor]) -> None:
    for e in children_first(root):
        if e.op == "load":
            name, kind = e.value
            if name not in tensors:
                raise MalformedProgram(s, f"there is no tensor {name}")
            if len(e.args) != len(tensors[name].shape) or kind != tensors[name].kind:
                raise MalformedProgram(s, f"{e} does not fit the {tensors[name].kind} tensor {tensors[name].shape}")
            if any(a.kind != "int" for a in e.args):
                raise MalformedProgram(s, f"{e} has a subscript that is not an integer")
        elif e.op == "reduce":
            raise MalformedProgram(s, f"{e} is a reduction inside an expression")
        elif e.op == "draw":
            if not e.args or e.args[-1].kind != "int":
                raise MalformedProgram(s, f"{e} does not say which element it draws")
        elif len(e.args) != {**ARITY, **_LEAVES}.get(e.op, -1):
            raise MalformedProgram(s, f"the operation {e.op} does not take {len(e.args)} arguments")
        elif e.op in LOGIC and any(a.kind != "bool" for a in e.args):
            raise MalformedProgram(s, f"{e} joins what are not conditions")
        elif e.op == "where" and e.args[0].kind != "bool":
            raise MalformedProgram(s, f"{e} selects by what is not a condition")
        elif e.op not in LOGIC and e.op != "where" and any(a.kind == "bool" for a in e.args):
            raise MalformedProgram(s, f"{e} calculates with a condition")


def _check_target(s: Statement, tensors: Mapping[str, Tensor]) -> None:
    tensor = tensors.get(s.target)
    if tensor is None:
        raise MalformedProgram(s, f"there is no tensor {s.target}")
    if tensor.role in _GIVEN and not (tensor.role == "parameter" and s.origin.phase == "update"):
        raise MalformedProgram(s, f"{s.target} is the caller's ({tensor.role}) and is written")
    if len(s.subscripts) != len(tensor.shape):
        raise MalformedProgram(s, f"{s.target} has {len(tensor.shape)} subscripts")
    if is_affine(s.subscripts) and not inside(s.subscripts, tensor.shape):
        raise MalformedProgram(s, f"the target leaves its tensor of shape {tensor.shape}")
    if s.body.kind == "bool" and not (s.reduce or "").startswith("arg"):
        raise MalformedProgram(s, "a condition is stored")
    if not s.accumulate:
        shown = {a for e in s.subscripts for a in axes_of(e)}
        for a in s.axes:
            if a not in shown and a.extent != 1:
                raise MalformedProgram(s, f"each element is written once for each {a.name}")


def _check_bounds(s: Statement, e: Expr, tensors: Mapping[str, Tensor]) -> None:
    """Loads outside every ``where`` stay inside their tensors."""
    stack, seen = [e], {e}
    while stack:
        current = stack.pop()
        if current.op == "load":
            shape = tensors[current.value[0]].shape
            if is_affine(current.args) and not inside(current.args, shape):
                raise MalformedProgram(s, f"{current} leaves its tensor of shape {shape} without a guard")
        below = current.args[:1] if current.op == "where" else current.args
        for a in below:
            if a not in seen:
                seen.add(a)
                stack.append(a)


def _check_order(program: Program) -> None:
    written: dict[str, list[Statement]] = {}
    for step in program.steps:
        in_loop = {s.target for s in step.body} if isinstance(step, TimeLoop) else set()
        for s in step_statements(step):
            for name in reads(s):
                known = name in written or name in in_loop or program.tensors[name].role in _GIVEN
                if not known and not (s.accumulate and name == s.target):
                    raise MalformedProgram(s, f"{name} is read before it is written")
            if not s.accumulate and program.tensors[s.target].role != "parameter":
                _check_disjoint(s, written.get(s.target, ()))
            written.setdefault(s.target, []).append(s)
    for name in program.outputs:
        if name not in program.tensors or (name not in written and program.tensors[name].role not in _GIVEN):
            raise MalformedProgram(None, f"the output {name} is not written")


def _check_disjoint(s: Statement, earlier: Iterable[Statement]) -> None:
    for other in earlier:
        if not apart(s.subscripts, other.subscripts):
            what = "an assignment wipes out what was added" if other.accumulate else "an element may be written twice, here and"
            raise MalformedProgram(s, f"{what} by {other}")
