"""Laid-out mathematics: what stands where, without saying in which language it is written.

A formula becomes a tree of these few nodes once; LaTeX, MathML and Unicode text are written from it by one small function
for each node.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Style = Literal["italic", "upright", "bold"]
Role = Literal["binary", "relation", "punctuation", "plain"]


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name: one letter, or a word that stays together."""

    text: str
    style: Style = "italic"


@dataclass(frozen=True, slots=True)
class Number:
    """Digits."""

    text: str


@dataclass(frozen=True, slots=True)
class Operator:
    """A sign between things; a line may be broken before a binary sign or a relation."""

    text: str
    role: Role = "binary"


@dataclass(frozen=True, slots=True)
class Row:
    """Things side by side."""

    items: tuple[Notation, ...]


@dataclass(frozen=True, slots=True)
class Fraction:
    """One thing over another."""

    top: Notation
    bottom: Notation


@dataclass(frozen=True, slots=True)
class Script:
    """A base with a subscript, a superscript, or both."""

    base: Notation
    sub: Notation | None = None
    sup: Notation | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Something between delimiters."""

    body: Notation
    left: str = "("
    right: str = ")"


@dataclass(frozen=True, slots=True)
class Big:
    """A sum sign, or a word such as max, with what stands below."""

    sign: str
    under: Notation | None = None


@dataclass(frozen=True, slots=True)
class Root:
    """A square root."""

    body: Notation


@dataclass(frozen=True, slots=True)
class Cases:
    """Values with their conditions."""

    rows: tuple[tuple[Notation, Notation], ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """The entries of a matrix."""

    rows: tuple[tuple[Notation, ...], ...]


@dataclass(frozen=True, slots=True)
class Below:
    """Something with a brace and a remark below it: a factor with its shape."""

    body: Notation
    remark: Notation


@dataclass(frozen=True, slots=True)
class Words:
    """Words within a formula."""

    text: str


@dataclass(frozen=True, slots=True)
class Fence:
    """One delimiter alone, whose partner stands in another line; ``size`` is the height of what it encloses."""

    text: str
    size: int
    opens: bool


Notation = Symbol | Number | Operator | Row | Fraction | Script | Group | Big | Root | Cases | Below | Words | Fence | Grid


def row(*items: Notation) -> Notation:
    """Things side by side, rows within rows laid flat."""
    flat: list[Notation] = []
    for item in items:
        flat.extend(item.items if isinstance(item, Row) else (item,))
    return flat[0] if len(flat) == 1 else Row(tuple(flat))


def separated(items: Iterable[Notation], sign: str = ",") -> Notation:
    """Things with a comma between them."""
    parts: list[Notation] = []
    for item in items:
        if parts:
            parts.append(Operator(sign, "punctuation"))
        parts.append(item)
    return row(*parts)


def height(n: Notation) -> int:
    """How tall: 1 for a line of letters, 2 with a sum sign or a fraction, 3 for these within each other."""
    match n:
        case Symbol() | Number() | Operator() | Words():
            return 1
        case Fence(_, size):
            return size
        case Row(items):
            return max((height(i) for i in items), default=1)
        case Fraction(top, bottom):
            return 1 + max(height(top), height(bottom))
        case Script(base, _, sup):
            return max(height(base), 1 if sup is None else height(sup))
        case Group(body) | Root(body):
            return height(body)
        case Below(body):
            return height(body)
        case Big():
            return 2
        case Cases(rows) | Grid(rows):
            return max(2, len(rows))


_NARROW = frozenset("ijlt,.'|()[] ")


def width(n: Notation, scale: float = 1.0) -> float:
    """An estimate of the width in ems, on the safe side; lines are broken by it."""
    match n:
        case Symbol(text, style):
            per = 0.6 if style == "italic" else 0.65 if style == "bold" else 0.58
            return scale * sum(0.42 if c in _NARROW else 0.95 if c.isupper() or c in "mw" else per for c in text)
        case Number(text) | Words(text):
            return scale * 0.52 * len(text)
        case Operator(text, role):
            return scale * ({"binary": 1.25, "relation": 1.4, "punctuation": 0.48, "plain": 0.5}[role] + 0.5 * (len(text) - 1))
        case Row(items):
            return sum(width(i, scale) for i in items) + 0.06 * scale * len(items)
        case Fraction(top, bottom):
            return 0.25 * scale + max(width(top, scale), width(bottom, scale))
        case Script(base, sub, sup):
            small = 0.72 * scale
            tails = [width(t, small) for t in (sub, sup) if t is not None]
            return width(base, scale) + max(tails) + 0.08 * scale
        case Group(body):
            return width(body, scale) + (0.9 if height(body) < 2 else 1.3) * scale
        case Big(sign, under):
            below = 0.0 if under is None else width(under, 0.72 * scale)
            return max(1.6 * scale if len(sign) == 1 else 0.58 * scale * len(sign), below) + 0.2 * scale
        case Root(body):
            return width(body, scale) + 1.0 * scale
        case Cases(rows):
            values, conditions = (max(width(r[k], scale) for r in rows) for k in (0, 1))
            return values + conditions + 3.5 * scale
        case Fence():
            return 0.5 * scale
        case Grid(rows):
            columns = zip(*rows, strict=True)
            return sum(max(width(x, scale) for x in column) + scale for column in columns) + scale
        case Below(body, remark):
            return max(width(body, scale), width(remark, 0.72 * scale))


def broken(n: Notation, first: float, rest: float) -> list[Notation]:
    """A long formula in several lines, each broken before a binary sign, outermost signs first.

    Parameters
    ----------
    n : Notation
        The formula.
    first, rest : float
        How many ems the first line and the following ones may have.
    """
    if width(n) <= first:
        return [n]
    pieces = _pieces(n)
    lines: list[list[Notation]] = [[]]
    used = 0.0
    for piece in pieces:
        wide = sum(width(i) for i in piece)
        limit = first if len(lines) == 1 else rest
        if lines[-1] and used + wide > limit:
            lines.append([])
            used = 0.0
        lines[-1] += piece
        used += wide
    return [row(*line) for line in lines if line]


def _pieces(n: Notation) -> list[list[Notation]]:
    """The parts between which a line may be broken; a group that is long itself is opened."""
    items = n.items if isinstance(n, Row) else (n,)
    pieces: list[list[Notation]] = [[]]
    for item in items:
        if isinstance(item, Operator) and item.role in ("binary", "relation") and pieces[-1]:
            pieces.append([])
        if isinstance(item, Group) and width(item) > 14.0:
            inner = _pieces(item.body)
            size = max(1, height(item.body))
            inner[0] = [Fence(item.left, size, True), *inner[0]]
            inner[-1] = [*inner[-1], Fence(item.right, size, False)]
            pieces[-1] += inner[0]
            pieces += inner[1:]
        else:
            pieces[-1].append(item)
    return pieces
