"""Layers that are alike are told once: what differs in the names of layers alone is said in a sentence.

Two pieces of a document are alike if their formulas are the same once every layer's name, in the order of first
appearance, is replaced by a number. All equations stay in the document, so that all are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Final

from bpcompile.derivation.document import Block, Details, Equation, Inline, Likewise, Text, Together
from bpcompile.derivation.notation import Group, Notation, Number, Script, Symbol
from bpcompile.derivation.plain import plain

FEW: Final = 24
"""So many pieces are told one by one, alike or not."""

LISTED: Final = 3
"""With so many others alike, the names of all the layers that take part are listed."""

Labels = tuple[Notation, ...]


@dataclass(frozen=True)
class Piece:
    """Blocks that belong together, and the formulas by which they are compared."""

    blocks: tuple[Block, ...]
    compared: tuple[Inline, ...]


def signature(parts: Iterable[Inline]) -> tuple[str, Labels]:
    """The formulas with numbers for layers, and the layers' names in the order of those numbers."""
    seen: dict[Notation, int] = {}
    key = "\n".join(p if isinstance(p, str) else plain(_numbered(p, seen)) for p in parts)
    return key, tuple(seen)


def _numbered(n: Any, seen: dict[Notation, int]) -> Any:
    if isinstance(n, tuple):
        return tuple(_numbered(x, seen) for x in n)
    if isinstance(n, Script) and isinstance(n.sup, Group) and isinstance(n.sup.body, (Symbol, Number)):
        base = _numbered(n.base, seen)
        number = seen.setdefault(n.sup, len(seen))
        return Script(base, _numbered(n.sub, seen), Symbol(f"#{number}"))
    if is_dataclass(n) and not isinstance(n, (Symbol, Number, type)):
        return replace(n, **{f.name: _numbered(getattr(n, f.name), seen) for f in fields(n)})
    return n


def shown_by(equation: Equation) -> tuple[Inline, ...]:
    """The formulas of an equation, and of what stands beside it."""
    parts: list[Inline] = [equation.left, *(x.shown for x in equation.lines)]
    if equation.beside is not None:
        parts += [equation.beside.left, *(x.shown for x in equation.beside.lines)]
    return tuple(parts)


def piece(*blocks: Block) -> Piece:
    """Blocks compared by the equations among them."""
    return Piece(blocks, tuple(p for b in blocks for e in _equations(b) for p in shown_by(e)))


def _equations(block: Block) -> list[Equation]:
    if isinstance(block, Equation):
        return [block]
    if isinstance(block, (Details, Together)):
        return [e for b in block.blocks for e in _equations(b)]
    return []


def folded(pieces: Sequence[Piece], joined: Callable[[list[Block]], list[Block]] = list) -> list[Block]:
    """The blocks of all pieces, or of those that are not alike, each group followed by a sentence about the others.

    Parameters
    ----------
    pieces : sequence of Piece
        In order.
    joined : callable
        Puts the blocks of neighbouring pieces together.
    """
    if len(pieces) <= FEW:
        return joined([b for p in pieces for b in p.blocks])
    groups: dict[str, list[tuple[Piece, Labels]]] = {}
    for p in pieces:
        key, labels = signature(p.compared)
        groups.setdefault(key, []).append((p, labels))
    blocks: list[Block] = []
    pending: list[list[tuple[Piece, Labels]]] = []
    for group in groups.values():
        if pending and _owners(pending[-1]) != _owners(group):
            blocks += _told(pending, joined)
            pending = []
        pending.append(group)
    return [*blocks, *_told(pending, joined)]


def _owners(group: list[tuple[Piece, Labels]]) -> list[Labels]:
    """The first layer of each piece: that of the left side."""
    return [labels[:1] for _, labels in group]


def _told(groups: list[list[tuple[Piece, Labels]]], joined: Callable[[list[Block]], list[Block]]) -> list[Block]:
    """The first piece of each group, then a sentence about the others, who are alike in all groups."""
    if not groups:
        return []
    first = joined([b for group in groups for b in group[0][0].blocks])
    if len(groups[0]) == 1:
        return first
    names = [tuple(dict.fromkeys(x for group in groups for x in group[k][1])) for k in range(len(groups[0]))]
    hidden = [e for group in groups for p, _ in group[1:] for b in p.blocks for e in _equations(b)]
    return [*first, Likewise(_sentence(names), tuple(hidden))]


def _sentence(names: Sequence[Labels]) -> Text:
    if len(names[0]) > 1 and len(names) > LISTED:
        owners = _listed(tuple(labels[0] for labels in names[1:]))
        rest = (", with their neighbours in the picture in the places of ", *_listed(names[0][1:]), ".")
        return ("The same holds for ", *owners, " in the place of ", names[0][0], *rest)
    words: list[Inline] = ["The same holds with "]
    for k, labels in enumerate(names[1:]):
        words += ["; " if k else "", *_listed(labels)]
    return (*words, " in the place of ", *_listed(names[0]), ".")


def _listed(labels: Labels) -> list[Inline]:
    """Names with commas between, which a line may be broken after."""
    return [x for k, label in enumerate(labels) for x in (([", "] if k else []) + [label])]


def side_by_side(blocks: list[Block]) -> list[Block]:
    """Neighbouring equations aligned with each other."""
    equations = tuple(b for b in blocks if isinstance(b, Equation))
    return [Together(equations)] if equations else []


def folded_rows(rows: Sequence[tuple[Text, ...]], differing: int = 0) -> list[tuple[Text, ...]]:
    """Rows of a table (or items of a list, as rows of one cell), those that are alike as one, with their number.

    The last ``differing`` cells are not compared.
    """
    if len(rows) <= FEW:
        return list(rows)
    groups: dict[str, list[tuple[Text, ...]]] = {}
    for r in rows:
        key, _ = signature(p for cell in r[: len(r) - differing] for p in cell)
        groups.setdefault(key, []).append(r)
    return [(*g[0][:-1], g[0][-1] if len(g) == 1 else (*g[0][-1], f"; {len(g) - 1} more like it")) for g in groups.values()]
