"""Scalar functions that NumPy lacks, vectorized: what the generated NumPy text imports.

Each takes real arrays or numbers, computes in float64 and gives back the element type it was given. Infinities and NaN go
through as they do in C.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# erf: rational approximations on four intervals (Sun Microsystems, fdlibm, s_erf.c), constants first.
_ERX: Final = 8.45062911510467529297e-01
_PP: Final = (1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02,
              -5.77027029648944159157e-03, -2.37630166566501626084e-05)  # fmt: skip
_QQ: Final = (1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03,
              1.32494738004321644526e-04, -3.96022827877536812320e-06)  # fmt: skip
_PA: Final = (-2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01,
              3.18346619901161753674e-01, -1.10894694282396677476e-01, 3.54783043256182359371e-02,
              -2.16637559486879084300e-03)  # fmt: skip
_QA: Final = (1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02,
              1.26171219808761642112e-01, 1.36370839120290507362e-02, 1.19844998467991074170e-02)  # fmt: skip
_RA: Final = (-9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e+01,
              -6.23753324503260060396e+01, -1.62396669462573470355e+02, -1.84605092906711035994e+02,
              -8.12874355063065934246e+01, -9.81432934416914548592e+00)  # fmt: skip
_SA: Final = (1.0, 1.96512716674392571292e+01, 1.37657754143519042600e+02, 4.34565877475229228821e+02,
              6.45387271733267880336e+02, 4.29008140027567833386e+02, 1.08635005541779435134e+02,
              6.57024977031928170135e+00, -6.04244152148580987438e-02)  # fmt: skip
_RB: Final = (-9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e+01,
              -1.60636384855821916062e+02, -6.37566443368389627722e+02, -1.02509513161107724954e+03,
              -4.83519191608651397019e+02)  # fmt: skip
_SB: Final = (1.0, 3.03380607434824582924e+01, 3.25792512996573918826e+02, 1.53672958608443695994e+03,
              3.19985821950859553908e+03, 2.55305040643316442583e+03, 4.74528541206955367215e+02,
              -2.24409524465858183362e+01)  # fmt: skip

# Chebyshev coefficients of log(gamma(2 + t)) / (t (t + 1)) over -1 <= t <= 1.
_LOG_GAMMA: Final = (
    0.44148902545501423, -0.11119580321752523, 0.01951044826068884, -0.003922461463025264, 0.0008478989895953857,
    -0.00019153855341365593, 4.454470184975607e-05, -1.05728743735943e-05, 2.5474336873408417e-06,
    -6.208535880776316e-07, 1.5268677399071546e-07, -3.782637660291326e-08, 9.428100823624284e-09,
    -2.361999702184645e-09, 5.943541905817546e-10, -1.501312977072867e-10, 3.8050196458110534e-11,
    -9.672485299656325e-12, 2.465348198355661e-12, -6.298868140791711e-13, 1.6128460030283787e-13,
    -4.137949206814042e-14, 1.0635701227757898e-14, -2.7382420786652826e-15, 7.060670507214892e-16,
    -1.8232177141662118e-16, 4.714169006756272e-17, -1.2204107319639856e-17,
)  # fmt: skip

_STIRLING: Final = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)
_DIGAMMA: Final = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12, -3617 / 8160)
_TRIGAMMA: Final = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
_SHIFTED_TO: Final = 10.0  # from here on the asymptotic series of digamma and trigamma reach full accuracy


def _double(function: Callable[[Array], Array]) -> Callable[[Any], Any]:
    """Compute in float64, silently, and give back the argument's element type."""

    @wraps(function)
    def evaluated(x: Any) -> Any:
        given = np.asarray(x)
        kind = given.dtype if given.dtype.kind == "f" else np.dtype(np.float64)
        with np.errstate(all="ignore"):
            result = function(np.atleast_1d(given.astype(np.float64)))
        return result.reshape(given.shape).astype(kind)[()]

    return evaluated


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    total = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def _erf_parts(x: Array) -> tuple[Array, Array]:
    """``erf(|x|)`` and ``erfc(|x|)``, each computed without cancellation."""
    a = np.abs(x)
    small, middle = a < 0.84375, a < 1.25
    near = a + a * (_polynomial(a * a, _PP) / _polynomial(a * a, _QQ))
    s = a - 1.0
    ratio = _polynomial(s, _PA) / _polynomial(s, _QA)
    # A truncated z makes exp(-z*z) exact enough far out in the tail.
    far = np.clip(a, 1.25, 28.0)
    inverse = 1.0 / (far * far)
    first = far < 1 / 0.35
    quotient = np.where(
        first, _polynomial(inverse, _RA) / _polynomial(inverse, _SA), _polynomial(inverse, _RB) / _polynomial(inverse, _SB)
    )
    z = far.astype(np.float32).astype(np.float64)
    tail = np.exp(-z * z - 0.5625) * np.exp((z - far) * (z + far) + quotient) / far
    erf_a = np.where(small, near, np.where(middle, _ERX + ratio, 1.0 - tail))
    erfc_a = np.where(small, 1.0 - near, np.where(middle, 1.0 - _ERX - ratio, np.where(a > 28.0, 0.0, tail)))
    return np.where(np.isnan(x), x, erf_a), np.where(np.isnan(x), x, erfc_a)


@_double
def erf(x: Array) -> Array:
    """The error function."""
    return np.copysign(_erf_parts(x)[0], x)


@_double
def erfc(x: Array) -> Array:
    """``1 - erf(x)``, accurate for large `x`."""
    value, complement = _erf_parts(x)
    return np.where(x < 0, 1.0 + value, complement)


def _log_gamma_near_two(t: Array) -> Array:
    """``log(gamma(2 + t))`` for ``-1 <= t <= 1``: exactly 0 at -1 and 0."""
    b0, b1 = np.zeros_like(t), np.zeros_like(t)
    for coefficient in reversed(_LOG_GAMMA[1:]):
        b0, b1 = 2.0 * t * b0 - b1 + coefficient, b0
    return t * (t + 1.0) * (t * b0 - b1 + _LOG_GAMMA[0])


def _reduced(x: Array) -> tuple[Array, Array]:
    """For ``0 < x < 10``: t in -1 .. 1 and the factor with ``gamma(x) = factor * gamma(2 + t)``."""
    factor = np.where(x < 1.0, 1.0 / x, 1.0)
    t = np.where(x < 1.0, x - 1.0, x - 2.0)  # x + 1 would round
    for _ in range(8):
        above = t > 1.0
        t = np.where(above, t - 1.0, t)
        factor = np.where(above, factor * (t + 2.0), factor)
    return t, factor


def _series(x: Array, coefficients: tuple[float, ...]) -> Array:
    return _polynomial(1.0 / (x * x), coefficients)


@_double
def lgamma(x: Array) -> Array:
    """The logarithm of ``|gamma(x)|``."""
    a = np.abs(x)
    t, factor = _reduced(np.clip(a, 1e-310, 10.0))
    near = _log_gamma_near_two(t) + np.where(a < 1.0, -np.log(a), np.log(factor))
    big = np.maximum(a, 10.0)
    far = (big - 0.5) * (np.log(big) - 1.0) + 0.41893853320467274178 + _series(big, _STIRLING) / big
    positive = np.where(a < 10.0, near, np.where(np.isinf(a), np.inf, far))
    # gamma(x) gamma(-x) = -pi / (x sin(pi x))
    sine = np.abs(np.sin(np.pi * (a - np.floor(a))))
    reflected = np.log(np.pi / (a * sine)) - positive
    value = np.where(x > 0, positive, np.where((x == np.floor(x)) | np.isinf(x), np.inf, reflected))
    return np.where(np.isnan(x), x, value)


@_double
def gamma(x: Array) -> Array:
    """The gamma function; NaN at negative integers."""
    a = np.abs(x)
    t, factor = _reduced(np.clip(a, 1e-310, 10.0))
    near = factor * np.exp(_log_gamma_near_two(t))
    big = np.clip(a, 10.0, 180.0)
    root = np.power(big, big / 2 - 0.25)  # squared below: the whole power overflows before gamma does
    far = root * (np.exp(-big) * 2.5066282746310005024) * root * np.exp(_series(big, _STIRLING) / big)
    positive = np.where(a < 10.0, near, far)
    part = a - np.floor(a)
    sine = np.sin(np.pi * np.minimum(part, 1.0 - part)) * np.where(np.floor(a) % 2 == 0, 1.0, -1.0)
    reflected = -np.pi / (a * sine * positive)
    value = np.where(x > 0, positive, np.where(x == np.floor(x), np.nan, reflected))
    value = np.where(x == 0, np.copysign(np.inf, x), value)
    return np.where(np.isnan(x), x, value)


def _shifted(x: Array, term: Callable[[Array], Array]) -> tuple[Array, Array]:
    """Raise `x` to at least `_SHIFTED_TO` in steps of one, adding up a term of each step."""
    total = np.zeros_like(x)
    for _ in range(int(_SHIFTED_TO)):
        below = x < _SHIFTED_TO
        total = np.where(below, total + term(np.where(below, x, 1.0)), total)
        x = np.where(below, x + 1.0, x)
    return x, total


def _cosine_and_sine(x: Array) -> tuple[Array, Array]:
    """``cos(pi x)`` and ``sin(pi x)`` up to a common sign, for finite `x`."""
    part = x - np.round(x)
    return np.cos(np.pi * part), np.sin(np.pi * part)


@_double
def digamma(x: Array) -> Array:
    """The derivative of `lgamma`; NaN at 0 and the negative integers."""
    reflect = x < 0.5
    a = np.where(reflect, 1.0 - x, x)
    big, subtracted = _shifted(np.where(np.isfinite(a), a, 20.0), lambda value: 1.0 / value)
    positive = np.log(big) - 0.5 / big - _series(big, _DIGAMMA) / (big * big) - subtracted
    cosine, sine = _cosine_and_sine(np.where(np.isfinite(x), x, 0.25))
    value = np.where(reflect, positive - np.pi * cosine / sine, positive)
    value = np.where((x <= 0) & (x == np.floor(x)), np.nan, value)
    return np.where(np.isnan(x) | (x == np.inf), x, value)


@_double
def trigamma(x: Array) -> Array:
    """The derivative of `digamma`; infinite at 0 and the negative integers."""
    reflect = x < 0.5
    a = np.where(reflect, 1.0 - x, x)
    big, added = _shifted(np.where(np.isfinite(a), a, 20.0), lambda value: 1.0 / (value * value))
    positive = 1.0 / big + 0.5 / (big * big) + _series(big, _TRIGAMMA) / (big * big * big) + added
    _, sine = _cosine_and_sine(np.where(np.isfinite(x), x, 0.25))
    value = np.where(reflect, (np.pi / sine) ** 2 - positive, positive)
    value = np.where((x <= 0) & (x == np.floor(x)), np.inf, value)
    return np.where(np.isnan(x), x, np.where(x == np.inf, 0.0, value))


def sigmoid(x: Any) -> Any:
    """``1 / (1 + exp(-x))`` without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(np.greater_equal(x, 0), np.ones_like(e), e) / (1 + e)


def softplus(x: Any) -> Any:
    """``log(1 + exp(x))`` without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
