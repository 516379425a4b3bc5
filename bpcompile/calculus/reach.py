"""What depends on what: the tensors between the variables and the loss, and an order in which adjoints can be collected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from bpcompile.nodes.access import REMEMBERED
from bpcompile.nodes.expressions import Expr, loads
from bpcompile.nodes.statements import Statement, Tensor


def reached_from(start: Iterable[str], statements: Sequence[Statement], tensors: Mapping[str, Tensor]) -> set[str]:
    """The real tensors that depend smoothly on those of ``start``, and these themselves."""
    moving = set(start)
    changed = True
    while changed:
        changed = False
        for s in statements:
            if s.target in moving or s.reduce in ("argmax", "argmin") or tensors[s.target].kind != "real":
                continue
            if any(e.value[0] in moving for e in differentiable_loads(s.body)):
                moving.add(s.target)
                changed = True
    return moving


def needed_for(tensor: str, writers: Mapping[str, Statement]) -> set[str]:
    """The tensors that a tensor depends on, and itself."""
    needed = {tensor}
    stack = [tensor]
    while stack:
        s = writers.get(stack.pop())
        for e in loads(s.body) if s is not None else ():
            if e.value[0] not in needed:
                needed.add(e.value[0])
                stack.append(e.value[0])
    return needed


@lru_cache(maxsize=REMEMBERED)
def differentiable_loads(body: Expr) -> tuple[Expr, ...]:
    """The real accesses that the value depends on smoothly: not those in subscripts or under a stop_gradient."""
    found: dict[Expr, None] = {}
    stack = [body]
    seen: set[Expr] = set()
    while stack:
        e = stack.pop()
        if e in seen or e.op == "stop":
            continue
        seen.add(e)
        if e.op == "load":
            if e.kind == "real":
                found.setdefault(e)
            continue
        stack.extend(reversed(e.args[1:] if e.op == "where" else e.args))
    return tuple(found)


def consumers_first(active: Sequence[str], readers: Mapping[str, list[Statement]]) -> list[str]:
    """Tensors so that the targets of a tensor's readers come before it, as far as recurrences allow."""
    live = set(active)
    order: list[str] = []
    seen: set[str] = set()
    for root in active:
        stack: list[tuple[str, bool]] = [(root, False)]
        while stack:
            tensor, finished = stack.pop()
            if finished:
                order.append(tensor)
            elif tensor not in seen:
                seen.add(tensor)
                stack.append((tensor, True))
                after = [s.target for s in readers.get(tensor, []) if s.target in live]
                stack.extend((t, False) for t in reversed(after))
    return order
