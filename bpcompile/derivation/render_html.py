"""A document as one self-contained HTML file: MathML, SVG, a little style, no script, no network access."""

from __future__ import annotations

from functools import singledispatch
from html import escape
from typing import Final

from bpcompile.derivation.document import (
    Block,
    Box,
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
from bpcompile.derivation.mathml import mathml
from bpcompile.derivation.notation import Notation, Operator, broken, row
from bpcompile.emit.templates import environment

LINE: Final = 46.0


def render_html(document: Document, fragment: bool = False) -> str:
    """The whole document, or its body alone."""
    lead = f"<p>{_inline(document.lead)}</p>\n" if document.lead else ""
    body = lead + "\n".join(_section(s, k) for k, s in enumerate(document.sections, 1))
    contents = "".join(
        f'<li><a href="#{escape(s.key)}">{escape(s.title)}</a></li>' for s in document.sections
    )
    template = "html/fragment.html.j2" if fragment else "html/document.html.j2"
    return environment().get_template(template).render(title=escape(document.title), body=body, contents=contents)


def _section(section: Section, number: int) -> str:
    blocks = "\n".join(block_html(b) for b in section.blocks)
    return f'<section id="{escape(section.key)}">\n<h2>{number}. {escape(section.title)}</h2>\n{blocks}\n</section>'


def _inline(text: Text) -> str:
    return "".join(escape(part) if isinstance(part, str) else mathml(part, display=False) for part in text)


@singledispatch
def block_html(block: Block) -> str:
    """One block."""
    raise TypeError(f"{type(block).__name__} is no block")


@block_html.register
def _(block: Paragraph) -> str:
    return f"<p>{_inline(block.text)}</p>"


@block_html.register
def _(block: Likewise) -> str:
    return f"<p>{_inline(block.text)}</p>"


@block_html.register
def _(block: Bullets) -> str:
    return "<ul>" + "".join(f"<li>{_inline(i)}</li>" for i in block.items) + "</ul>"


@block_html.register
def _(block: Equation) -> str:
    anchor = f' id="{escape(block.label)}"' if block.label else ""
    return f'<div class="equation"{anchor}><table>{_rows(block)}</table></div>'


@block_html.register
def _(block: Together) -> str:
    return f'<div class="equation"><table>{"".join(map(_rows, block.blocks))}</table></div>'


def _rows(block: Equation) -> str:
    rows: list[str] = []
    for k, line in enumerate(block.lines):
        reason = _inline(line.reason)
        if k == 0 and block.beside is not None:
            remark = row(block.beside.left, Operator("=", "relation"), block.beside.lines[0].shown)
            reason = f'<span class="beside">{mathml(remark, display=False)}</span>' + (f" ({reason})" if reason else "")
        parts: list[Notation] = broken(line.shown, LINE, LINE)
        for m, part in enumerate(parts):
            left = mathml(block.left) if k == 0 and m == 0 else ""
            sign = f"<math><mo>{line.relation}</mo></math>" if m == 0 else ""
            why = reason if m == len(parts) - 1 else ""
            rows.append(
                f'<tr><td class="left">{left}</td><td>{sign}</td><td class="right">{mathml(part)}</td>'
                f'<td class="why">{why}</td></tr>'
            )
    return "".join(rows)


@block_html.register
def _(block: Table) -> str:
    head = "".join(f"<th>{_inline(c)}</th>" for c in block.head)
    body = "".join(
        "<tr>" + "".join(f"<td{_side(k, block)}>{_inline(c)}</td>" for k, c in enumerate(r)) + "</tr>" for r in block.rows
    )
    return f'<div class="scroll"><table class="data"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _side(column: int, block: Table) -> str:
    return ' class="number"' if column in block.right else ""


@block_html.register
def _(block: Picture) -> str:
    return f'<div class="scroll">{svg(block)}</div>'


@block_html.register
def _(block: Details) -> str:
    inner = "\n".join(block_html(b) for b in block.blocks)
    return f"<details open><summary>{_inline(block.title)}</summary>\n{inner}\n</details>"


@block_html.register
def _(block: Boxed) -> str:
    return f'<div class="boxed">{"".join(block_html(b) for b in block.blocks)}</div>'


# --- the picture -----------------------------------------------------------------------------------------------------------

_STEP: Final = 170
_ROW: Final = 84


def svg(picture: Picture) -> str:
    """The graph as SVG."""
    half = max(58, 5 + max(4 * len(t) for b in picture.boxes if b.kind == "layer" for t in b.lines[:1]))
    step = max(_STEP, 2 * half + 44)
    wide = max(b.column for b in picture.boxes) * step + 2 * half + 34
    high = (max(b.row for b in picture.boxes) + 1) * _ROW
    at = {b.name: (b.column * step + half + 17, b.row * _ROW + _ROW // 2) for b in picture.boxes}
    side = {b.name: _reach(b, half) for b in picture.boxes}
    parts = [
        f'<svg viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" role="img" aria-label="The network as a graph">',
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L10 5L0 10z"/></marker></defs>',
    ]
    columns = {b.name: b.column for b in picture.boxes}
    for a, b, _ in picture.arrows:
        (x1, y1), (x2, y2) = at[a], at[b]
        bend = f"Q{(x1 + x2) / 2:.0f} {min(y1, y2) - 60} " if columns[b] - columns[a] > 1 and y1 == y2 else ""
        head = "L" if not bend else ""
        start, end = x1 + side[a], x2 - side[b] - 3
        parts.append(f'<path class="arrow" d="M{start} {y1} {bend}{head}{end} {y2}" marker-end="url(#arrow)"/>')
    for box in picture.boxes:
        x, y = at[box.name]
        if box.kind != "leaf":
            reach, tall, round_ = (26, 26, 26) if box.kind == "loss" else (half, 30, 6)
            frame = f'x="{x - reach}" y="{y - tall}" width="{2 * reach}" height="{2 * tall}" rx="{round_}"'
            parts.append(f"<rect {frame}/>")
        start = y - 8 * (len(box.lines) - 1) + 4
        for k, text in enumerate(box.lines):
            kind = "name" if k == 0 else "note"
            parts.append(f'<text class="{kind}" x="{x}" y="{start + 16 * k}">{escape(text)}</text>')
    return "".join([*parts, "</svg>"])


def _reach(box: Box, half: int) -> int:
    """How far a box reaches to each side of its middle."""
    if box.kind == "layer":
        return half
    return 26 if box.kind == "loss" else 12 + 4 * max(map(len, box.lines))
