"""Fold what is known: constants, flags, branches that are never taken.

Only what is exact in floating point is folded: ``x + 0`` and ``1*x`` go, ``0*x`` stays (x may be infinite).
"""

from __future__ import annotations

from collections.abc import Mapping

from bpcompile.nodes.expressions import Expr, const, rebuild


def fold(root: Expr, flags: Mapping[str, bool] | None = None) -> Expr:
    """The expression with constants folded and the given flags set."""

    def change(e: Expr) -> Expr | None:
        if e.op == "flag" and flags is not None and e.value in flags:
            return const(flags[e.value])
        return _folded(e)

    return rebuild(root, change)


def _folded(e: Expr) -> Expr | None:
    a = e.args
    if e.op == "where":
        if a[0].op == "const":
            return a[1] if a[0].value else a[2]
        return a[1] if a[1] is a[2] else None
    if e.op == "not" and a[0].op == "const":
        return const(not a[0].value)
    if e.op in ("and", "or"):
        decisive = e.op == "or"
        for one, other in ((a[0], a[1]), (a[1], a[0])):
            if one.op == "const":
                return const(decisive) if bool(one.value) == decisive else other
        return a[0] if a[0] is a[1] else None
    if e.op == "neg" and a[0].op == "const":
        return const(-a[0].value)
    if e.op in ("add", "sub") and _is(a[1], 0) and e.kind == a[0].kind:
        return a[0]
    if e.op in ("mul", "div") and _is(a[1], 1) and e.kind == a[0].kind:
        return a[0]
    if e.op == "add" and _is(a[0], 0) and e.kind == a[1].kind:
        return a[1]
    if e.op == "mul" and _is(a[0], 1) and e.kind == a[1].kind:
        return a[1]
    if e.kind == "int" and e.op in ("add", "sub", "mul") and all(x.op == "const" for x in a):
        x, y = a[0].value, a[1].value
        return const(x + y if e.op == "add" else x - y if e.op == "sub" else x * y)
    return None


def _is(e: Expr, value: int) -> bool:
    return e.op == "const" and e.kind != "bool" and e.value == value
