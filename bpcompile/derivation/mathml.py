"""Laid-out mathematics as MathML Core: no styles, no scripts, every element known to today's browsers."""

from __future__ import annotations

from html import escape

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


def mathml(n: Notation, display: bool = True) -> str:
    """The formula as a ``math`` element."""
    attribute = ' display="block"' if display else ""
    return f"<math{attribute}>{_element(n)}</math>"


def _row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _element(n: Notation) -> str:
    match n:
        case Symbol(text, style):
            return _symbol(text, style)
        case Number(text):
            return f"<mn>{escape(text)}</mn>"
        case Operator(text, role):
            return _operator(text, role)
        case Row(items):
            return _row(*map(_element, items))
        case Fraction(top, bottom):
            return f"<mfrac>{_element(top)}{_element(bottom)}</mfrac>"
        case Script(base, sub, sup):
            return _script(_element(base), sub, sup)
        case Group(body, left, right):
            return _row(_fence(left, True), _element(body), _fence(right, False))
        case Big(sign, under):
            return _big(sign, under)
        case Root(body):
            return f"<msqrt>{_element(body)}</msqrt>"
        case Cases(rows):
            lines = "".join(f"<mtr><mtd>{_element(v)}</mtd><mtd>{_element(c)}</mtd></mtr>" for v, c in rows)
            return _row(_fence("{", True), f'<mtable columnalign="left left">{lines}</mtable>')
        case Grid(rows):
            lines = "".join("<mtr>" + "".join(f"<mtd>{_element(x)}</mtd>" for x in r) + "</mtr>" for r in rows)
            return _row(_fence("(", True), f"<mtable>{lines}</mtable>", _fence(")", False))
        case Below(body, remark):
            brace = '<mo stretchy="true">⏟</mo>'
            return f"<munder><munder>{_element(body)}{brace}</munder>{_element(remark)}</munder>"
        case Words(text):
            return f"<mtext>{escape(text).replace(' ', '&#160;')}</mtext>"
        case Fence(text, _, opens):
            return _fence(text, opens)


def _symbol(text: str, style: str) -> str:
    if text and all(c == "′" for c in text):
        return f"<mo>{text}</mo>"
    tail = ""
    if len(text) > 1 and text[-1] in "⁺⁰":
        text, tail = text[:-1], "+" if text[-1] == "⁺" else "0"
    if style == "bold":
        body = f"<mi>{''.join(map(_bold, text))}</mi>"
    elif style == "upright" and len(text) == 1:
        body = f'<mi mathvariant="normal">{escape(text)}</mi>'
    else:
        body = f"<mi>{escape(text)}</mi>"
    return f"<msup>{body}<mn>{tail}</mn></msup>" if tail else body


def _bold(c: str) -> str:
    """The bold letter: browsers know these as characters of their own."""
    if "A" <= c <= "Z":
        return chr(0x1D400 + ord(c) - ord("A"))
    if "a" <= c <= "z":
        return chr(0x1D41A + ord(c) - ord("a"))
    if "0" <= c <= "9":
        return chr(0x1D7CE + ord(c) - ord("0"))
    if "α" <= c <= "ω":
        return chr(0x1D6C2 + ord(c) - ord("α"))
    return escape(c)


def _operator(text: str, role: str) -> str:
    if role == "plain" and text == "−":
        return '<mo form="prefix">−</mo>'
    if role == "plain":
        return f'<mo lspace="0" rspace="0">{escape(text)}</mo>'
    if role == "punctuation":
        return f'<mo separator="true">{escape(text)}</mo>'
    return f"<mo>{escape(text)}</mo>"


def _fence(text: str, opens: bool) -> str:
    form = "prefix" if opens else "postfix"
    return f'<mo form="{form}" fence="true" stretchy="true" lspace="0" rspace="0">{escape(text)}</mo>' if text else ""


def _script(base: str, sub: Notation | None, sup: Notation | None) -> str:
    if sub is not None and sup is not None:
        return f"<msubsup>{base}{_element(sub)}{_element(sup)}</msubsup>"
    if sub is not None:
        return f"<msub>{base}{_element(sub)}</msub>"
    assert sup is not None
    return f"<msup>{base}{_element(sup)}</msup>"


def _big(sign: str, under: Notation | None) -> str:
    head = f'<mo largeop="true" movablelimits="false">{sign}</mo>' if len(sign) == 1 else f"<mo>{escape(sign)}</mo>"
    return head if under is None else f"<munder>{head}{_element(under)}</munder>"
