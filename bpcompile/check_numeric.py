"""Derivatives by differences, in float64, with a step chosen for each element.

Ridders' extrapolation of central differences (Ridders 1982; Press et al., Numerical Recipes, section 5.7): the step is halved
from a large one down, and the entry of the tableau with the smallest estimated error is taken. Where that does not settle
(a kink or a jump within the step), small steps to either side tell which it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

Function = Callable[[float], float]
"""The loss as a function of the distance from the point."""

_HALVINGS: Final = 7
_QUICK_STEP: Final = 1e-4
_SMALL_STEPS: Final = (1e-4, 1e-5, 1e-6, 1e-7)
_EPSILON: Final = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A derivative by differences.

    Attributes
    ----------
    value : float
        The derivative.
    uncertainty : float
        What rounding and truncation may have done to it.
    kink : bool
        Whether the derivatives to the left and to the right differ: then the point has none.
    low, high : float
        The one-sided derivatives at a kink, the smaller first.
    """

    value: float
    uncertainty: float
    kink: bool = False
    low: float = 0.0
    high: float = 0.0


def extrapolated(f: Function, step: float, noise: float) -> Estimate:
    """Differentiate `f` at 0 from a first step down.

    Parameters
    ----------
    f : callable
        The function.
    step : float
        The first step.
    noise : float
        The rounding error of one evaluation of `f`.
    """
    above = [_central(f, step)]
    best, uncertainty = above[0], float("inf")
    for k in range(1, _HALVINGS + 1):
        step /= 2
        row = [_central(f, step)]
        for j in range(1, k + 1):
            factor = 4.0**j
            row.append((factor * row[j - 1] - above[j - 1]) / (factor - 1))
            error = max(abs(row[j] - row[j - 1]), abs(row[j] - above[j - 1]))
            if error <= uncertainty:
                best, uncertainty = row[j], error
        if abs(row[k] - above[k - 1]) >= 4 * uncertainty or uncertainty <= noise / step:
            break
        above = row
    return Estimate(best, uncertainty + noise / step)


def quick(f: Function, scale: float, noise: float) -> Estimate:
    """Differentiate `f` at 0 by two central differences, and compare the two sides: five evaluations.

    The uncertainty is infinite where the sides do not meet; then `one_sided` has to look.
    """
    here = f(0.0)
    step = _QUICK_STEP * scale
    wide = _central(f, step)
    step /= 4
    right, left = f(step), f(-step)
    near = (right - left) / (2 * step)
    value = (16 * near - wide) / 15
    rounding = 2 * noise / step
    gap = abs(right + left - 2 * here) / step
    if gap > 1e-3 * abs(value) + 4 * rounding:
        return Estimate(value, float("inf"))
    return Estimate(value, abs(near - wide) + rounding)


def gap_of_sides(f: Function, scale: float, noise: float) -> float:
    """How far apart the derivatives to the right and to the left are, beyond what rounding explains."""
    step = 1e-5 * scale
    return max(0.0, abs(f(step) + f(-step) - 2 * f(0.0)) / step - 8 * noise / step)


def one_sided(f: Function, scale: float, noise: float) -> Estimate:
    """Differentiate `f` at 0 by small steps to either side, and say whether there is a kink.

    The two sides of a smooth function agree ever better as the step shrinks; those of a kink do not.
    """
    here = f(0.0)
    best: Estimate | None = None
    gaps: list[tuple[float, float, float]] = []
    for relative in _SMALL_STEPS:
        step = relative * scale
        right, left = (f(step) - here) / step, (here - f(-step)) / step
        gap = abs(right - left)
        rounding = 4 * noise / step
        gaps.append((gap, rounding, max(abs(right), abs(left))))
        estimate = Estimate((right + left) / 2, rounding + gap, low=min(right, left), high=max(right, left))
        if best is None or estimate.uncertainty < best.uncertainty:
            best = estimate
    assert best is not None
    kink = _does_not_close(gaps)
    uncertainty = best.uncertainty if kink else min(best.uncertainty, max(r for _, r, _ in gaps[:-1]))
    return Estimate(best.value, uncertainty, kink, best.low, best.high)


def _does_not_close(gaps: list[tuple[float, float, float]]) -> bool:
    """True if the gap between the sides stays (a kink), or grows (a jump), while the step shrinks a hundredfold."""
    (first, _, size), (last, rounding, _) = gaps[0], gaps[2]
    return last > 10 * rounding and last > 1e-6 * size and last > 0.2 * first


def _central(f: Function, step: float) -> float:
    return (f(step) - f(-step)) / (2 * step)


def rounding_noise(loss: float) -> float:
    """The rounding error to expect of a loss of this size."""
    return 4 * _EPSILON * max(abs(loss), 1e-3)
