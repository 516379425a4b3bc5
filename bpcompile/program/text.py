"""Expressions and statements as text in the grammar of the language: for comments in generated code and for errors."""

from __future__ import annotations

from typing import Final

from bpcompile.program.nodes import Expr

_INFIX: Final[dict[str, tuple[str, int]]] = {
    "or": (" or ", 1), "and": (" and ", 2), "lt": (" < ", 4), "le": (" <= ", 4), "eq": (" == ", 4), "ne": (" != ", 4),
    "add": (" + ", 5), "sub": (" - ", 5), "mul": ("*", 6), "div": ("/", 6), "floordiv": ("//", 6), "mod": (" % ", 6),
    "pow": ("**", 8),
}  # fmt: skip
_RIGHT_BINDS_TIGHTER: Final = ("sub", "div", "floordiv", "mod")


def number_text(value: float | int | bool) -> str:
    """A number that reads back exactly."""
    if isinstance(value, float) and abs(value) < 1e15 and value == int(value):
        return str(int(value))
    return repr(value)


def expression_text(root: Expr) -> str:
    """The expression as a user would type it."""
    return _text(root)[0]


def _text(e: Expr) -> tuple[str, int]:
    """Text and binding strength (10 is an atom)."""
    if e.op == "const":
        text = number_text(e.value)
        return text, 10 if not text.startswith("-") else 7
    if e.op == "axis":
        return e.value.name, 10
    if e.op == "size":
        return f"size({e.value.name})", 10
    if e.op == "load":
        name = e.value[0]
        return (f"{name}[{', '.join(_text(a)[0] for a in e.args)}]" if e.args else name), 10
    if e.op in ("flag", "seed"):
        return str(e.value), 10
    if e.op == "draw":
        return f"{e.value[0]}({', '.join(_text(a)[0] for a in e.args[:-1])})", 10
    if e.op == "reduce":
        kind, axes = e.value
        return f"{kind}({', '.join([_text(e.args[0])[0], *(a.name for a in axes)])})", 10
    if e.op == "neg":
        return "-" + _wrapped(e.args[0], 7), 7
    if e.op == "not":
        return "not " + _wrapped(e.args[0], 3), 3
    if e.op in _INFIX:
        sign, strength = _INFIX[e.op]
        left_needs = strength + 1 if e.op in ("pow", "lt", "le", "eq", "ne") else strength
        grouped = e.op in _RIGHT_BINDS_TIGHTER or strength == 4 or (e.op == "mul" and e.args[1].op != "mul")
        right_needs = strength + 1 if grouped else strength
        return _wrapped(e.args[0], left_needs) + sign + _wrapped(e.args[1], right_needs), strength
    name = "stop_gradient" if e.op == "stop" else e.op
    return f"{name}({', '.join(_text(a)[0] for a in e.args)})", 10


def _wrapped(e: Expr, needed: int) -> str:
    text, strength = _text(e)
    return text if strength >= needed else f"({text})"
