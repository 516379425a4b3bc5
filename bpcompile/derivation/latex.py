"""Laid-out mathematics as LaTeX: amsmath's commands only, so that MathJax, KaTeX and GitHub understand it too."""

from __future__ import annotations

import unicodedata
from typing import Final

from bpcompile.derivation.names import GREEK
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
    height,
)

_COMMANDS: Final[dict[str, str]] = {
    **{letter: rf"\{word}" for word, letter in GREEK.items()},
    "Γ": r"\Gamma", "ℓ": r"\ell", "∞": r"\infty", "∂": r"\partial", "·": r"\cdot", "−": "-", "⊙": r"\odot",
    "⊘": r"\oslash", "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "∧": r"\wedge", "∨": r"\vee", "¬": r"\neg", "∑": r"\sum",
    "⊤": r"\top", "′": r"\prime", "⌊": r"\lfloor", "⌋": r"\rfloor", "⌈": r"\lceil", "⌉": r"\rceil", "⇒": r"\Rightarrow",
    "≔": r"\mathrel{:=}", "→": r"\to", "ο": "o", "×": r"\times", "|": "|", "∇": r"\nabla", "≈": r"\approx", "…": r"\dots",
    "←": r"\leftarrow", "∈": r"\in", "ℝ": r"\mathbb{R}", "ω": r"\omega", "⁺": "+", "⁰": "0", "…,": r"\dots",
}  # fmt: skip
_WORDS: Final = frozenset(
    {"log", "exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "max", "min", "mod"}
)
_TEXT_SPECIALS: Final[dict[str, str]] = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}", '"': "''",
    "|": r"\textbar{}", "`": r"\textasciigrave{}", "'": "'",
}  # fmt: skip
_SIZES: Final = ("", "", r"\Big", r"\bigg", r"\Bigg")


def escaped(text: str) -> str:
    """Plain text for LaTeX: nothing in it is a command."""
    return "".join(_escaped_character(c) for c in text)


def _escaped_character(c: str) -> str:
    if c in _TEXT_SPECIALS:
        return _TEXT_SPECIALS[c]
    if ord(c) < 127 and c.isprintable():
        return c
    if c in _COMMANDS:
        return rf"\ensuremath{{{_COMMANDS[c]}}}"
    if c in "–—’“”…":
        return {"–": "--", "—": "---", "’": "'", "“": "``", "”": "''", "…": r"\dots{}"}[c]
    plain = "".join(x for x in unicodedata.normalize("NFKD", c) if ord(x) < 127 and x.isprintable())
    return escaped(plain) if plain else f"U+{ord(c):04X}"


def latex(n: Notation) -> str:
    """The formula as LaTeX, for math mode."""
    match n:
        case Symbol(text, style):
            return _symbol(text, style)
        case Number(text):
            return text.replace("\u2009", r"\,")
        case Operator(text, role):
            return _operator(text, role)
        case Row(items):
            return _joined([latex(i) for i in items])
        case Fraction(top, bottom):
            return rf"\frac{{{latex(top)}}}{{{latex(bottom)}}}"
        case Script(base, sub, sup):
            return _script(base, sub, sup)
        case Group(body, left, right):
            return _group(body, left, right)
        case Big(sign, under):
            return _big(sign, under)
        case Root(body):
            return rf"\sqrt{{{latex(body)}}}"
        case Cases(rows):
            lines = (rf"{latex(value)} & {latex(condition)}" for value, condition in rows)
            return r"\begin{cases} " + r" \\ ".join(lines) + r" \end{cases}"
        case Grid(rows):
            lines = (" & ".join(latex(x) for x in r) for r in rows)
            return r"\begin{pmatrix} " + r" \\ ".join(lines) + r" \end{pmatrix}"
        case Below(body, remark):
            return rf"\underbrace{{{latex(body)}}}_{{{latex(remark)}}}"
        case Words(text):
            return rf"\text{{{escaped(text)}}}"
        case Fence(text, size, opens):
            return _fence(text, size, opens)


def _symbol(text: str, style: str) -> str:
    if all(c in "′" for c in text) and text:
        return r"\prime" * len(text)
    if text in ("log", "exp") or (text in _WORDS and text not in ("mod",)):
        return rf"\{text}"
    if text == "logΓ":
        return r"\log\Gamma"
    if len(text) == 1:
        command = _COMMANDS.get(text)
        if command is not None:
            return rf"\boldsymbol{{{command}}}" if style == "bold" else command
        if not text.isascii():
            return rf"\text{{{escaped(text)}}}"
        return rf"\mathbf{{{text}}}" if style == "bold" else rf"\mathrm{{{text}}}" if style == "upright" else text
    face = "mathbf" if style == "bold" else "mathrm"
    if text[:-1] and text[-1] in "⁺⁰":
        return rf"{{{_symbol(text[:-1], style)}}}^{{{_COMMANDS[text[-1]]}}}"
    body = "".join(r"\_" if c == "_" else c if c.isascii() and c.isalnum() else rf"\text{{{escaped(c)}}}" for c in text)
    return rf"\{face}{{{body}}}"


def _operator(text: str, role: str) -> str:
    if text == "mod":
        return r"\bmod"
    body = _COMMANDS.get(text, text)
    if len(text) > 1 and text not in _COMMANDS:
        return rf"\mathbin{{\mathrm{{{text}}}}}"
    if role == "punctuation":
        return f"{body}"
    return f"{{{body}}}" if role == "plain" and body in ("-", "+") else body


def _joined(parts: list[str]) -> str:
    return " ".join(p for p in parts if p)


def _script(base: Notation, sub: Notation | None, sup: Notation | None) -> str:
    body = latex(base)
    if isinstance(base, (Script, Row, Fraction)) or (isinstance(base, Symbol) and base.text[-1] in "⁺⁰"):
        body = f"{{{body}}}"
    lower = "" if sub is None else f"_{{{latex(sub)}}}"
    upper = "" if sup is None else f"^{{{latex(sup)}}}"
    return f"{body}{upper}{lower}"


def _delimiter(text: str) -> str:
    command = {"{": r"\{", "}": r"\}"}.get(text, _COMMANDS.get(text, text))
    return f"{command} " if command[-1].isalpha() else command


def _group(body: Notation, left: str, right: str) -> str:
    inner = latex(body)
    if height(body) == 1:
        if left == "|":
            return rf"\lvert {inner} \rvert"
        return f"{_delimiter(left)}{inner}{_delimiter(right)}"
    if left == "|":
        return rf"\left\lvert {inner} \right\rvert"
    if height(body) == 2 and not _has_cases(body):
        size = r"\Bigl", r"\Bigr"
        return rf"{size[0]}{_delimiter(left)} {inner} {size[1]}{_delimiter(right)}"
    return rf"\left{_delimiter(left)} {inner} \right{_delimiter(right)}"


def _has_cases(n: Notation) -> bool:
    return isinstance(n, Cases) or (isinstance(n, Row) and any(_has_cases(i) for i in n.items))


def _fence(text: str, size: int, opens: bool) -> str:
    command = _SIZES[min(size, 4)]
    return f"{command}{'l' if opens else 'r'}{_delimiter(text)}" if command else _delimiter(text)


def _big(sign: str, under: Notation | None) -> str:
    if sign == "∑":
        head = r"\sum"
    elif sign in ("max", "min"):
        head = rf"\{sign}"
    else:
        head = rf"\mathop{{\mathrm{{{sign}}}}}"
    return head if under is None else rf"{head}_{{{latex(under)}}}"
