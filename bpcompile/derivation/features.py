"""What is special about an equation, read off its indices: convolution, pooling, recurrence, lookup, products of values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bpcompile.derivation.context import Context
from bpcompile.derivation.view import is_batch, whole
from bpcompile.nodes.affine import affine
from bpcompile.nodes.expressions import Axis, Expr, children_first, loads
from bpcompile.nodes.statements import Statement


@dataclass(frozen=True, slots=True)
class Feature:
    """A kind of equation, the tensor that it defines, and the tensors whose adjoints show what becomes of it."""

    kind: str
    target: str
    sources: tuple[str, ...]


def features(context: Context) -> list[Feature]:
    """The features of all equations of a network, in the order of the forward pass."""
    found: list[Feature] = []
    for s in context.forward.values():
        if s.target in context.own:
            found += _of(context, s)
    return list(dict.fromkeys(found))


def _of(context: Context, s: Statement) -> Iterator[Feature]:
    e = whole(s)
    if any(a.name in context.time for a in s.axes) and _reads_itself(context, s):
        yield Feature("recurrence", s.target, (s.target,))
    for x in children_first(e):
        if x.op != "reduce":
            continue
        kind, over = x.value
        inside = [y for y in loads(x.args[0]) if y.kind == "real"]
        if kind == "sum":
            windowed = [y for y in inside if _is_window(y, over)]
            if windowed and len(inside) > 1:
                yield Feature("convolution", s.target, tuple(dict.fromkeys(y.value[0] for y in inside)))
            computed = [y.value[0] for y in inside if context.tensor(y.value[0]).role == "temporary"]
            if len(dict.fromkeys(computed)) > 1 and not windowed and len(over) == 1 and _is_product(x.args[0]):
                yield Feature("product of values", s.target, tuple(dict.fromkeys(computed)))
        if kind in ("max", "min"):
            yield Feature("maximum", s.target, tuple(dict.fromkeys(y.value[0] for y in inside)))
        if kind == "mean" and len(inside) == 1 and not any(is_batch(a) for a in over):
            source = inside[0].value[0]
            if len(_readers(context, source)) > 1:
                yield Feature("statistic", s.target, (source,))
    looked_up = [y for y in loads(e) if y.kind == "real" and any(loads(i) for i in y.args)]
    for y in looked_up:
        if context.tensor(y.value[0]).role == "parameter":
            yield Feature("lookup", s.target, (y.value[0],))
    if any(".draw" in y.value[0] for y in loads(e)):
        yield Feature("noise", s.target, tuple(y.value[0] for y in loads(e) if y.value[0] in context.own))


def _is_product(e: Expr) -> bool:
    return e.op == "mul" and all(a.op == "load" for a in e.args)


def _is_window(e: Expr, over: tuple[Axis, ...]) -> bool:
    """True for ``x[2*i + p - 1]`` summed over ``p``: a subscript of a summed and of a free index."""
    for s in e.args:
        axes = [t.value for t, _ in affine(s).terms if t.op == "axis"]
        if any(a in over for a in axes) and any(a not in over for a in axes):
            return True
    return False


def _reads_itself(context: Context, s: Statement) -> bool:
    """Whether a tensor depends on itself at another time, perhaps through other tensors."""
    seen: set[str] = set()
    stack = [s.target]
    while stack:
        current = context.forward.get(stack.pop())
        for x in loads(whole(current)) if current is not None else ():
            name = x.value[0]
            if name == s.target:
                return True
            if name not in seen:
                seen.add(name)
                stack.append(name)
    return False


def _readers(context: Context, tensor: str) -> list[str]:
    return [s.target for s in context.forward.values() if any(x.value[0] == tensor for x in loads(whole(s)))]
