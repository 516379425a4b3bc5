"""Equations in many digits: what the exact value and derivative are where floating point may be wrong.

mpmath (which SymPy brings along) computes the equations as they were typed, before any rewriting, on numbers that carry
their derivative along (dual numbers). Two precisions have to agree; where none that is tried does, the point is left out.
The derivatives here are the textbooks', written down a second time: they owe nothing to those of the compiler.
"""

# ruff: noqa: ARG005 -- a row of derivatives takes the value and all arguments, and uses what it needs

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import mpmath

from bpcompile.nodes.expressions import Axis, Expr, children_first
from bpcompile.nodes.statements import Statement

Number = Any
Place = tuple[str, tuple[int, ...]]
"""An element: the tensor's name, and its subscripts."""

DIGITS: Final = (420, 840, 3000)
"""Precisions that are tried in turn. ``log(1 + exp(-700))`` is 1e-304, and squares of float64 reach 1e-616."""
DIGITS_OF_ONE: Final = (60, 120)
"""The same for a single function, where no digits can be lost."""
AGREED: Final = "1e-25"
VANISHED: Final = "1e-400"
"""What is below this is 0 to every float64."""
_HUGE_EXPONENT: Final = 1 << 13  # binary digits in front of the point: the exponential of such a number is 0 or infinite


class Unknown(Exception):  # not an error of the user's: this point has no exact value to compare with
    """The exact value is not known: digits ran out, or the formula is not defined there."""


@dataclass(frozen=True, slots=True)
class Dual:
    """A number and its derivative by the variable of interest.

    Attributes
    ----------
    value, slope : mpmath number
        The number and its derivative.
    lost : bool
        It is 0 because digits ran out.
    varies : bool
        It depends on the variable, even where its slope is 0.
    """

    value: Number
    slope: Number
    lost: bool = False
    varies: bool = False


@dataclass
class Exact:
    """The equations of a network or formula in many digits.

    Attributes
    ----------
    equations : iterable of Statement
        As typed: reductions stand inside their expressions.
    n : int
        The number of examples.
    flag : bool
        What ``training`` is.
    """

    equations: Iterable[Statement]
    n: int = 1
    flag: bool = True
    of: dict[str, Statement] = field(init=False)
    _ladders: dict[str, tuple[int, ...]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.of = {s.target: s for s in self.equations if s.plain}

    def ladder(self, tensor: str) -> tuple[int, ...]:
        """The precisions that a tensor takes."""
        if tensor not in self._ladders:
            below = list(children_first(self.of[tensor].body)) if tensor in self.of else []
            computed = any(e.op == "load" and e.value[0] in self.of for e in below)
            single = sum(e.op not in ("load", "axis", "const", "neg") for e in below) <= 1 and not computed
            self._ladders[tensor] = DIGITS_OF_ONE if single else DIGITS
        return self._ladders[tensor]

    def dual(self, place: Place, given: Mapping[Place, Number], by: Place | None = None) -> Dual:
        """The value of an element and its derivative by another one, both to some twenty digits at the least.

        Raises
        ------
        Unknown
            If it cannot be told.
        """
        before: Dual | None = None
        ladder = self.ladder(place[0])
        for digits in ladder:
            with mpmath.workdps(digits):
                now = _Evaluation(self, given, by, {}).element(place)
                if before is not None and _agree(before, now):
                    return now
            before = now
        raise Unknown


def _agree(a: Dual, b: Dual) -> bool:
    return all(_same(x, y) for x, y in ((a.value, b.value), (a.slope, b.slope)))


def _same(a: Number, b: Number) -> bool:
    if mpmath.isnan(a) or mpmath.isnan(b):
        raise Unknown
    if mpmath.isinf(a) or mpmath.isinf(b):
        return bool(a == b)
    if max(abs(a), abs(b)) < mpmath.mpf(VANISHED):
        return True
    return bool(abs(a - b) <= mpmath.mpf(AGREED) * abs(b))


@dataclass
class _Evaluation:
    """One evaluation in one precision."""

    exact: Exact
    given: Mapping[Place, Number]
    by: Place | None
    done: dict[Place, Dual]

    def element(self, place: Place) -> Dual:
        if place not in self.done:
            self.done[place] = self._element(place)
        return self.done[place]

    def _element(self, place: Place) -> Dual:
        if place in self.given:
            return Dual(mpmath.mpf(self.given[place]), mpmath.mpf(int(place == self.by)), varies=place == self.by)
        s = self.exact.of.get(place[0])
        if s is None:
            raise Unknown
        return self.expression(s.body, dict(zip(s.axes, place[1], strict=True)))

    def expression(self, root: Expr, at: Mapping[Axis, int]) -> Dual:
        done: dict[Expr, Dual] = {}
        stack = [root]
        while stack:
            e = stack[-1]
            waiting = [a for a in self._needed(e, done) if a not in done]
            if waiting:
                stack.extend(waiting)
                continue
            done[e] = self._node(e, done, at)
            stack.pop()
        return done[root]

    @staticmethod
    def _needed(e: Expr, done: Mapping[Expr, Dual]) -> tuple[Expr, ...]:
        """The arguments that count: of a selection only the branch that is taken, so that the other may be undefined."""
        if e.op == "reduce":
            return ()
        if e.op == "where":
            return (e.args[0],) if e.args[0] not in done else (e.args[0], e.args[1 if done[e.args[0]].value else 2])
        return e.args

    def _node(self, e: Expr, done: Mapping[Expr, Dual], at: Mapping[Axis, int]) -> Dual:
        if e.op == "const":
            return Dual(e.value if isinstance(e.value, bool) else mpmath.mpf(e.value), mpmath.mpf(0))
        if e.op in ("axis", "size", "flag"):
            value = at[e.value] if e.op == "axis" else self.exact.n if e.op == "size" else self.exact.flag
            return Dual(value if e.op == "flag" else mpmath.mpf(value), mpmath.mpf(0))
        if e.op == "load":
            return self.element((e.value[0], tuple(int(done[a].value) for a in e.args)))
        if e.op == "reduce":
            return self._reduction(e, at)
        if e.op == "where":
            return done[e.args[1 if done[e.args[0]].value else 2]]
        if e.op in ("max", "min") and e.args[1].op == "const" and done[e.args[0]].value == done[e.args[1]].value:
            return done[e.args[1]]  # of equal ones a constant wins: relu'(0) = 0
        made = operation(e.op, [done[a] for a in e.args])
        if e.op in ("add", "sub") and made.value == 0 and done[e.args[0]].value != 0 and not _is_exact(e):
            return replace(made, lost=True)
        return made

    def _reduction(self, e: Expr, at: Mapping[Axis, int]) -> Dual:
        kind, axes = e.value
        extents = [range(self.exact.n if a.extent is None else a.extent) for a in axes]
        terms = [self.expression(e.args[0], {**at, **dict(zip(axes, ks, strict=True))}) for ks in itertools.product(*extents)]
        if kind in ("sum", "mean"):
            count = len(terms) if kind == "mean" else 1
            value, slope = (sum(parts) / mpmath.mpf(count) for parts in zip(*((t.value, t.slope) for t in terms), strict=True))
            return Dual(value, slope, varies=any(t.varies for t in terms))
        sign = 1 if kind.endswith("max") else -1
        best = max(range(len(terms)), key=lambda k: (sign * terms[k].value, -k))
        return terms[best] if kind in ("max", "min") else Dual(mpmath.mpf(best), mpmath.mpf(0))


def operation(op: str, a: list[Dual]) -> Dual:
    """One scalar operation on dual numbers; kinks have the conventions of the language."""
    values = [x.value for x in a]
    if any(x.lost for x in a[-1 if op == "div" else 0 :]) and op in _WITH_POLES:
        raise Unknown
    try:
        value = _value(op, values)
        if isinstance(value, mpmath.mpc) or op not in DERIVATIVES:
            if isinstance(value, mpmath.mpc) or (op not in _STEPS and op not in _LOGIC):
                raise Unknown
            return Dual(value, mpmath.mpf(0))
        slope = mpmath.mpf(0)
        varies = any(x.varies for x in a)
        for x, derivative in zip(a, DERIVATIVES[op](value, *values) if varies else a, strict=True):
            if x.varies:
                slope += _product(x.slope, derivative)
    except (ZeroDivisionError, ValueError, OverflowError, TypeError, mpmath.libmp.NoConvergence):
        raise Unknown from None
    if isinstance(slope, mpmath.mpc):
        raise Unknown
    return Dual(value, slope, any(x.lost for x in a) and value == 0, varies)


def _product(slope: Number, derivative: Number) -> Number:
    if not slope and not mpmath.isfinite(derivative):
        raise Unknown
    return slope * derivative if slope else slope


def _is_exact(e: Expr) -> bool:
    """True for sums and products of what is given: nothing is rounded in them."""
    return all(x.op in _EXACT for x in children_first(e))


def _value(op: str, a: list[Number]) -> Number:
    function = FUNCTIONS.get(op)
    if function is None:
        raise Unknown
    return function(*a)


def _exp(x: Number) -> Number:
    """Beyond any exponent that fits in memory it is 0 or infinite."""
    if mpmath.isfinite(x) and x and mpmath.mag(x) > _HUGE_EXPONENT:
        return mpmath.mpf(0) if x < 0 else mpmath.inf
    return mpmath.exp(x)


def _cosh(x: Number) -> Number:
    return (_exp(x) + _exp(-x)) / 2


def _sinh(x: Number) -> Number:
    return mpmath.sinh(x) if abs(x) < 1 else (_exp(x) - _exp(-x)) / 2


def _sigmoid(x: Number) -> Number:
    return 1 / (1 + _exp(-x)) if x > 0 else 1 - 1 / (1 + _exp(x)) if x > -1 else _exp(x) / (1 + _exp(x))


def _tanh(x: Number) -> Number:
    return mpmath.tanh(x) if abs(x) < 1 else mpmath.sign(x) * (1 - 2 / (1 + _exp(2 * abs(x))))


def _erfc(x: Number) -> Number:
    return mpmath.erfc(x) if abs(x) < mpmath.mpf(10) ** 6 else mpmath.mpf(0 if x > 0 else 2)


def _erf(x: Number) -> Number:
    return mpmath.erf(x) if abs(x) < mpmath.mpf(10) ** 6 else mpmath.sign(x)


def _power(a: Number, p: Number) -> Number:
    return mpmath.mpf(1) if p == 0 else mpmath.power(a, p)


def _power_slopes(y: Number, a: Number, p: Number) -> tuple[Number, Number]:
    by_exponent = mpmath.mpf(0) if a == 0 and p > 0 else y * mpmath.log(a) if a > 0 else mpmath.nan
    return (p * _power(a, p - 1) if p else mpmath.mpf(0)), by_exponent


def _divided(a: Number, b: Number) -> Number:
    if b == 0:
        raise Unknown
    return a / b


def _root_slope(y: Number) -> Number:
    return 1 / (2 * y) if y else mpmath.inf


def _log(x: Number) -> Number:
    return mpmath.log(x) if x else mpmath.ninf


def _reciprocal(x: Number) -> Number:
    return 1 / x if x else mpmath.inf


_EXACT: Final = ("load", "axis", "const", "add", "sub", "neg", "abs", "mul", "max", "min")
_WITH_POLES: Final = ("div", "log", "log2", "log10", "log1p", "pow", "gamma", "lgamma", "digamma", "trigamma")
_STEPS: Final = ("sign", "floor", "ceil", "round")
_LOGIC: Final = ("lt", "le", "eq", "ne", "and", "or", "not", "stop", "floordiv", "trigamma")

FUNCTIONS: Final[dict[str, Callable[..., Number]]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "neg": lambda a: -a, "mul": lambda a, b: a * b, "div": _divided,
    "pow": _power, "stop": lambda a: a, "max": lambda a, b: a if a >= b else b, "min": lambda a, b: a if a <= b else b,
    "abs": abs, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
    "and": lambda a, b: a and b, "or": lambda a, b: a or b, "not": lambda a: not a,
    "mod": lambda a, b: a - b * mpmath.floor(a / b), "floordiv": lambda a, b: mpmath.floor(a / b),
    "exp": _exp, "expm1": lambda x: mpmath.expm1(x) if abs(x) < 1 else _exp(x) - 1, "log": _log,
    "log1p": lambda x: mpmath.log1p(x) if x > -1 else _log(1 + x), "log2": lambda x: _log(x) / mpmath.log(2),
    "log10": lambda x: _log(x) / mpmath.log(10), "sqrt": mpmath.sqrt, "sin": mpmath.sin, "cos": mpmath.cos,
    "tan": mpmath.tan, "asin": mpmath.asin, "acos": mpmath.acos, "atan": mpmath.atan, "atan2": mpmath.atan2,
    "sinh": _sinh, "cosh": _cosh, "tanh": _tanh, "asinh": mpmath.asinh, "acosh": mpmath.acosh, "atanh": mpmath.atanh,
    "erf": _erf, "erfc": _erfc, "gamma": mpmath.gamma, "lgamma": lambda x: mpmath.log(abs(mpmath.gamma(x))),
    "digamma": mpmath.digamma, "trigamma": lambda x: mpmath.polygamma(1, x), "sigmoid": _sigmoid,
    "softplus": lambda x: (x if x > 0 else 0) + mpmath.log1p(_exp(-abs(x))), "sign": mpmath.sign,
    "floor": mpmath.floor, "ceil": mpmath.ceil, "round": mpmath.nint,
}  # fmt: skip
"""The value of each operation."""

DERIVATIVES: Final[dict[str, Callable[..., tuple[Number, ...]]]] = {
    "add": lambda y, a, b: (1, 1), "sub": lambda y, a, b: (1, -1), "neg": lambda y, a: (-1,),
    "mul": lambda y, a, b: (b, a), "div": lambda y, a, b: (1 / b, -a / b**2), "pow": _power_slopes,
    "max": lambda y, a, b: (int(a >= b), int(a < b)),
    "min": lambda y, a, b: (int(a <= b), int(a > b)), "mod": lambda y, a, b: (1, -mpmath.floor(a / b)),
    "abs": lambda y, a: (mpmath.sign(a),), "exp": lambda y, x: (y,), "expm1": lambda y, x: (_exp(x),),
    "log": lambda y, x: (_reciprocal(x),), "log1p": lambda y, x: (_reciprocal(1 + x),),
    "log2": lambda y, x: (_reciprocal(x) / mpmath.log(2),), "log10": lambda y, x: (_reciprocal(x) / mpmath.log(10),),
    "sqrt": lambda y, x: (_root_slope(y),), "sin": lambda y, x: (mpmath.cos(x),), "cos": lambda y, x: (-mpmath.sin(x),),
    "tan": lambda y, x: (1 + y**2,), "asin": lambda y, x: (_reciprocal(mpmath.sqrt(1 - x**2)),),
    "acos": lambda y, x: (-_reciprocal(mpmath.sqrt(1 - x**2)),), "atan": lambda y, x: (1 / (1 + x**2),),
    "atan2": lambda y, a, b: (b / (a**2 + b**2), -a / (a**2 + b**2)), "sinh": lambda y, x: (_cosh(x),),
    "cosh": lambda y, x: (_sinh(x),), "tanh": lambda y, x: (1 / _cosh(x) ** 2,),
    "asinh": lambda y, x: (1 / mpmath.sqrt(x**2 + 1),), "acosh": lambda y, x: (_reciprocal(mpmath.sqrt(x**2 - 1)),),
    "atanh": lambda y, x: (_reciprocal(1 - x**2),), "erf": lambda y, x: (2 / mpmath.sqrt(mpmath.pi) * _exp(-(x**2)),),
    "erfc": lambda y, x: (-2 / mpmath.sqrt(mpmath.pi) * _exp(-(x**2)),), "gamma": lambda y, x: (y * mpmath.digamma(x),),
    "lgamma": lambda y, x: (mpmath.digamma(x),), "digamma": lambda y, x: (mpmath.polygamma(1, x),),
    "sigmoid": lambda y, x: (_sigmoid(x) * _sigmoid(-x),), "softplus": lambda y, x: (_sigmoid(x),),
}  # fmt: skip
"""The derivatives of each operation by its arguments, from its value and them."""
