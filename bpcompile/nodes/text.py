"""Expressions and statements as text in the grammar of the language: for comments in generated code and for errors."""

from __future__ import annotations

from typing import Final

from bpcompile.nodes.expressions import Expr, children_first

_INFIX: Final[dict[str, tuple[str, int]]] = {
    "or": (" or ", 1), "and": (" and ", 2), "lt": (" < ", 4), "le": (" <= ", 4), "eq": (" == ", 4), "ne": (" != ", 4),
    "add": (" + ", 5), "sub": (" - ", 5), "mul": ("*", 6), "div": ("/", 6), "floordiv": ("//", 6), "mod": (" % ", 6),
    "pow": ("**", 8),
}  # fmt: skip
_RIGHT_BINDS_TIGHTER: Final = ("sub", "div", "floordiv", "mod")

LONGEST: Final = 400
"""Characters of an expression that are written out; the rest is ``...``."""
_LEAST: Final = 4  # characters below which an operation is not begun
_ENDLESS: Final = 1 << 20


def number_text(value: float | int | bool) -> str:
    """A number that reads back exactly."""
    if isinstance(value, float) and abs(value) < 1e15 and value == int(value):
        return str(int(value))
    return repr(value)


def expression_text(root: Expr, limit: int = LONGEST) -> str:
    """The expression as a user would type it, with ``...`` for its deeper parts where it has more than `limit` characters.

    An expression of n nodes that are used many times over can have more than 2**n characters: what is too long is never
    written out.
    """
    lengths: dict[Expr, int] = {}
    for e in children_first(root):
        lengths[e] = _length(e, lengths)
    return _Writer(lengths).write(root, limit)[0]


def _length(e: Expr, lengths: dict[Expr, int]) -> int:
    """About how many characters the text has; no more than will be told apart."""
    if e.op in _INFIX:
        own = len(_INFIX[e.op][0])
    elif e.op in ("load", "draw"):
        own = len(e.value[0])
    elif e.op == "axis":
        own = len(e.value.name)
    else:
        own = len(str(e.value)) if e.op in ("const", "flag", "seed") else len(e.op)
    return min(own + sum(lengths[a] + 2 for a in e.args), _ENDLESS)


class _Writer:
    """Writes expressions whose lengths are known into a given number of characters."""

    def __init__(self, lengths: dict[Expr, int]) -> None:
        self._lengths = lengths

    def write(self, e: Expr, room: int) -> tuple[str, int]:
        """Text and binding strength (10 is an atom)."""
        if e.args and room < _LEAST:
            return "...", 10
        if e.op == "const":
            text = number_text(e.value)
            return text, 10 if not text.startswith("-") else 7
        if e.op == "axis":
            return e.value.name, 10
        if e.op == "size":
            return f"size({e.value.name})", 10
        if e.op in ("flag", "seed"):
            return str(e.value), 10
        rooms = self._rooms(e, room)
        if e.op in _INFIX:
            return self._infix(e, rooms)
        if e.op == "neg":
            return "-" + self._wrapped(e.args[0], 7, rooms[0]), 7
        if e.op == "not":
            return "not " + self._wrapped(e.args[0], 3, rooms[0]), 3
        parts = [self.write(a, r)[0] for a, r in zip(e.args, rooms, strict=True)]
        if e.op == "load":
            return (f"{e.value[0]}[{', '.join(parts)}]" if parts else e.value[0]), 10
        if e.op == "draw":
            return f"{e.value[0]}({', '.join(parts[:-1])})", 10
        if e.op == "reduce":
            kind, axes = e.value
            return f"{kind}({', '.join([parts[0], *(a.name for a in axes)])})", 10
        name = "stop_gradient" if e.op == "stop" else e.op
        return f"{name}({', '.join(parts)})", 10

    def _infix(self, e: Expr, rooms: list[int]) -> tuple[str, int]:
        sign, strength = _INFIX[e.op]
        left_needs = strength + 1 if e.op in ("pow", "lt", "le", "eq", "ne") else strength
        grouped = e.op in _RIGHT_BINDS_TIGHTER or strength == 4 or (e.op == "mul" and e.args[1].op != "mul")
        right_needs = strength + 1 if grouped else strength
        left, right = self._wrapped(e.args[0], left_needs, rooms[0]), self._wrapped(e.args[1], right_needs, rooms[1])
        return left + sign + right, strength

    def _wrapped(self, e: Expr, needed: int, room: int) -> str:
        text, strength = self.write(e, room)
        return text if strength >= needed else f"({text})"

    def _rooms(self, e: Expr, room: int) -> list[int]:
        """Room for each argument: all that it wants if there is enough, else the short ones first."""
        wanted = [self._lengths[a] for a in e.args]
        if self._lengths[e] <= room:
            return wanted
        left = max(0, room - 4 * len(wanted))
        rooms = [0] * len(wanted)
        for done, k in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
            rooms[k] = min(wanted[k], left // (len(wanted) - done))
            left -= rooms[k]
        return rooms
