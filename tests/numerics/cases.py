"""What is measured over the whole range: the functions of the language, the activations, the losses, the stable forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import bpcompile as bp
from bpcompile.language.activations import ACTIVATIONS
from bpcompile.language.functions import FUNCTIONS
from bpcompile.language.layer import Layer
from bpcompile.language.value import Value


@dataclass(frozen=True)
class Case:
    """A formula that is measured.

    Attributes
    ----------
    name : str
        What the table calls it.
    make : callable
        From one value for each variable to a value with the batch as its only axis.
    variables : mapping
        The shape (without the batch) of each variable, and the interval that it is drawn from.
    value_unit : float
        A value's error counts in units in the last place of ``max(value_unit, |f|)``: 0 for a relative error, 1 for
        a difference of terms whose size it has.
    most : tuple of float
        The largest errors that are accepted, of the value and of the derivatives. They are larger than a few units only
        where the rounding of an argument is worth more: ``exp(u)`` turns half a unit of u into |u|/2.
    classes : int
        Where it is not 0, the last variable holds labels below it.
    """

    name: str
    make: Callable[..., Value]
    variables: Mapping[str, tuple[tuple[int, ...], float, float]]
    value_unit: float = 0.0
    classes: int = 0
    most: tuple[float, float] = (4.0, 4.0)


INF = float("inf")
SCALAR: tuple[tuple[int, ...], float, float] = ((), -INF, INF)


Most = tuple[float, float]
FEW: Most = (4.0, 4.0)
EXPONENT: Most = (1000.0, 4.0)
"""An exponent of up to 745 is rounded, or the argument of erfc, whose logarithm is a square."""
SMALL: Most = (2e4, 80.0)
"""A factor that is subnormal has few digits, and a large one brings the product back among the normal numbers."""


def formula(
    text: str, low: float = -INF, high: float = INF, unit: float = 0.0, most: Most = FEW, **more: tuple[float, float]
) -> Case:
    """A formula in ``z`` (and further variables), element by element."""
    variables = {"z": ((), low, high), **{v: ((), *limits) for v, limits in more.items()}}
    return Case(text, lambda *values: _layer(text, tuple(variables))(*values), variables, unit, most=most)


def _layer(text: str, variables: tuple[str, ...]) -> Callable[..., Any]:
    equation = parse_with_batch(text, variables)
    return Layer([f"f[n] = {equation}"], inputs=variables, output="f")


def parse_with_batch(text: str, variables: tuple[str, ...]) -> str:
    """Give each variable its subscript."""
    import re

    for v in variables:
        text = re.sub(rf"(?<![\w.]){v}\b", f"{v}[n]", text)
    return text


def along(name: str, *equations: str, unit: float = 0.0, limit: float = INF, most: Most = FEW) -> Case:
    """Equations over a short axis of ``x``; the last one gives ``f[n]``."""
    return Case(
        name,
        lambda x: _value(Layer(list(equations), inputs=("x",), output="f")(x)),
        {"x": ((3,), -limit, limit)},
        unit,
        most=most,
    )


def _value(made: Any) -> Value:
    result: Value = made if isinstance(made, Value) else made[0]
    return result


_DOMAINS: dict[str, tuple[float, float]] = {
    "log": (0, INF), "log2": (0, INF), "log10": (0, INF), "log1p": (-1, INF), "asin": (-1, 1), "acos": (-1, 1),
    "acosh": (1, INF), "atanh": (-1, 1), "lgamma": (0, INF), "gamma": (0, INF), "digamma": (0, INF), "trigamma": (0, INF),
}  # fmt: skip
_NO_DERIVATIVE = ("trigamma",)
_ABSOLUTE = ("digamma",)

FUNCTION_CASES: tuple[Case, ...] = (
    *(formula(f"{f}(z)", *_DOMAINS.get(f, (-INF, INF)), unit=float(f in _ABSOLUTE))
      for f, row in FUNCTIONS.items() if row.arity == 1 and f not in _NO_DERIVATIVE),
    formula("sqrt(z)", 0), formula("1/z"), formula("1/sqrt(z)", 0), formula("z**2"), formula("z**3"), formula("z**(-2)"),
    formula("z**0.5", 0), formula("z**1.75", 0), formula("z**a", 1e-37, most=(4, 200), a=(-30, 30)), formula("a/z", a=(-INF, INF)),
    formula("atan2(z, a)", a=(-INF, INF)), formula("max(z, a)", a=(-INF, INF)), formula("min(z, a)", a=(-INF, INF)),
)  # fmt: skip

#: z multiplies the rounding of 1 - a in the derivative.
_ACTIVATIONS_MOST = {"silu": SMALL, "swish": SMALL, "mish": SMALL, "gelu_tanh": (1000.0, 80.0), "gelu": EXPONENT,
                     "gaussian": EXPONENT}  # fmt: skip

ACTIVATION_CASES: tuple[Case, ...] = (
    *(Case(name, lambda z, text=text: _layer(text, ("z",))(z), {"z": SCALAR}, most=_ACTIVATIONS_MOST.get(name, FEW))
      for name, text in ACTIVATIONS.items() if "[" not in text),
    along("softmax", "p[n,i] = exp(x[n,i])/sum(exp(x[n,j]), j)", "f[n] = p[n,0]", most=EXPONENT),
    along("log_softmax", "p[n,i] = x[n,i] - log(sum(exp(x[n,j]), j))", "f[n] = p[n,0]", unit=1.0),
    along("softmax under a mask", "m[n,i] = where(i == 1, -inf, x[n,i])", "p[n,i] = exp(m[n,i])/sum(exp(m[n,j]), j)",
          "f[n] = p[n,0]", most=EXPONENT),
)  # fmt: skip


def _loss(
    name: str, loss: Callable[..., Value], p: tuple[float, float], y: tuple[float, float], unit: float = 0.0, most: Most = FEW
) -> Case:
    return Case(name, loss, {"p": ((), *p), "y": ((), *y)}, unit, most=most)


def _over_classes(name: str, loss: Callable[..., Value], low: float = -INF, high: float = INF, unit: float = 0.0) -> Case:
    return Case(name, loss, {"z": ((3,), low, high), "y": ((), 0, 2)}, unit, 3)


_REAL, _UNIT, _SIGN = (-INF, INF), (0.0, 1.0), (-1.0, 1.0)
LOSS_CASES: tuple[Case, ...] = (
    _loss("MeanSquaredError", bp.MeanSquaredError, _REAL, _REAL),
    _loss("MeanAbsoluteError", bp.MeanAbsoluteError, _REAL, _REAL),
    _loss("Huber", bp.Huber, _REAL, _REAL),
    _loss("LogCosh", bp.LogCosh, _REAL, _REAL),
    _loss("BinaryCrossentropy", bp.BinaryCrossentropy, _UNIT, _UNIT),
    _loss("BinaryCrossentropy, from logits", lambda p, y: bp.BinaryCrossentropy(p, y, from_logits=True), _REAL, _UNIT),
    _loss("Hinge", bp.Hinge, _REAL, _SIGN, 1.0),
    _loss("Poisson", bp.Poisson, (0, INF), (0, INF), 1.0),
    _loss("Poisson, of a logarithm", lambda p, y: bp.Poisson(p, y, log_input=True), (-1e6, 1e6), (0, 1e30), 1.0, (4, 200)),
    Case("KLDivergence", bp.KLDivergence, {"p": ((3,), 0, 1), "y": ((3,), 0, 1)}, 1.0, most=(4, 2e3)),
    _over_classes("SoftmaxCrossEntropy", bp.SoftmaxCrossEntropy, unit=1.0),
    _over_classes("NegativeLogLikelihood", bp.NegativeLogLikelihood, -INF, 0),
)

STABLE_CASES: tuple[Case, ...] = (
    *(formula(text) for text in (
        "log(1 + exp(z))", "1/(1 + exp(-z))", "exp(z)/(1 + exp(z))", "log(1/(1 + exp(-z)))", "log(1 - 1/(1 + exp(-z)))",
        "log(cosh(z))", "(exp(z) - exp(-z))/(exp(z) + exp(-z))", "(1 - exp(-2*z))/(1 + exp(-2*z))", "(exp(z) - exp(-z))/2",
        "exp(z) - 1", "1 - exp(z)", "1 - cos(z)", "1 + tanh(z)", "1 - tanh(z)", "log(1 + z*z)", "sqrt(1 + z**2)",
        "sqrt(1 + z**2) - 1", "log(z + sqrt(1 + z*z))", "where(z > 0, z, exp(z) - 1)", "z/(1 + abs(z))",
        "1/(1 + z**2)", "sqrt(abs(z))")),
    formula("exp(-1/z**2)", most=EXPONENT), formula("exp(-z**2)", most=EXPONENT), formula("z**2*exp(-abs(z))", most=SMALL), formula("tanh(z**3)", most=(4, 40)),
    formula("exp(-exp(z))", most=EXPONENT), formula("log(1 - exp(-z))", 0), formula("log(1 + z)", -1), formula("log((1 + z)/(1 - z))", -1, 1),
    formula("sqrt(1 + z) - 1", -1), formula("z*log(z)", 0), formula("-z*log(z) - (1 - z)*log(1 - z)", 0, 1, 1.0),
    formula("a*log(z)", 0, a=(0, INF)), formula("a*log(a/z)", 1e-6, 1.0, 1.0, a=(1e-30, 1)), formula("sqrt(z*z + a*a)", a=(-INF, INF)),
    formula("sqrt(z**2 + a**2 + b**2)", a=(-INF, INF), b=(-INF, INF)),
    formula("log(exp(z) + exp(a))", unit=1.0, a=(-INF, INF)), formula("exp(z)/(exp(z) + exp(a))", most=EXPONENT, a=(-INF, INF)),
    along("log(sum(exp(x)))", "f[n] = log(sum(exp(x[n,i]), i))", unit=1.0),
    along("sum(exp(x)) under a logarithm, masked", "f[n] = log(sum(where(i == 1, 0, exp(x[n,i])), i))", unit=1.0),
    along("sqrt(sum(x**2))", "f[n] = sqrt(sum(x[n,i]**2, i))", unit=1e-15, limit=1e18, most=(4, INF)),  # slopes vanish below 1e-23
    along("x/sqrt(mean(x**2) + 1e-5)", "f[n] = x[n,0]/sqrt(mean(x[n,i]**2, i) + 1e-5)", limit=1e15,
          most=(4, 400)),
    along("mean(x**2) - mean(x)**2", "f[n] = mean(x[n,i]**2, i) - mean(x[n,i], i)**2", limit=1e3,
          most=(64, 2e3)),
    along("entropy of a softmax", "p[n,i] = exp(x[n,i])/sum(exp(x[n,j]), j)", "f[n] = -sum(p[n,i]*log(p[n,i]), i)", unit=1.0,
          limit=1e30),
)  # fmt: skip

GROUPS: dict[str, tuple[Case, ...]] = {
    "Functions": FUNCTION_CASES,
    "Activations": ACTIVATION_CASES,
    "Losses": LOSS_CASES,
    "Formulas that are typed": STABLE_CASES,
}
