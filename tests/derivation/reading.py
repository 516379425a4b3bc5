"""Reads laid-out formulas back: the value of what stands on the page, by the rules of school algebra.

It knows products by juxtaposition, sums over what follows a sum sign, fractions, scripts, brackets and conditions, and the
symbol table. It sees no tree, so parentheses that were forgotten show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bpcompile.derivation.names import Names
from bpcompile.derivation.notation import (
    Big,
    Cases,
    Fraction,
    Group,
    Notation,
    Number,
    Operator,
    Root,
    Row,
    Script,
    Symbol,
)
from bpcompile.derivation.plain import plain

FUNCTIONS: dict[str, Any] = {
    "tanh": math.tanh, "log": math.log, "exp": math.exp, "σ": lambda z: 1 / (1 + math.exp(-z)), "sin": math.sin,
    "softplus": lambda z: math.log1p(math.exp(z)), "max": max, "min": min,
}  # fmt: skip


class Reader:
    """Values of formulas at given values of their indices."""

    def __init__(self, names: Names, arrays: Mapping[str, np.ndarray], extents: Mapping[str, int]) -> None:
        self.arrays = arrays
        self.extents = extents
        self.symbols: dict[str, str] = {}
        for tensor in arrays:
            self.symbols[_key(names.symbol(tensor))] = tensor

    def value(self, n: Notation, env: Mapping[str, int]) -> float:
        """The value of a formula."""
        items = list(n.items) if isinstance(n, Row) else [n]
        return self.sum(items, env)

    def sum(self, items: list[Notation], env: Mapping[str, int]) -> float:
        """Terms between plus and minus signs; a sum sign takes what follows up to the next sign."""
        total, sign, term = 0.0, 1.0, []
        for item in items:
            if isinstance(item, Operator) and item.text in "+−":
                if term:
                    total += sign * self.product(term, env)
                    sign, term = 1.0, []
                sign *= -1.0 if item.text == "−" else 1.0
            else:
                term.append(item)
        return total + sign * self.product(term, env)

    def product(self, items: list[Notation], env: Mapping[str, int]) -> float:
        """Factors side by side."""
        total, k = 1.0, 0
        while k < len(items):
            item = items[k]
            if isinstance(item, Big):
                return total * self.big(item, items[k + 1 :], env)
            if isinstance(item, Operator) and item.text == "mod":
                return float(int(self.product(items[:k], env)) % int(self.product(items[k + 1 :], env)))
            if isinstance(item, Symbol) and item.text in FUNCTIONS and k + 1 < len(items):
                total *= self.function(item.text, items[k + 1], env)
                k += 2
                continue
            if not (isinstance(item, Operator) and item.text == "·"):
                total *= self.factor(item, env)
            k += 1
        return total

    def function(self, name: str, argument: Notation, env: Mapping[str, int]) -> float:
        inner = argument.body if isinstance(argument, Group) else argument
        parts: list[list[Notation]] = [[]]
        for item in inner.items if isinstance(inner, Row) else (inner,):
            if isinstance(item, Operator) and item.text == ",":
                parts.append([])
            else:
                parts[-1].append(item)
        return float(FUNCTIONS[name](*(self.sum(p, env) for p in parts)))

    def big(self, sign: Big, body: list[Notation], env: Mapping[str, int]) -> float:
        assert sign.under is not None
        letters = [plain(i) for i in (sign.under.items if isinstance(sign.under, Row) else (sign.under,)) if plain(i) != ", "]
        places = np.ndindex(*(self.extents[x] for x in letters))
        values = [self.product(body, {**env, **dict(zip(letters, p, strict=True))}) for p in places]
        return {"∑": sum, "max": max, "min": min}[sign.sign](values)

    def factor(self, n: Notation, env: Mapping[str, int]) -> float:
        match n:
            case Number(text):
                return float(text)
            case Group(body, "[", "]"):
                return float(self.condition(body, env))
            case Group(body, "|", "|"):
                return abs(self.value(body, env))
            case Group(body, "⌊", "⌋"):
                return self.floored(body, env)
            case Group(body):
                return self.value(body, env)
            case Root(body):
                return math.sqrt(self.value(body, env))
            case Fraction(top, bottom) if _key(n) not in self.symbols and not plain(top).startswith("∂"):
                return self.value(top, env) / self.value(bottom, env)
            case Cases():
                raise NotImplementedError("cases")
            case Symbol(text) if text in env:
                return float(env[text])
            case Symbol("π"):
                return math.pi
            case Script(Symbol("δ"), sub, None) if sub is not None:
                a, b = _subscripts(n)
                return float(self.sum(a, env) == self.sum(b, env))
            case Script(base, None, sup) if sup is not None and _key(n) not in self.symbols:
                if isinstance(base, Symbol) and base.text == "e":
                    return math.exp(self.value(sup, env))
                return self.value(base, env) ** self.value(sup, env)
            case Script(base, sub, sup) if sup is not None and _key(n) not in self.symbols:
                return self.factor(Script(base, sub), env) ** self.value(sup, env)
        return self.element(n, env)

    def floored(self, body: Notation, env: Mapping[str, int]) -> float:
        items = list(body.items) if isinstance(body, Row) else [body]
        slash = next(k for k, i in enumerate(items) if isinstance(i, Operator) and i.text == "/")
        return float(math.floor(self.sum(items[:slash], env) / self.sum(items[slash + 1 :], env)))

    def condition(self, body: Notation, env: Mapping[str, int]) -> bool:
        items = list(body.items) if isinstance(body, Row) else [body]
        sides: list[list[Notation]] = [[]]
        signs: list[str] = []
        for item in items:
            if isinstance(item, Operator) and item.role == "relation":
                signs.append(item.text)
                sides.append([])
            else:
                sides[-1].append(item)
        values = [self.sum(s, env) for s in sides]
        tests = {"<": lambda a, b: a < b, "≤": lambda a, b: a <= b, "=": lambda a, b: a == b, "≠": lambda a, b: a != b}
        return all(tests[s](a, b) for s, a, b in zip(signs, values, values[1:], strict=False))

    def element(self, n: Notation, env: Mapping[str, int]) -> float:
        tensor = self.symbols[_key(n)]
        place = tuple(int(self.value(Row(tuple(s)), env)) for s in _subscripts(n))
        array = self.arrays[tensor]
        inside = all(0 <= i < e for i, e in zip(place, array.shape, strict=True))
        return float(array[place]) if inside else 0.0


def _key(n: Notation) -> str:
    """A symbol without its subscripts."""
    if isinstance(n, Fraction):
        return f"{plain(n.top)}/{_key(n.bottom)}"
    if isinstance(n, Row):
        return "".join(_key(i) for i in n.items)
    if isinstance(n, Script):
        base = _key(n.base) if isinstance(n.base, Script) else plain(n.base)
        inner = "" if n.sub is None or not isinstance(n.sub, Number) or isinstance(n.base, Script) else f"#{n.sub.text}"
        return base + inner + ("" if n.sup is None else plain(n.sup))
    return plain(n)


def _subscripts(n: Notation) -> list[list[Notation]]:
    if isinstance(n, Fraction):
        return _subscripts(n.bottom)
    if isinstance(n, Row):
        return _subscripts(n.items[-1])
    if not isinstance(n, Script) or n.sub is None:
        return []
    items = list(n.sub.items) if isinstance(n.sub, Row) else [n.sub]
    if not any(isinstance(i, Operator) for i in items):
        return [[i] for i in items]
    if all(not (isinstance(i, Operator) and i.text == ",") for i in items):
        return [items]
    parts: list[list[Notation]] = [[]]
    for i in items:
        if isinstance(i, Operator) and i.text == ",":
            parts.append([])
        else:
            parts[-1].append(i)
    return parts
