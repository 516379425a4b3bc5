"""The scalar functions of the language as floats, and in many digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

__all__ = ["SCALARS", "Number", "is_nan"]

Number = Any


def is_nan(x: Number) -> bool:
    """Whether a float or one of mpmath's numbers is NaN."""
    return bool(x != x)


def _through_numpy(function: Any) -> Callable[..., float]:
    def call(*arguments: Number) -> float:
        with np.errstate(all="ignore"):
            return float(function(*(np.float64(a) for a in arguments)))

    return call


def _through_mpmath(function: Any) -> Callable[[Number], float]:
    """Right to the last place, since mpmath works with more digits."""

    def call(x: Number) -> float:
        if is_nan(x):
            return math.nan
        with mpmath.workdps(40):
            return float(mpmath.re(function(mpmath.mpf(x))))

    return call


def _sign(x: Number) -> Number:
    return x if is_nan(x) else (x > 0) - (x < 0)


def _sigmoid(x: Number) -> Number:
    return 1 / (1 + mpmath.exp(-mpmath.mpf(x)))


def _softplus(x: Number) -> Number:
    x = mpmath.mpf(x)
    return (x if x > 0 else 0) + mpmath.log1p(mpmath.exp(-abs(x)))


def _relu(x: Number) -> Number:
    return x if x > 0 or is_nan(x) else 0 * x


#: Name in the language: the function of floats, the function of mpmath's numbers.
SCALARS: dict[str, tuple[Callable[..., Number], Callable[..., Number]]] = {
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
