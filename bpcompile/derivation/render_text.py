"""A document as Unicode text for a terminal."""

from __future__ import annotations

import textwrap
from functools import singledispatch
from typing import Final

from bpcompile.derivation.document import (
    Block,
    Boxed,
    Bullets,
    Details,
    Document,
    Equation,
    Likewise,
    Paragraph,
    Picture,
    Section,
    Table,
    Text,
    Together,
)
from bpcompile.derivation.notation import broken
from bpcompile.derivation.plain import plain

WIDTH: Final = 100
LINE: Final = 42.0
"""How many ems a line of a formula may have."""


def render_text(document: Document) -> str:
    """The whole document."""
    head = [document.title, "=" * len(document.title), ""]
    if document.lead:
        head += [_filled(_inline(document.lead)), ""]
    return "\n".join([*head, *(_section(s, k) for k, s in enumerate(document.sections, 1))]).rstrip() + "\n"


def _section(section: Section, number: int) -> str:
    title = f"{number}. {section.title}"
    return "\n".join([title, "-" * len(title), "", *(block_text(b) + "\n" for b in section.blocks)])


def _inline(text: Text) -> str:
    return "".join(part if isinstance(part, str) else plain(part) for part in text)


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent)


@singledispatch
def block_text(block: Block) -> str:
    """One block."""
    raise TypeError(f"{type(block).__name__} is no block")


@block_text.register
def _(block: Paragraph) -> str:
    return _filled(_inline(block.text))


@block_text.register
def _(block: Likewise) -> str:
    return _filled(_inline(block.text))


@block_text.register
def _(block: Bullets) -> str:
    return "\n".join(_filled(f"- {_inline(item)}", "  ") for item in block.items)


@block_text.register
def _(block: Equation) -> str:
    return _equation(block, 0)


def _equation(block: Equation, wide: int) -> str:
    """The lines of an equation, its left side at least so wide."""
    left = plain(block.left).rjust(wide)
    lines: list[str] = []
    for k, line in enumerate(block.lines):
        *first, last = broken(line.shown, LINE, LINE)
        blank = " " * len(left)
        start = f"    {left if k == 0 else blank} {line.relation} "
        for part in first:
            lines.append(start + plain(part).strip())
            start = " " * (len(start) + 2)
        head = start + plain(last).strip()
        reason = _inline(line.reason)
        if k == 0 and block.beside is not None:
            reason = f"{plain(block.beside.left)} = {plain(block.beside.lines[0].shown)}" + (f";  {reason}" if reason else "")
        if not reason:
            lines.append(head)
        elif len(head) + len(reason) + 4 <= WIDTH:
            lines.append(head + " " * (WIDTH - len(head) - len(reason) - 2) + f"({reason})")
        else:
            lines += [head, f"({reason})".rjust(WIDTH)]
    return "\n".join(lines)


@block_text.register
def _(block: Table) -> str:
    cells = [[_inline(c) for c in r] for r in (block.head, *block.rows)]
    widths = [max(len(r[k]) for r in cells) for k in range(len(cells[0]))]
    lines = []
    for r in cells:
        laid = [c.rjust(w) if k in block.right else c.ljust(w) for k, (c, w) in enumerate(zip(r, widths, strict=True))]
        lines.append(("    " + "  ".join(laid)).rstrip())
    lines.insert(1, "    " + "  ".join("─" * w for w in widths))
    return "\n".join(lines)


@block_text.register
def _(block: Picture) -> str:
    names = {box.name: box.lines[0] for box in block.boxes}
    return "\n".join(f"    {names[a]} ──▶ {names[b]}" for a, b, _ in block.arrows)


@block_text.register
def _(block: Details) -> str:
    return "\n\n".join([_filled(_inline(block.title)), *(block_text(b) for b in block.blocks)])


@block_text.register
def _(block: Together) -> str:
    wide = max(len(plain(e.left)) for e in block.blocks)
    return "\n".join(_equation(e, wide) for e in block.blocks)


@block_text.register
def _(block: Boxed) -> str:
    return "\n".join(block_text(b) for b in block.blocks)
