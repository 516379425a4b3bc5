"""Scalar functions for the evaluator, in double precision, written from their definitions.

They share nothing with the generated code, so that a wrong function there shows here. (The library functions that NumPy
lacks come from their integrals and series: Abramowitz and Stegun, chapters 6 and 7.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def _each(function: Callable[[float], float]) -> Callable[[Any], Any]:
    return np.vectorize(function, otypes=[float])


def _log_gamma(x: float) -> float:
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):
        return math.inf


def _polygamma(x: float, order: int) -> float:
    """Digamma (order 0) and trigamma (order 1): recurrence up to 12, then the asymptotic series."""
    total = 0.0
    while x < 12.0:
        total += -1.0 / x if order == 0 else 1.0 / (x * x)
        x += 1.0
    inverse = 1.0 / (x * x)
    if order == 0:
        series = inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse * (1 / 240 - inverse / 132))))
        return total + math.log(x) - 0.5 / x - series
    series = 1 / 6 - inverse * (1 / 30 - inverse * (1 / 42 - inverse * (1 / 30 - inverse * 5 / 66)))
    return total + 1.0 / x + 0.5 * inverse + series * inverse / x


def _sigmoid(x: Any) -> Any:
    return np.where(x >= 0, 1.0 / (1.0 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1.0 + np.exp(-np.abs(x))))


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    **{name: getattr(np, name) for name in (
        "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "floor", "ceil",
        "sign", "abs")},
    "round": np.rint, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "atan2": np.arctan2, "erf": _each(math.erf), "erfc": _each(math.erfc),
    "gamma": _each(math.gamma), "lgamma": _each(_log_gamma), "digamma": _each(lambda x: _polygamma(x, 0)),
    "trigamma": _each(lambda x: _polygamma(x, 1)), "sigmoid": _sigmoid, "softplus": _softplus,
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "neg": lambda a: -a,
    "div": np.true_divide, "pow": np.power, "floordiv": np.floor_divide, "mod": np.mod, "min": np.minimum, "max": np.maximum,
    "lt": np.less, "le": np.less_equal, "eq": np.equal, "ne": np.not_equal, "and": np.logical_and, "or": np.logical_or,
    "not": np.logical_not,
}  # fmt: skip
"""By the operation of the node."""
