"""An interpreter of networks that is slow and obviously right: scalar loops over the equations as they are typed.

It knows nothing of the compiler: no normal form, no rewriting, no arrays but for storage. Numbers are Python floats, or
mpmath's with as many digits as wanted. Every element is computed when it is first asked for, so the order of equations and
the direction of recurrences need no thought.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import mpmath
import numpy as np
import sympy
from sympy.core.numbers import NumberSymbol

from bpcompile.language import functions, symbols
from bpcompile.language.network import Network
from bpcompile.language.records import Call

__all__ = ["Result", "interpret", "loss_gradient"]

Number = Any
#: kind, call, equation's position, occurrence, values of all indices in scope, parameters -> the number drawn
DrawFunction = Callable[[str, str, int, int, Mapping[str, int], tuple[Number, ...]], Number]


@dataclass
class Result:
    """Every tensor by its global name, the states after the call, the loss."""

    values: dict[str, np.ndarray[Any, Any]]
    state: dict[str, np.ndarray[Any, Any]]
    loss: Number


@dataclass
class Machine:
    """One run: the arrays so far, and how numbers are made."""

    extents: Mapping[str, int]
    read: Callable[[str, tuple[int, ...]], Number]
    draw: Callable[[str, int, Mapping[str, int], tuple[Number, ...]], Number]
    training: bool
    exact: bool
    indices: dict[str, int] = field(default_factory=dict)


def interpret(
    network: Network,
    parameters: Mapping[str, Any],
    arrays: Mapping[str, Any],
    *,
    state: Mapping[str, Any] | None = None,
    draw: DrawFunction | None = None,
    training: bool = True,
    exact: bool = False,
) -> Result:
    """Compute every tensor of `network` for small arrays.

    `parameters` and `state` are by full name, `arrays` by the names of inputs and targets. With `exact`, numbers are mpmath's
    at its current precision. Targets may be missing if no loss is wanted.
    """
    batch = len(next(iter(arrays.values())))
    convert: Any = mpmath.mpf if exact else float
    values: dict[str, np.ndarray[Any, Any]] = {}
    for source in (parameters, state or {}, arrays):
        for name, array in source.items():
            integer = name in network.tensors and network.tensors[name].integer
            values[name] = _converted(array, int if integer else convert)
    after: dict[str, np.ndarray[Any, Any]] = {}
    for call in network.calls:
        if all(call.resolve[name] in values for name in call.layer.inputs):
            _run_call(call, values, after, batch, draw, training, exact)
    return Result(values, after, _loss(network, values, convert))


def loss_gradient(
    network: Network,
    parameters: Mapping[str, Any],
    arrays: Mapping[str, Any],
    wrt: str,
    *,
    digits: int = 40,
    **options: Any,
) -> np.ndarray[Any, Any]:
    """The gradient of the loss by one parameter or real input, by central differences in many digits."""
    with mpmath.workdps(digits):
        step = mpmath.mpf(10) ** (-digits // 3)
        start = parameters if wrt in parameters else arrays
        base = _converted(start[wrt], mpmath.mpf)
        gradient = np.zeros(base.shape)
        for place in np.ndindex(base.shape):
            ends = []
            for sign in (1, -1):
                moved = base.copy()
                moved[place] = base[place] + sign * step
                given = {**start, wrt: moved}
                pair = (given, arrays) if wrt in parameters else (parameters, given)
                ends.append(interpret(network, *pair, exact=True, **options).loss)
            gradient[place] = float((ends[0] - ends[1]) / (2 * step))
        return gradient


def _converted(array: Any, convert: Any) -> np.ndarray[Any, Any]:
    source = np.asarray(array)
    result = np.empty(source.shape, dtype=object)
    for place in np.ndindex(source.shape):
        item = source[place]
        result[place] = item if isinstance(item, mpmath.mpf) else convert(item)
    return result


def _loss(network: Network, values: Mapping[str, Any], convert: Any) -> Number:
    if not network.losses or any(value.name not in values for _, value in network.losses):
        return None
    total = convert(0)
    for weight, value in network.losses:
        elements = values[value.name].ravel().tolist()
        total += convert(weight) * (sum(elements, convert(0)) / len(elements))
    for info in network.parameters.values():
        l1, l2 = info.penalty
        for w in values[info.name].ravel().tolist():
            total += convert(l1) * abs(w) + convert(l2) * w * w
    return total


def _run_call(
    call: Call,
    values: dict[str, Any],
    after: dict[str, Any],
    batch: int,
    draw: DrawFunction | None,
    training: bool,
    exact: bool,
) -> None:
    extents = {name: batch if extent is None else extent for name, extent in call.extents.items()}
    known: dict[tuple[str, tuple[int, ...]], Number] = {}
    closures = [_closure(e.rhs) for e in call.equations]
    left = [[_closure(s) for s in e.lhs.subscripts] for e in call.equations]
    defined = set(call.layer.defined)

    def machine(position: int, indices: dict[str, int]) -> Machine:
        def drawn(kind: str, occurrence: int, scope: Mapping[str, int], numbers: tuple[Number, ...]) -> Number:
            assert draw is not None, "the network draws random numbers; give draw="
            return draw(kind, call.name, position, occurrence, scope, numbers)

        return Machine(extents, read, drawn, training, exact, indices)

    def shape_of(name: str) -> tuple[int, ...]:
        return tuple(batch if extent is None else extent for extent in call.tensors[name].shape)

    def matching(name: str, place: tuple[int, ...]) -> tuple[int, dict[str, int]] | None:
        """The equation that defines an element; one with an integer on the left defines that step alone."""
        found = None
        for position, equation in enumerate(call.equations):
            if equation.lhs.tensor != name:
                continue
            indices: dict[str, int] = {}
            fits = True
            for subscript, closure, value in zip(equation.lhs.subscripts, left[position], place, strict=True):
                if isinstance(subscript, symbols.Index):
                    indices[subscript.name] = value
                    fits = fits and 0 <= value < extents[subscript.name]
                else:
                    fits = fits and closure(machine(position, {})) == value
            if fits:
                found = (position, indices)
        return found

    def element(name: str, place: tuple[int, ...]) -> Number:
        key = (name, place)
        if key not in known:
            match = matching(name, place)
            known[key] = 0 if match is None else closures[match[0]](machine(match[0], match[1]))
        return known[key]

    def read(name: str, place: tuple[int, ...]) -> Number:
        inside = all(0 <= k < extent for k, extent in zip(place, shape_of(name), strict=True))
        if not inside and call.tensors[name].outside is not None:
            return call.tensors[name].outside
        if name in defined:
            return element(name, place)
        assert inside, f"{name}{list(place)} is outside of {shape_of(name)} in call {call.name}"
        return values[call.resolve[name]][place]

    for name in call.layer.defined:
        array = np.empty(shape_of(name), dtype=object)
        for place in np.ndindex(array.shape):
            array[place] = element(name, place)
        values[call.resolve[name]] = array
    for name in call.layer.state:
        array = np.empty(shape_of(name), dtype=object)
        for place in np.ndindex(array.shape):
            array[place] = element(name, place)
        after[call.resolve[name]] = array


# Expressions become closures over a machine: one row a node.

Closure = Callable[[Machine], Number]


@singledispatch
def _closure(expression: Any) -> Closure:
    name = functions.FUNCTION_NAMES[type(expression)]
    arguments = [_closure(a) for a in expression.args]
    plain, exact = _SCALAR[name]
    return lambda m: (exact if m.exact else plain)(*(a(m) for a in arguments))


@_closure.register
def _(expression: sympy.Rational) -> Closure:
    p, q = int(expression.p), int(expression.q)
    return (lambda m: p) if q == 1 else lambda m: mpmath.mpf(p) / q if m.exact else p / q


@_closure.register
def _(expression: sympy.Float) -> Closure:
    value = float(expression)
    return lambda m: mpmath.mpf(value) if m.exact else value


@_closure.register
def _(expression: NumberSymbol) -> Closure:
    return lambda m: mpmath.mpf(expression.evalf(mpmath.mp.dps + 5)) if m.exact else float(expression)


@_closure.register(type(sympy.oo))
def _(expression: Any) -> Closure:
    return lambda m: mpmath.inf if m.exact else math.inf


@_closure.register(type(-sympy.oo))
def _(expression: Any) -> Closure:
    return lambda m: -mpmath.inf if m.exact else -math.inf


@_closure.register
def _(expression: symbols.Index) -> Closure:
    return lambda m: m.indices[expression.name]


@_closure.register
def _(expression: symbols.SizeOf) -> Closure:
    return lambda m: m.extents[expression.index.name]


@_closure.register
def _(expression: symbols.Access) -> Closure:
    subscripts = [_closure(s) for s in expression.subscripts]
    name = expression.tensor
    return lambda m: m.read(name, tuple(int(s(m)) for s in subscripts))


@_closure.register
def _(expression: sympy.Add) -> Closure:
    terms = [_closure(a) for a in expression.args]
    return lambda m: _total([t(m) for t in terms])


def _total(values: list[Number]) -> Number:
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result


@_closure.register
def _(expression: sympy.Mul) -> Closure:
    factors = [(_closure(a.base), True) if isinstance(a, sympy.Pow) and a.exp == -1 else (_closure(a), False)
               for a in expression.args]  # fmt: skip

    def product(m: Machine) -> Number:
        result: Number = 1
        for factor, inverse in factors:
            value = factor(m)
            result = _divide(result, value, m) if inverse else result * value
        return result

    return product


def _divide(a: Number, b: Number, m: Machine) -> Number:
    if m.exact:
        return mpmath.mpf(a) / b if b else mpmath.nan
    with np.errstate(all="ignore"):
        return float(np.float64(a) / np.float64(b))


@_closure.register
def _(expression: sympy.Pow) -> Closure:
    base, exponent = _closure(expression.base), _closure(expression.exp)

    def power(m: Machine) -> Number:
        a, b = base(m), exponent(m)
        if m.exact:
            return mpmath.power(a, b)
        if isinstance(a, int) and isinstance(b, int) and b >= 0:
            return a**b
        with np.errstate(all="ignore"):
            return float(np.power(np.float64(a), np.float64(b)))

    return power


@_closure.register
def _(expression: symbols.FloorDivide) -> Closure:
    a, b = (_closure(x) for x in expression.args)
    return lambda m: mpmath.floor(a(m) / mpmath.mpf(b(m))) if m.exact else a(m) // b(m)


@_closure.register
def _(expression: symbols.Modulo) -> Closure:
    a, b = (_closure(x) for x in expression.args)
    return lambda m: a(m) % b(m)


def _is_nan(x: Number) -> bool:
    return bool(x != x)


def _greatest(values: list[Number]) -> Number:
    best = values[0]
    for value in values[1:]:
        if not _is_nan(best) and (_is_nan(value) or value > best):
            best = value
    return best


def _least(values: list[Number]) -> Number:
    return -_greatest([-v for v in values])


@_closure.register
def _(expression: symbols.Maximum) -> Closure:
    a, b = (_closure(x) for x in expression.args)
    return lambda m: _greatest([a(m), b(m)])


@_closure.register
def _(expression: symbols.Minimum) -> Closure:
    a, b = (_closure(x) for x in expression.args)
    return lambda m: _least([a(m), b(m)])


@_closure.register
def _(expression: symbols.Where) -> Closure:
    condition, a, b = (_closure(x) for x in expression.args)
    return lambda m: a(m) if condition(m) else b(m)


@_closure.register
def _(expression: symbols.StopGradient) -> Closure:
    return _closure(expression.args[0])


@_closure.register
def _(expression: symbols.Draw) -> Closure:
    parameters = [_closure(p) for p in expression.parameters]
    kind, occurrence = expression.kind, expression.occurrence
    return lambda m: m.draw(kind, occurrence, dict(m.indices), tuple(p(m) for p in parameters))


@_closure.register
def _(expression: symbols.Reduction) -> Closure:
    body = _closure(expression.body)
    names = [i.name for i in expression.indices]
    reduce = _REDUCE[expression.kind]

    def reduced(m: Machine) -> Number:
        values = []
        for place in itertools.product(*(range(m.extents[name]) for name in names)):
            m.indices.update(zip(names, place, strict=True))
            values.append(body(m))
        for name in names:
            m.indices.pop(name)
        return reduce(values)

    return reduced


_REDUCE: dict[str, Callable[[list[Number]], Number]] = {
    "sum": _total,
    "mean": lambda values: _total(values) / len(values),
    "max": _greatest,
    "min": _least,
    "argmax": lambda values: next(k for k, v in enumerate(values) if _is_nan(v) or v == _greatest(values)),
    "argmin": lambda values: next(k for k, v in enumerate(values) if _is_nan(v) or v == _least(values)),
}


# Conditions.


@_closure.register
def _(expression: symbols.LogicalAnd) -> Closure:
    a, b = (_closure(x) for x in expression.args)
    return lambda m: a(m) and b(m)


@_closure.register
def _(expression: symbols.LogicalOr) -> Closure:
    a, b = (_closure(x) for x in expression.args)
    return lambda m: a(m) or b(m)


@_closure.register
def _(expression: symbols.LogicalNot) -> Closure:
    a = _closure(expression.args[0])
    return lambda m: not a(m)


@_closure.register(type(sympy.true))
def _(expression: Any) -> Closure:
    return lambda m: True


@_closure.register(type(sympy.false))
def _(expression: Any) -> Closure:
    return lambda m: False


@_closure.register(type(symbols.TRAINING))
def _(expression: Any) -> Closure:
    return lambda m: m.training


_COMPARE: dict[str, Callable[[Number, Number], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


@_closure.register
def _(expression: sympy.core.relational.Relational) -> Closure:
    a, b = (_closure(x) for x in expression.args)
    compare = _COMPARE[expression.rel_op]
    return lambda m: compare(a(m), b(m))


# Scalar functions: as floats, and in many digits.


def _through_numpy(function: Any) -> Callable[..., float]:
    def call(*arguments: Number) -> float:
        with np.errstate(all="ignore"):
            return float(function(*(np.float64(a) for a in arguments)))

    return call


def _through_mpmath(function: Any) -> Callable[[Number], float]:
    """Right to the last place, since mpmath works with more digits."""

    def call(x: Number) -> float:
        if _is_nan(x):
            return math.nan
        with mpmath.workdps(40):
            return float(mpmath.re(function(mpmath.mpf(x))))

    return call


def _sign(x: Number) -> Number:
    return x if _is_nan(x) else (x > 0) - (x < 0)


def _sigmoid(x: Number) -> Number:
    return 1 / (1 + mpmath.exp(-mpmath.mpf(x)))


def _softplus(x: Number) -> Number:
    x = mpmath.mpf(x)
    return (x if x > 0 else 0) + mpmath.log1p(mpmath.exp(-abs(x)))


def _relu(x: Number) -> Number:
    return x if x > 0 or _is_nan(x) else 0 * x


#: Name in the language: the function of floats, the function of mpmath's numbers.
_SCALAR: dict[str, tuple[Callable[..., Number], Callable[..., Number]]] = {
    "exp": (_through_numpy(np.exp), mpmath.exp),
    "log": (_through_numpy(np.log), mpmath.log),
    "expm1": (_through_numpy(np.expm1), mpmath.expm1),
    "log1p": (_through_numpy(np.log1p), mpmath.log1p),
    "log2": (_through_numpy(np.log2), lambda x: mpmath.log(x, 2)),
    "log10": (_through_numpy(np.log10), mpmath.log10),
    "sin": (_through_numpy(np.sin), mpmath.sin),
    "cos": (_through_numpy(np.cos), mpmath.cos),
    "tan": (_through_numpy(np.tan), mpmath.tan),
    "asin": (_through_numpy(np.arcsin), mpmath.asin),
    "acos": (_through_numpy(np.arccos), mpmath.acos),
    "atan": (_through_numpy(np.arctan), mpmath.atan),
    "atan2": (_through_numpy(np.arctan2), mpmath.atan2),
    "sinh": (_through_numpy(np.sinh), mpmath.sinh),
    "cosh": (_through_numpy(np.cosh), mpmath.cosh),
    "tanh": (_through_numpy(np.tanh), mpmath.tanh),
    "asinh": (_through_numpy(np.arcsinh), mpmath.asinh),
    "acosh": (_through_numpy(np.arccosh), mpmath.acosh),
    "atanh": (_through_numpy(np.arctanh), mpmath.atanh),
    "erf": (math.erf, mpmath.erf),
    "erfc": (math.erfc, mpmath.erfc),
    "abs": (abs, abs),
    "sign": (_sign, _sign),
    "floor": (_through_numpy(np.floor), mpmath.floor),
    "ceil": (_through_numpy(np.ceil), mpmath.ceil),
    "round": (_through_numpy(np.rint), mpmath.nint),
    "gamma": (_through_mpmath(mpmath.gamma), mpmath.gamma),
    "lgamma": (_through_mpmath(mpmath.loggamma), lambda x: mpmath.re(mpmath.loggamma(x))),
    "digamma": (_through_mpmath(mpmath.digamma), mpmath.digamma),
    "trigamma": (_through_mpmath(lambda x: mpmath.polygamma(1, x)), lambda x: mpmath.polygamma(1, x)),
    "sigmoid": (_through_mpmath(_sigmoid), _sigmoid),
    "softplus": (_through_mpmath(_softplus), _softplus),
    "relu": (_relu, _relu),
}
