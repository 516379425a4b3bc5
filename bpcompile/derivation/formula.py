"""From trees of the program to laid-out mathematics.

A tree is printed as it stands: what is laid out here is what `evaluate` computes. Besides the operations of the program
there are those of the matrix form (see `matrix`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from bpcompile.derivation.names import Names, letters
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
    Style,
    Symbol,
    Words,
    height,
    row,
    separated,
    width,
)
from bpcompile.derivation.numerals import ATOM, BIG, POWER, PRODUCT, SUM, Laid, axis_symbol, extent_symbol, number
from bpcompile.derivation.products import factors, is_zero, needs_dot, powers, raised
from bpcompile.nodes.expressions import Expr, node

_WORDS: Final[dict[str, str]] = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "atan2", "lgamma": "logΓ", "gamma": "Γ",
    "digamma": "ψ", "sigmoid": "σ", "normal": "normal",
}  # fmt: skip
_PLAIN_WORDS: Final = frozenset({"log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan"})
_COMPARISONS: Final = {"lt": "<", "le": "≤", "eq": "=", "ne": "≠"}
_SUPERSCRIPT_LIMIT: Final = 9.0
_SUBSCRIPT_LIMIT: Final = 3.5


def laid_out(e: Expr, names: Names) -> Notation:
    """The formula of a tree."""
    return _formula(e, names)[0]


def factor_of_product(e: Expr, names: Names) -> Notation:
    """The formula, in parentheses where it is a sum."""
    return _wrapped(e, names, PRODUCT)


def _wrapped(e: Expr, names: Names, needed: int) -> Notation:
    body, strength = _formula(e, names)
    return body if strength >= needed else Group(body)


def _formula(e: Expr, names: Names) -> Laid:
    handler = _HANDLERS.get(e.op)
    if handler is not None:
        return handler(e, names)
    return _application(e, names)


# --- leaves ---------------------------------------------------------------------------------------------------------








def _load(e: Expr, names: Names) -> Laid:
    tensor = e.value[0]
    return names.symbol(tensor, tuple(laid_out(a, names) for a in e.args)), _strength_of_symbol(tensor, names)


def _strength_of_symbol(tensor: str, names: Names) -> int:
    return ATOM if not tensor.endswith(".bar") or tensor.removesuffix(".bar") in names.errors else POWER - 1


def _matrix(e: Expr, names: Names) -> Laid:
    tensor = e.value[0]
    style: Style = "bold" if e.value[2].strip("f") else "italic"
    return names.symbol(tensor, tuple(laid_out(a, names) for a in e.args), style), _strength_of_symbol(tensor, names)


def _draw(e: Expr, names: Names) -> Laid:
    arguments = [laid_out(a, names) for a in e.args[:-1]]
    return row(Symbol(e.value[0], "upright"), Group(separated(arguments))), ATOM


# --- arithmetic -----------------------------------------------------------------------------------------------------


def _sum(e: Expr, names: Names) -> Laid:
    sign = Operator("+" if e.op == "add" else "−")
    right = e.args[1]
    grouped = e.op == "sub" and right.op in ("add", "sub")
    tail = _wrapped(right, names, SUM + 1 if grouped or _starts_with_minus(right) else SUM)
    return row(_wrapped(e.args[0], names, SUM), sign, tail), SUM


def _starts_with_minus(e: Expr) -> bool:
    while e.op in ("add", "sub", "mul", "matmul", "hadamard", "scaled"):
        e = e.args[0]
    return e.op == "neg" or (e.op == "const" and e.kind != "bool" and e.value < 0)


def _negative(e: Expr, names: Names) -> Laid:
    return row(Operator("−", "plain"), _wrapped(e.args[0], names, BIG)), SUM


def _product(e: Expr, names: Names) -> Laid:
    counted = powers(factors(e))
    laid: list[Notation] = []
    strength = PRODUCT
    for k, (f, count) in enumerate(counted):
        last = k == len(counted) - 1
        if count > 1:
            part: Notation = raised(_wrapped(f, names, ATOM), Number(str(count)))
        else:
            body, held = _formula(f, names)
            part = body if held >= PRODUCT or (held == BIG and last) else Group(body)
            strength = BIG if held == BIG and last else strength
        if laid and needs_dot(laid[-1], part):
            laid.append(Operator("·"))
        laid.append(part)
    return row(*laid), strength


def _quotient(e: Expr, names: Names) -> Laid:
    """A fraction; fractions of fractions are one, with the product of the divisors below."""
    below: list[Expr] = []
    above = e
    while above.op == "div":
        below = [*factors(above.args[1]), *below]
        above = above.args[0]
    if len(below) == 1:
        return Fraction(laid_out(above, names), laid_out(below[0], names)), POWER - 1
    product = below[0]
    for f in sorted(below[1:], key=below.index):
        product = node("mul", (product, f))
    return Fraction(laid_out(above, names), _product(product, names)[0]), POWER - 1


def _power(e: Expr, names: Names) -> Laid:
    return raised(_wrapped(e.args[0], names, ATOM), laid_out(e.args[1], names)), POWER


def _exponential(e: Expr, names: Names) -> Laid:
    exponent = laid_out(e.args[0], names)
    if height(exponent) > 1 or width(exponent, 0.72) > _SUPERSCRIPT_LIMIT:
        return row(Symbol("exp", "upright"), Group(exponent)), ATOM
    return Script(Symbol("e"), None, exponent), POWER


def _root(e: Expr, names: Names) -> Laid:
    return Root(laid_out(e.args[0], names)), ATOM


def _absolute(e: Expr, names: Names) -> Laid:
    return Group(laid_out(e.args[0], names), "|", "|"), ATOM


def _floor(e: Expr, names: Names) -> Laid:
    if e.op == "floordiv":
        above, below = _wrapped(e.args[0], names, PRODUCT), _wrapped(e.args[1], names, ATOM)
        return Group(row(above, Operator("/", "plain"), below), "⌊", "⌋"), ATOM
    signs = {"floor": ("⌊", "⌋"), "ceil": ("⌈", "⌉")}
    return Group(laid_out(e.args[0], names), *signs[e.op]), ATOM


def _modulo(e: Expr, names: Names) -> Laid:
    left, right = _wrapped(e.args[0], names, ATOM), _wrapped(e.args[1], names, ATOM)
    return row(left, Operator("mod"), right), SUM


def _extreme(e: Expr, names: Names) -> Laid:
    """``max(0, z)`` reads better than ``max(z, 0)``."""
    parts = list(e.args)
    if parts[1].op == "const":
        parts.reverse()
    return row(Symbol(e.op, "upright"), Group(separated(laid_out(a, names) for a in parts))), ATOM


def _application(e: Expr, names: Names) -> Laid:
    """A function by its name."""
    word = _WORDS.get(e.op, e.op)
    head: Notation = Symbol(word, "italic" if len(word) == 1 else "upright")
    if len(e.args) == 1 and word in _PLAIN_WORDS:
        body, strength = _formula(e.args[0], names)
        simple = strength >= POWER and height(body) == 1 and not isinstance(body, Row)
        return row(head, body if simple else Group(body)), PRODUCT if simple else ATOM
    return row(head, Group(separated(laid_out(a, names) for a in e.args))), ATOM


def _unspecified(e: Expr, names: Names) -> Laid:
    """A function that only has a name, primed once for each derivative; a cost's derivative is a partial one."""
    name, order = e.value
    argument = laid_out(e.args[0], names)
    if name == names.cost:
        if order == 0:
            return row(Symbol(name), Group(argument)), ATOM
        return names.derivative(Symbol(name), argument), POWER - 1
    letter = letters(name)
    head = Script(letter, None, Symbol("′" * order)) if order else letter
    return row(head, Group(argument)), ATOM


def _partial(e: Expr, names: Names) -> Laid:
    """The derivative of an element of one tensor by an element of another."""
    upper, lower, count = e.value
    laid = tuple(laid_out(a, names) for a in e.args)
    return names.derivative(names.symbol(upper, laid[:count]), names.symbol(lower, laid[count:])), POWER - 1


# --- conditions -----------------------------------------------------------------------------------------------------


def _comparison(e: Expr, names: Names) -> Laid:
    return row(laid_out(e.args[0], names), Operator(_COMPARISONS[e.op], "relation"), laid_out(e.args[1], names)), SUM


def _logic(e: Expr, names: Names) -> Laid:
    if e.op == "not":
        return row(Operator("¬", "plain"), _wrapped(e.args[0], names, ATOM)), SUM
    sign = Operator("∧" if e.op == "and" else "∨")
    return row(_wrapped(e.args[0], names, SUM), sign, _wrapped(e.args[1], names, SUM)), SUM


def _is_one(e: Expr) -> bool:
    return e.op == "const" and not isinstance(e.value, bool) and e.value == 1


def _delta_or_bracket(condition: Expr, names: Names) -> Notation:
    """1 where the condition holds, else 0: a Kronecker delta where indices are compared, else a bracket."""
    parts: list[Notation] = []
    conditions = factors(condition, "and")
    while conditions:
        c = conditions.pop(0)
        within = next((d for d in conditions if _is_interval(c, d)), None)
        if within is not None:
            conditions.remove(within)
            upper = row(Operator(_COMPARISONS[within.op], "relation"), laid_out(within.args[1], names))
            parts.append(Group(row(laid_out(c, names), upper), "[", "]"))
        elif c.op == "eq" and any(_is_index(a) for a in c.args):
            pair = tuple(laid_out(a, names) for a in c.args)
            if any(width(p) > _SUBSCRIPT_LIMIT for p in pair):
                parts.append(Group(laid_out(c, names), "[", "]"))
                continue
            simple = all(isinstance(p, Symbol) for p in pair)
            parts.append(Script(Symbol("δ"), Row(pair) if simple else separated(pair)))
        else:
            parts.append(Group(laid_out(c, names), "[", "]"))
    return row(*parts)


def _is_interval(a: Expr, b: Expr) -> bool:
    """True for ``low <= x`` and ``x < high``."""
    return a.op in ("le", "lt") and b.op in ("le", "lt") and a.args[1] is b.args[0]


def _is_index(e: Expr) -> bool:
    return e.op == "axis" or (e.op in ("add", "sub", "mul", "floordiv", "mod", "load") and e.kind == "int")


def _selection(e: Expr, names: Names) -> Laid:
    condition, a, b = e.args
    if is_zero(b):
        mark = _delta_or_bracket(condition, names)
        if _is_one(a):
            return mark, ATOM
        body, strength = _formula(a, names)
        return row(mark, body if strength >= BIG else Group(body)), min(PRODUCT, strength) if strength >= BIG else PRODUCT
    rows: list[tuple[Notation, Notation]] = []
    rest = e
    while rest.op == "where":
        rows.append((laid_out(rest.args[1], names), row(Words("if "), laid_out(rest.args[0], names))))
        rest = rest.args[2]
    rows.append((laid_out(rest, names), Words("otherwise")))
    return Cases(tuple(rows)), ATOM


# --- reductions -----------------------------------------------------------------------------------------------------


def _reduction(e: Expr, names: Names) -> Laid:
    kind, axes = e.value
    under = separated(axis_symbol(a) for a in axes)
    if kind in ("sum", "mean"):
        body, strength = _formula(e.args[0], names)
        body = body if strength >= BIG else Group(body)
        big = row(Big("∑", under), body)
        if kind == "sum" or all(a.extent == 1 for a in axes):
            return big, BIG
        count = row(*[extent_symbol(a) for a in axes if a.extent is None])
        known = math.prod(a.extent for a in axes if a.extent is not None)
        bottom = count if known == 1 and isinstance(count, Symbol) else row(Number(str(known)), count)
        return row(Fraction(Number("1"), bottom), big), BIG
    body, strength = _formula(e.args[0], names)
    return row(Big(kind, under), body if strength >= PRODUCT else Group(body)), BIG


# --- matrices -------------------------------------------------------------------------------------------------------


def _transposed(e: Expr, names: Names) -> Laid:
    inner = e.args[0]
    if inner.op == "matrix" and not inner.value[0].endswith(".bar"):
        body = laid_out(inner, names)
        if isinstance(body, Script):
            marked: Notation = Symbol("⊤", "upright")
            if body.sup is not None:
                return Script(Group(body), None, marked), ATOM
            return Script(body.base, body.sub, marked), ATOM
        return Script(body, None, Symbol("⊤", "upright")), ATOM
    return Script(_wrapped(inner, names, ATOM), None, Symbol("⊤", "upright")), ATOM


def _matrix_product(e: Expr, names: Names) -> Laid:
    parts = [_wrapped(f, names, PRODUCT + 1) for f in factors(e, "matmul")]
    return row(*parts), PRODUCT


def _hadamard(e: Expr, names: Names) -> Laid:
    laid: list[Notation] = []
    for f in factors(e, "hadamard"):
        if laid:
            laid.append(Operator("⊙"))
        body, strength = _formula(f, names)
        laid.append(body if strength > PRODUCT else Group(body))
    return row(*laid), PRODUCT


def _elementwise_quotient(e: Expr, names: Names) -> Laid:
    left, right = (_wrapped(a, names, PRODUCT + 1) for a in e.args)
    return row(left, Operator("⊘"), right), PRODUCT


def _scaled(e: Expr, names: Names) -> Laid:
    """A number times a matrix."""
    by, what = _wrapped(e.args[0], names, PRODUCT), _wrapped(e.args[1], names, PRODUCT)
    return row(by, what), PRODUCT


def _ones(_e: Expr, _names: Names) -> Laid:
    return Symbol("1", "bold"), ATOM


def _onehot(e: Expr, names: Names) -> Laid:
    return Script(Symbol("e", "bold"), laid_out(e.args[0], names)), ATOM


def _diagonal(e: Expr, names: Names) -> Laid:
    if e.args[0].op == "ones":
        return Symbol("I", "bold"), ATOM
    return row(Symbol("diag", "upright"), Group(laid_out(e.args[0], names))), ATOM


def _sum_of(e: Expr, names: Names) -> Laid:
    body, strength = _formula(e.args[0], names)
    return row(Big("∑", axis_symbol(e.value)), body if strength >= PRODUCT else Group(body)), BIG


def _indicator(e: Expr, names: Names) -> Laid:
    return Group(laid_out(e.args[0], names), "[", "]"), ATOM


_HANDLERS: Final[dict[str, Callable[[Expr, Names], Laid]]] = {
    "const": lambda e, _n: number(e.value),
    "axis": lambda e, _n: (axis_symbol(e.value), ATOM),
    "size": lambda e, _n: (extent_symbol(e.value), ATOM),
    "load": _load,
    "flag": lambda e, _n: (Words(str(e.value)), ATOM),
    "seed": lambda e, _n: (letters(str(e.value)), ATOM),
    "draw": _draw,
    "add": _sum,
    "sub": _sum,
    "neg": _negative,
    "mul": _product,
    "div": _quotient,
    "pow": _power,
    "exp": _exponential,
    "sqrt": _root,
    "abs": _absolute,
    "floor": _floor,
    "ceil": _floor,
    "floordiv": _floor,
    "mod": _modulo,
    "max": _extreme,
    "min": _extreme,
    "unspecified": _unspecified,
    "partial": _partial,
    "stop": lambda e, n: _formula(e.args[0], n),
    **dict.fromkeys(_COMPARISONS, _comparison),
    **dict.fromkeys(("and", "or", "not"), _logic),
    "where": _selection,
    "reduce": _reduction,
    "matrix": _matrix,
    "transpose": _transposed,
    "matmul": _matrix_product,
    "hadamard": _hadamard,
    "hadamard_quotient": _elementwise_quotient,
    "scaled": _scaled,
    "ones": _ones,
    "onehot": _onehot,
    "onehot_row": _onehot,
    "diagonal": _diagonal,
    "indicator": _indicator,
    "sum_of": _sum_of,
}
