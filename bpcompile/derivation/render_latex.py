"""A document as LaTeX for plain pdflatex: amsmath, TikZ for the picture, nothing else."""

from __future__ import annotations

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
    Line,
    Paragraph,
    Picture,
    Section,
    Table,
    Text,
    Together,
)
from bpcompile.derivation.latex import escaped, latex
from bpcompile.derivation.notation import Notation, broken, height, width
from bpcompile.emit.templates import environment

RELATIONS: Final = {"⇒": r"\Rightarrow\;", "←": r"\leftarrow"}

ROWS: Final = 20
"""How many layers stand below one another in a picture."""

LINE: Final = 38.0
TABLE: Final = 41.0
SMALL: Final = 1.22
"""How much more fits into a line of a table that is set small."""

CELL: Final = 16.0
"""The width of a line of text, and of a formula in a table, in ems."""


def render_latex(document: Document, fragment: bool = False) -> str:
    """The whole document, or a fragment for another one."""
    body = "\n".join(_section(s) for s in document.sections)
    if document.lead:
        body = f"{_inline(document.lead)}\n\n{body}"
    template = environment().get_template(f"latex/{'fragment' if fragment else 'document'}.tex.j2")
    return template.render(title=escaped(document.title), body=body)


def _section(section: Section) -> str:
    command = "section" if section.level == 1 else "subsection"
    return "\n".join([rf"\{command}{{{escaped(section.title)}}}", "", joined(section.blocks), ""])


def joined(blocks: tuple[Block, ...]) -> str:
    """Blocks one after the other: displayed mathematics belongs to the paragraph before it."""
    text = ""
    for block in blocks:
        display = isinstance(block, (Equation, Together, Boxed))
        text += ("\n" if display else "\n\n") * bool(text) + block_latex(block)
    return text


def _inline(text: Text) -> str:
    return "".join(escaped(part) if isinstance(part, str) else f"${latex(part)}$" for part in text)


@singledispatch
def block_latex(block: Block) -> str:
    """One block."""
    raise TypeError(f"{type(block).__name__} is no block")


@block_latex.register
def _(block: Paragraph) -> str:
    return _inline(block.text)


@block_latex.register
def _(block: Likewise) -> str:
    return _inline(block.text)


@block_latex.register
def _(block: Bullets) -> str:
    return "\n".join([r"\begin{itemize}\raggedright", *(rf"\item {_inline(i)}" for i in block.items), r"\end{itemize}"])


@block_latex.register
def _(block: Equation) -> str:
    return _aligned((block,))


@block_latex.register
def _(block: Together) -> str:
    return _aligned(block.blocks)


def _aligned(equations: tuple[Equation, ...]) -> str:
    room = LINE - max(width(e.left) for e in equations) - 3.0
    rows: list[str] = []
    for equation in equations:
        for k, line in enumerate(equation.lines):
            rows += _rows(line, latex(equation.left) if k == 0 else "", room, equation.beside if k == 0 else None)
    body = " \\\\\n".join(rows)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"


def _rows(line: Line, left: str, room: float, beside: Equation | None) -> list[str]:
    """One line of an equation as rows: broken where it is long, its reason at the right margin."""
    relation = RELATIONS.get(line.relation, line.relation)
    rows = []
    for m, part in enumerate(broken(line.shown, room, room - 2.0)):
        body = _fitted(part, room if m == 0 else room - 2.0)
        rows.append(f"{left} &{relation} {body}" if m == 0 else rf"&\qquad {body}")
        left = ""
    reason = _inline(line.reason)
    if beside is not None:
        shown = beside.lines[0].shown
        if width(beside.left) + width(shown) > LINE - 4.0:
            inner = broken(shown, room - width(beside.left) - 6.0, room - 8.0)
            rows.append(rf"&\qquad {latex(beside.left)} = {_fitted(inner[0], room - width(beside.left) - 6.0)}")
            rows += [rf"&\qquad\qquad {_fitted(i, room - 8.0)}" for i in inner[1:]]
        else:
            remark = f"${latex(beside.left)} = {latex(shown)}$"
            reason = rf"\small {reason}\qquad \normalsize {remark}" if reason else rf"\normalsize {remark}"
    if reason:
        rows[-1] += rf" \tag*{{\small {reason}}}"
    return rows


def _fitted(part: Notation, room: float) -> str:
    """A part that cannot be broken any further is set smaller, if it must be."""
    wide = width(part)
    body = latex(part)
    return body if wide <= room + 2.0 else rf"\scalebox{{{max(room, 4.0) / wide:.2f}}}{{$\displaystyle {body}$}}"


@block_latex.register
def _(block: Table) -> str:
    stretch = max((height(p) for r in block.rows for c in r for p in c if not isinstance(p, str)), default=1)
    rows = [" & ".join(_cell(c) for c in r) + r" \\" for r in block.rows]
    gap = r"\addlinespace" if stretch > 1 else ""
    head = " & ".join(_inline(c) for c in block.head) + r" \\"
    body = f"\n{gap}\n".join(rows) if gap else "\n".join(rows)
    lines = [rf"\begin{{longtable}}[l]{{@{{\quad}}{_columns(block)}@{{}}}}", r"\toprule", head, r"\midrule", r"\endhead", body]
    table = "\n".join([*lines, r"\bottomrule", r"\end{longtable}"])
    return rf"{{\footnotesize\setlength{{\tabcolsep}}{{4pt}}{table}}}" if _is_wide(block) else table


def _is_wide(block: Table) -> bool:
    """Whether a table fits only if it is set small."""
    count = len(block.head)
    rigid = [max(_rigid_width(r[k]) for r in (block.head, *block.rows)) for k in range(count)]
    numbers = [max(_text_width(r[k]) for r in (block.head, *block.rows)) for k in block.right]
    return sum(r for k, r in enumerate(rigid) if k not in block.right) + sum(numbers) + 1.1 * count > TABLE


def _columns(block: Table) -> str:
    """Column types; where the table is too wide, its columns of words are broken into lines."""
    count = len(block.head)
    wide = [max(_text_width(r[k]) for r in (block.head, *block.rows)) for k in range(count)]
    rigid = [max(_rigid_width(r[k]) for r in (block.head, *block.rows)) for k in range(count)]
    kinds = ["r" if k in block.right else "l" for k in range(count)]
    excess = sum(wide) + 1.1 * count - TABLE * (SMALL if _is_wide(block) else 1.0)
    slack = [0.0 if kinds[k] == "r" else wide[k] - rigid[k] for k in range(count)]
    share = min(1.0, excess / sum(slack)) if excess > 0 and sum(slack) > 0 else 0.0
    for k in range(count):
        if share * slack[k] > 0:
            kinds[k] = rf">{{\raggedright\arraybackslash}}p{{{wide[k] - share * slack[k]:.1f}em}}"
    return "".join(kinds)


def _rigid_width(text: Text) -> float:
    """The width of the longest part that cannot be broken."""
    words = [w for p in text if isinstance(p, str) for w in p.replace("_", "_ ").replace(".", ". ").split()]
    formulas = [width(x) for p in text if not isinstance(p, str) for x in broken(p, CELL, CELL)]
    return max([2.0, *formulas, *(0.55 * len(w) for w in words)])


def _text_width(text: Text) -> float:
    return sum(0.5 * len(p) if isinstance(p, str) else width(p) for p in text)


def _cell(text: Text) -> str:
    """A cell: long names may be broken at their dots and underscores."""
    parts = []
    for p in text:
        if isinstance(p, str):
            breakable = escaped(p).replace(r"\_", r"\_\allowbreak{}").replace(".", r".\allowbreak{}")
            parts.append(breakable if "_" in p else escaped(p))
        else:
            parts.append(" ".join(f"${latex(x)}$" for x in broken(p, CELL, CELL)))
    return "".join(parts)


@block_latex.register
def _(block: Picture) -> str:
    lines = [r"\begin{center}", r"\begin{tikzpicture}[bpnetwork]"]
    last = max(b.column for b in block.boxes)
    step = min(3.4, 14.5 / max(1, last))
    if step < 2.2:
        return _wrapped_picture(block)
    names = {box.name: f"b{k}" for k, box in enumerate(block.boxes)}
    for box in block.boxes:
        label = r" \\ ".join(escaped(t) if k == 0 else rf"\scriptsize {escaped(t)}" for k, t in enumerate(box.lines))
        place = f"({box.column * step:.2f},{-1.6 * box.row:.2f})"
        lines.append(rf"\node[bp{box.kind}] ({names[box.name]}) at {place} {{{label}}};")
    lines += [rf"\draw[bparrow] ({names[a]}) -- ({names[b]});" for a, b, _ in block.arrows]
    return "\n".join([*lines, r"\end{tikzpicture}", r"\end{center}"])


def _wrapped_picture(block: Picture) -> str:
    """A long network runs from top to bottom, a very long one in several columns."""
    lines = [r"\begin{center}", r"\begin{tikzpicture}[bpnetwork]"]
    names = {box.name: f"b{k}" for k, box in enumerate(block.boxes)}
    turns = 1 + max(b.column for b in block.boxes) // ROWS
    for box in block.boxes:
        notes = box.lines[1:] if turns == 1 else ()
        label = escaped(box.lines[0]) + "".join(rf"\enspace{{\scriptsize {escaped(t)}}}" for t in notes)
        turn, down = divmod(box.column, ROWS)
        beside = 1.6 if turns > 1 else min(6.5, 16.0 / (max(b.row for b in block.boxes) + 1))
        across = 14.5 / turns * turn + beside * box.row
        size, step, lower = ("", 1.0, 0.0) if turns == 1 else (r"\tiny ", 0.85, 0.4 * box.row)
        place = f"({across:.2f},{-step * down - lower:.2f})"
        lines.append(rf"\node[bp{box.kind}] ({names[box.name]}) at {place} {{{size}{label}}};")
    columns = {box.name: box for box in block.boxes}
    for a, b, _ in block.arrows:
        far = columns[b].column - columns[a].column > 1 and columns[a].row == columns[b].row
        bend = "to[bend left=35]" if far else "--"
        lines.append(rf"\draw[bparrow] ({names[a]}) {bend} ({names[b]});")
    return "\n".join([*lines, r"\end{tikzpicture}", r"\end{center}"])


@block_latex.register
def _(block: Details) -> str:
    return joined((Paragraph(block.title), *block.blocks))


@block_latex.register
def _(block: Boxed) -> str:
    rows = []
    for e in block.blocks:
        if isinstance(e, Equation):
            rows.append(rf"{latex(e.left)} &= {latex(e.lines[0].shown)}")
    body = " \\\\\n".join(rows)
    return f"\\[\n\\boxed{{\\begin{{aligned}}\n{body}\n\\end{{aligned}}}}\n\\]"
