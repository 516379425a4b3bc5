"""A document as Markdown, as GitHub shows it.

GitHub reads Markdown before it reads mathematics: a backslash before a sign is an escape, underscores may become emphasis,
and ``<`` may begin a tag. So formulas of their own stand in fences (```` ```math ````), which are taken as they are, and
those within a sentence are written such that nothing in them is Markdown.
"""

from __future__ import annotations

import re
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
from bpcompile.derivation.latex import escaped, latex
from bpcompile.derivation.notation import Notation, broken

RELATIONS: Final = {"⇒": r"\Rightarrow\;", "←": r"\leftarrow"}
_COMMANDS: Final = {"<": r"\lt ", ">": r"\gt ", r"\,": r"\thinspace ", r"\{": r"\lbrace ", r"\}": r"\rbrace "}

LINE: Final = 60.0
"""How many ems a line of a formula may have."""


def render_markdown(document: Document) -> str:
    """The whole document."""
    head = [f"# {_words(document.title)}", ""]
    if document.lead:
        head += [_inline(document.lead), ""]
    return "\n".join([*head, *(_section(s, k) for k, s in enumerate(document.sections, 1))]).rstrip() + "\n"


def _section(section: Section, number: int) -> str:
    return "\n".join([f"## {number}. {_words(section.title)}", "", *(block_markdown(b) + "\n" for b in section.blocks)])


def _words(text: str) -> str:
    """Plain words; signs that Markdown would read are set off."""
    return "".join("\\" + c if c in "\\`*_{}[]<>#|$" else c for c in text)


def within(n: Notation) -> str:
    """A formula within a sentence.

    A blank before every underscore keeps it from ending emphasis; where an escape is left, as for an underscore within a
    name, GitHub's form with backticks is taken.
    """
    body = re.sub(r"\s*(?<!\\)_\{", " _{", latex(n))
    for sign, command in _COMMANDS.items():
        body = body.replace(sign, command)
    return f"$`{body}`$" if re.search(r"\\[^A-Za-z]", body) else f"${body.strip()}$"


def display(body: str) -> str:
    """A formula on lines of its own."""
    return f"```math\n{body}\n```"


def _inline(text: Text) -> str:
    return "".join(_words(part) if isinstance(part, str) else within(part) for part in text)


@singledispatch
def block_markdown(block: Block) -> str:
    """One block."""
    raise TypeError(f"{type(block).__name__} is no block")


@block_markdown.register
def _(block: Paragraph) -> str:
    return _inline(block.text)


@block_markdown.register
def _(block: Likewise) -> str:
    return _inline(block.text)


@block_markdown.register
def _(block: Bullets) -> str:
    return "\n".join(f"- {_inline(item)}" for item in block.items)


def aligned_rows(equation: Equation) -> list[str]:
    """The lines of an equation for ``aligned``: left side, relation and right side, reason."""
    left = latex(equation.left)
    rows = []
    for k, line in enumerate(equation.lines):
        reason = _reason(line.reason)
        if k == 0 and equation.beside is not None:
            beside = f"{latex(equation.beside.left)} = {latex(equation.beside.lines[0].shown)}"
            reason = rf"{beside} \quad {reason}" if reason else beside
        parts: list[Notation] = broken(line.shown, LINE, LINE)
        relation = RELATIONS.get(line.relation, line.relation)
        for m, part in enumerate(parts):
            head = f"{left if k == 0 and m == 0 else ''} &{relation} {latex(part)}" if m == 0 else rf"&\quad {latex(part)}"
            last = m == len(parts) - 1
            rows.append(f"{head} && {reason}" if reason and last else head)
    return rows


def _reason(text: Text) -> str:
    if not any(text):
        return ""
    parts = (rf"\text{{{_in_math(part)}}}" if isinstance(part, str) else latex(part) for part in text)
    return "".join(parts)


def _in_math(words: str) -> str:
    return escaped(words.replace("’", "'"))


@block_markdown.register
def _(block: Equation) -> str:
    rows = " \\\\\n".join(aligned_rows(block))
    return display(f"\\begin{{aligned}}\n{rows}\n\\end{{aligned}}")


@block_markdown.register
def _(block: Together) -> str:
    rows = " \\\\\n".join(r for e in block.blocks for r in aligned_rows(e))
    return display(f"\\begin{{aligned}}\n{rows}\n\\end{{aligned}}")


@block_markdown.register
def _(block: Table) -> str:
    head = "| " + " | ".join(_inline(c) for c in block.head) + " |"
    rule = "|" + "|".join(" ---: " if k in block.right else " --- " for k in range(len(block.head))) + "|"
    rows = ["| " + " | ".join(_cell(c) for c in r) + " |" for r in block.rows]
    return "\n".join([head, rule, *rows])


def _cell(text: Text) -> str:
    """A cell: a bar within a formula is written as a command."""
    return "".join(_words(p) if isinstance(p, str) else within(p).replace("|", r"\vert ") for p in text)


@block_markdown.register
def _(block: Picture) -> str:
    lines = ["```mermaid", "flowchart LR"]
    names = {box.name: f"n{k}" for k, box in enumerate(block.boxes)}
    shapes = {"leaf": ("([", "])"), "layer": ("[", "]"), "loss": ("((", "))")}
    for box in block.boxes:
        left, right = shapes[box.kind]
        label = "<br/>".join(box.lines).replace('"', "'")
        lines.append(f'    {names[box.name]}{left}"{label}"{right}')
    lines += [f"    {names[a]} --> {names[b]}" for a, b, _ in block.arrows]
    return "\n".join([*lines, "```"])


@block_markdown.register
def _(block: Details) -> str:
    inner = "\n\n".join(block_markdown(b) for b in block.blocks)
    return f"<details><summary>{_inline(block.title)}</summary>\n\n{inner}\n\n</details>"


@block_markdown.register
def _(block: Boxed) -> str:
    rows = [r for e in block.blocks if isinstance(e, Equation) for r in aligned_rows(e)]
    body = " \\\\\n".join(rows)
    return display(f"\\boxed{{\\begin{{aligned}}\n{body}\n\\end{{aligned}}}}")
