"""The rules of stable forms, as rows: a pattern, what it becomes, the mathematics beside it.

A pattern sees through tensors, and sums and products commute. A row whose function gives None does not fire.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bpcompile.calculus.algebra import mul, neg, sub
from bpcompile.calculus.bounds import bounds, growth
from bpcompile.nodes.expressions import Expr, const, node

Bindings = dict[str, Expr]
Pattern = Any
"""An operation with patterns as arguments ``("log", ...)``, a number, or a variable's name."""

FAR: Final = const(1e18)
"""From here on ``1 + x**2`` is ``x**2`` in every format; up to here no square overflows."""


def _f(name: str, *args: Expr) -> Expr:
    return node(name, args)


def _square(x: Expr) -> Expr:
    return _f("mul", x, x)


@dataclass(frozen=True, slots=True)
class Rule:
    """A row: the name in the record, what is matched, what it becomes."""

    name: str
    pattern: Pattern
    becomes: Callable[[Bindings], Expr | None]


def _log_cosh(z: Expr) -> Expr:
    """Near 0 ``log1p(2 sinh(z/2)^2)`` keeps the small value; far away the exponentials never overflow."""
    half, away = _f("sinh", _f("div", z, const(2))), _f("abs", z)
    near = _f("log1p", mul(const(2), mul(half, half)))
    tail = _f("softplus", mul(const(-2), away))
    far = _f("sub", _f("add", away, tail), const(math.log(2)))
    return _f("where", _f("lt", away, const(1)), near, far)


def _log_one_minus_exp(u: Expr) -> Expr:
    """Above -log 2 the difference cancels, and expm1 has it; below it exp is small, and log1p keeps it (Maechler 2012)."""
    near, far = _f("log", neg(_f("expm1", u))), _f("log1p", neg(_f("exp", u)))
    return _f("where", _f("lt", const(-math.log(2)), u), near, far)


def _one_minus_cos(x: Expr) -> Expr:
    sine = _f("sin", _f("div", x, const(2)))
    return mul(const(2), _square(sine))


def _near(u: Expr) -> Expr:
    return _f("lt", _f("abs", u), FAR)


def _root_of_one_and_square(u: Expr) -> Expr:
    return _f("where", _near(u), _f("sqrt", _f("add", const(1), _square(u))), _f("abs", u))


def _log_of_one_and_square(u: Expr) -> Expr:
    """``log(1 + u^2) = 2 log(1 + |u|)`` far away, with one logarithm for both."""
    size = _f("log1p", _f("where", _near(u), _square(u), _f("abs", u)))
    return mul(_f("where", _near(u), const(1.0), const(2.0)), size)


def _root_minus_one(x: Expr) -> Expr:
    """``x / (sqrt(1 + x) + 1)`` where the difference cancels."""
    root = _f("sqrt", _f("add", const(1), x))
    near = _f("div", x, _f("add", root, const(1)))
    return _f("where", _f("lt", x, const(1)), near, _f("sub", root, const(1)))


def _zero_times_log(x: Expr, u: Expr, log: Expr, pole: float) -> Expr | None:
    """``0 log 0 = 0``, and nothing flows there; ``x log(x/y)`` is 0 at x = 0 whatever y is."""
    if not _may_be(x, 0.0) or not _may_be(u, pole):
        return None
    shared = u is x or (u.op == "div" and u.args[0] is x and pole == 0.0)
    none = _f("eq", x, const(0))
    there = _f("eq", u.args[0], const(int(-pole))) if u.op == "neg" else _f("eq", u, const(int(pole)))
    empty = none if shared else _f("and", none, there)
    return _f("where", empty, const(0.0), _f("mul", x, log))


def _may_be(e: Expr, value: float) -> bool:
    low, high = bounds(e)
    return low <= value <= high and e.op not in ("exp", "softplus", "cosh")


def _vanishing(x: Expr, factor: Expr) -> Expr | None:
    """What may overflow, times an exponential that has vanished, is 0; for powers and products of a value with itself."""
    if growth(x) < 2:
        return None
    return _f("where", _f("eq", factor, const(0)), const(0.0), _f("mul", x, factor))


_EXP_Z: Final = ("exp", "z")
_EXP_MINUS_Z: Final = ("exp", ("neg", "z"))
_COSH: Final = ("div", ("add", _EXP_Z, _EXP_MINUS_Z), 2)
_SQUARES: Final = (("mul", "u", "u"), ("pow", "u", 2))


_HYPOTENUSE: Final = ("where", "near", ("sqrt", ("add", 1, ("mul", "u", "u"))), "far")
"""What `_root_of_one_and_square` made."""


RULES: Final[tuple[Rule, ...]] = (
    # log e^u = u
    Rule("log of exp", ("log", ("exp", "u")), lambda b: b["u"]),
    # log(1 + e^z) = softplus(z)
    Rule("softplus", ("log", ("add", 1, _EXP_Z)), lambda b: _f("softplus", b["z"])),
    Rule("softplus", ("log1p", _EXP_Z), lambda b: _f("softplus", b["z"])),
    # (e^z - e^-z) / (e^z + e^-z) = tanh(z)
    Rule("tanh", ("div", ("sub", _EXP_Z, _EXP_MINUS_Z), ("add", _EXP_Z, _EXP_MINUS_Z)), lambda b: _f("tanh", b["z"])),
    Rule("tanh", ("div", ("expm1", "u"), ("add", 1, ("exp", "u"))), lambda b: _f("tanh", _f("div", b["u"], const(2)))),
    Rule("tanh", ("div", ("neg", ("expm1", "u")), ("add", 1, ("exp", "u"))),
         lambda b: neg(_f("tanh", _f("div", b["u"], const(2))))),
    Rule("tanh", ("div", ("sinh", "z"), ("cosh", "z")), lambda b: _f("tanh", b["z"])),
    # (e^z - e^-z) / 2 = sinh(z),  (e^z + e^-z) / 2 = cosh(z)
    Rule("sinh", ("div", ("sub", _EXP_Z, _EXP_MINUS_Z), 2), lambda b: _f("sinh", b["z"])),
    Rule("cosh", _COSH, lambda b: _f("cosh", b["z"])),
    # e^z / (1 + e^z) = sigmoid(z),  x / (1 + e^u) = x sigmoid(-u),  e^a / (e^a + e^b) = sigmoid(a - b)
    Rule("sigmoid of exp", ("div", _EXP_Z, ("add", 1, _EXP_Z)), lambda b: _f("sigmoid", b["z"])),
    Rule("sigmoid", ("div", "x", ("add", 1, ("exp", "u"))), lambda b: mul(b["x"], _f("sigmoid", neg(b["u"])))),
    Rule("sigmoid of exp", ("div", ("exp", "a"), ("add", ("exp", "a"), ("exp", "b"))),
         lambda b: _f("sigmoid", _f("sub", b["a"], b["b"]))),
    # 1 + tanh(u) = 2 sigmoid(2 u),  1 - tanh(u) = 2 sigmoid(-2 u)
    Rule("sigmoid of tanh", ("add", 1, ("tanh", "u")), lambda b: mul(const(2), _f("sigmoid", mul(const(2), b["u"])))),
    Rule("sigmoid of tanh", ("sub", 1, ("tanh", "u")), lambda b: mul(const(2), _f("sigmoid", mul(const(-2), b["u"])))),
    Rule("sigmoid of tanh", ("div", ("mul", "x", ("mul", 2, ("sigmoid", "u"))), 2),
         lambda b: mul(b["x"], _f("sigmoid", b["u"]))),
    Rule("sigmoid of tanh", ("div", ("mul", 2, ("sigmoid", "u")), 2), lambda b: _f("sigmoid", b["u"])),
    Rule("sigmoid of tanh", ("mul", 0.5, ("mul", 2, ("sigmoid", "u"))), lambda b: _f("sigmoid", b["u"])),
    Rule("sigmoid of tanh", ("mul", ("mul", 0.5, "x"), ("mul", 2, ("sigmoid", "u"))),
         lambda b: mul(b["x"], _f("sigmoid", b["u"]))),
    # log sigmoid(z) = -softplus(-z),  log(1 - sigmoid(z)) = -softplus(z)
    Rule("log sigmoid", ("log", ("sigmoid", "z")), lambda b: neg(_f("softplus", neg(b["z"])))),
    Rule("log one minus sigmoid", ("log", ("sub", 1, ("sigmoid", "z"))), lambda b: neg(_f("softplus", b["z"]))),
    Rule("log one minus sigmoid", ("log1p", ("neg", ("sigmoid", "z"))), lambda b: neg(_f("softplus", b["z"]))),
    # log cosh z
    Rule("log cosh", ("log", ("cosh", "z")), lambda b: _log_cosh(b["z"])),
    # log(1 - e^u)
    Rule("log one minus exp", ("log", ("neg", ("expm1", "u"))), lambda b: _log_one_minus_exp(b["u"])),
    Rule("log one minus exp", ("log1p", ("neg", ("exp", "u"))), lambda b: _log_one_minus_exp(b["u"])),
    # log(e^u / s) = u - log s,  log((1 + x) / (1 - x)) = 2 artanh(x)
    Rule("log of quotient", ("log", ("div", ("exp", "u"), "s")), lambda b: sub(b["u"], _f("log", b["s"]))),
    Rule("artanh", ("log", ("div", ("add", 1, "x"), ("sub", 1, "x"))), lambda b: mul(const(2), _f("atanh", b["x"]))),
    # log(u + sqrt(1 + u^2)) = arsinh(u)
    Rule("arsinh", ("log", ("add", "u", _HYPOTENUSE)), lambda b: _f("asinh", b["u"])),
    # log(1 + u^2), log(1 + x), log(1 - x), e^x - 1, 1 - e^x
    *(Rule("log of one and a square", ("log", ("add", 1, s)), lambda b: _log_of_one_and_square(b["u"])) for s in _SQUARES),
    *(Rule("log of one and a square", ("log1p", s), lambda b: _log_of_one_and_square(b["u"])) for s in _SQUARES),
    Rule("log1p", ("log", ("add", 1, "x")), lambda b: _f("log1p", b["x"])),
    Rule("log1p", ("log", ("sub", 1, "x")), lambda b: _f("log1p", neg(b["x"]))),
    Rule("expm1", ("sub", ("exp", "x"), 1), lambda b: _f("expm1", b["x"])),
    Rule("expm1", ("sub", 1, ("exp", "x")), lambda b: neg(_f("expm1", b["x"]))),
    # 1 - cos x = 2 sin(x/2)^2
    Rule("one minus cos", ("sub", 1, ("cos", "x")), lambda b: _one_minus_cos(b["x"])),
    # sqrt(u^2) = |u|,  sqrt(1 + u^2),  sqrt(1 + x) - 1
    *(Rule("root of a square", ("sqrt", s), lambda b: _f("abs", b["u"])) for s in _SQUARES),
    *(Rule("root of one and a square", ("sqrt", ("add", 1, s)), lambda b: _root_of_one_and_square(b["u"])) for s in _SQUARES),
    Rule("root minus one", ("sub", _HYPOTENUSE, 1),
         lambda b: _f("where", b["near"], _root_minus_one(_square(b["u"])), _f("sub", b["far"], const(1)))),
    Rule("root minus one", ("sub", ("sqrt", ("add", 1, "x")), 1), lambda b: _root_minus_one(b["x"])),
    # 0 log 0 = 0
    Rule("zero times log", ("mul", "x", ("log", "u")), lambda b: _zero_times_log(b["x"], b["u"], _f("log", b["u"]), 0.0)),
    Rule("zero times log", ("mul", "x", ("log1p", "u")), lambda b: _zero_times_log(b["x"], b["u"], _f("log1p", b["u"]), -1.0)),
    # what overflows times what has vanished
    Rule("vanishing factor", ("mul", "x", ("exp", "u")), lambda b: _vanishing(b["x"], _f("exp", b["u"]))),
)  # fmt: skip
"""In the order in which they are tried."""
