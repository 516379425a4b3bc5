"""Laid-out mathematics as one line of Unicode text, for terminals."""

from __future__ import annotations

from typing import Final

from bpcompile.derivation.notation import (
    Below,
    Big,
    Cases,
    Fence,
    Fraction,
    Grid,
    Group,
    Notation,
    Number,
    Operator,
    Root,
    Row,
    Script,
    Symbol,
    Words,
)

_SUPERSCRIPTS: Final = str.maketrans("0123456789+-−⊤", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ᵀ")
_OPEN: Final = (Operator, Big)


def plain(n: Notation) -> str:
    """The formula as one line of text."""
    match n:
        case Symbol(text) | Number(text) | Words(text):
            return text
        case Operator(text, role):
            return {"binary": f" {text} ", "relation": f" {text} ", "punctuation": f"{text} ", "plain": text}[role]
        case Row(items):
            return _row(items)
        case Fraction(top, bottom):
            return f"{_atom(top)}/{_atom(bottom)}"
        case Script(base, sub, sup):
            return _script(base, sub, sup)
        case Group(body, left, right):
            return f"{left}{plain(body)}{right}"
        case Big(sign, under):
            below = "" if under is None else f"[{plain(under)}]"
            return f"{sign}{below} "
        case Root(body):
            return f"√{_atom(body)}"
        case Cases(rows):
            return "{" + "; ".join(f"{plain(v)} {plain(c)}" for v, c in rows) + "}"
        case Grid(rows):
            lines = ["[" + ", ".join(plain(x) for x in r) + "]" for r in rows]
            return lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
        case Below(body):
            return plain(body)
        case Fence(text):
            return text


def _row(items: tuple[Notation, ...]) -> str:
    text = ""
    for k, item in enumerate(items):
        part = plain(item)
        before = items[k - 1] if k else None
        if text and before is not None and not isinstance(before, _OPEN) and _stands_apart(before, item):
            text += " "
        text += part
    return text.replace("  ", " ")


def _stands_apart(before: Notation, item: Notation) -> bool:
    """Whether a blank goes between two things: not between a function and its argument."""
    if isinstance(item, Group):
        primed = isinstance(before, Script) and isinstance(before.sup, Symbol) and before.sup.text.startswith("′")
        return not (primed or isinstance(before, (Symbol, Words)))
    return not isinstance(item, Operator)


def _atom(n: Notation) -> str:
    """The text, in parentheses unless it is one thing."""
    text = plain(n)
    if isinstance(n, Row) and n.items and n.items[0] == Operator("∂", "plain") and len(n.items) == 2:
        return text
    return f"({text})" if isinstance(n, (Row, Fraction)) and len(text) > 1 else text


def _script(base: Notation, sub: Notation | None, sup: Notation | None) -> str:
    text = plain(base.body) if isinstance(base, Group) and isinstance(base.body, Script) else _atom(base)
    lower = "" if sub is None else f"[{_subscript(sub)}]"
    if sup is None:
        return text + lower
    raised = plain(sup)
    if isinstance(sup, Group) or all(c == "′" for c in raised):
        return text + raised + lower
    if all(c in "0123456789−-⊤" for c in raised):
        return text + lower + raised.translate(_SUPERSCRIPTS)
    return f"{text}{lower}^{_atom(sup)}"


def _subscript(sub: Notation) -> str:
    if isinstance(sub, Row) and not any(isinstance(i, Operator) for i in sub.items):
        return ",".join(plain(i) for i in sub.items)
    return plain(sub).replace(", ", ",")
