"""At which inputs a formula is looked at: all magnitudes within the interval of each variable.

The intervals are inferred from the equations (a variance is a mean of squares, and never negative), or stated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.calculus.bounds import EVERYTHING, NONNEGATIVE, Interval, bounds
from bpcompile.errors import CheckError
from bpcompile.language.initializers import initial_values
from bpcompile.language.network import Network
from bpcompile.nodes.expressions import Expr
from bpcompile.nodes.statements import Statement

Array = NDArray[Any]

_MAGNITUDES: Final = {
    "float32": (1e-40, 1e-38, 1e-30, 1e-20, 1e-10, 1e-7, 1e-5, 1e-3, 0.1, 0.5, 1.0, 3.0, 10.0, 17.0, 40.0, 88.0, 89.0, 104.0,
                1e3, 1e5, 1e10, 1e20, 1e30, 3e38),
    "float64": (1e-310, 1e-308, 1e-200, 1e-100, 1e-30, 1e-16, 1e-10, 1e-5, 1e-3, 0.1, 0.5, 1.0, 3.0, 10.0, 37.0, 100.0, 709.0,
                710.0, 746.0, 1e5, 1e10, 1e100, 1e200, 1e308),
}  # fmt: skip


def points(dtype: str, intervals: Sequence[Interval], most: int) -> Array:
    """Zero and all magnitudes with both signs, within the intervals; in several variables a sample of their combinations."""
    values = [_values(dtype, i) for i in intervals]
    grid = list(itertools.product(*(range(len(v)) for v in values)))
    if len(grid) > most:
        rng = np.random.default_rng(0)
        grid = [grid[k] for k in np.sort(rng.choice(len(grid), most, replace=False))]
    chosen: Array = np.array([[v[k] for v, k in zip(values, ks, strict=True)] for ks in grid], dtype)
    return chosen


def _values(dtype: str, interval: Interval) -> Array:
    low, high = interval
    every = np.array([0.0, *(s * m for m in _MAGNITUDES[dtype] for s in (1, -1))], dtype)
    ends = np.array([x for x in interval if math.isfinite(x)], dtype)
    # Just inside an end is where a logarithm or a quotient has its pole.
    inside = [np.nextafter(e, np.dtype(dtype).type(0.5 * (low + high) if math.isfinite(low + high) else 0)) for e in ends]
    values = np.unique(np.concatenate([every[(every >= low) & (every <= high)], ends, np.array(inside, dtype)]))
    return values[(values >= low) & (values <= high)]


# --- stated intervals ---------------------------------------------------------------------------------------------------


def stated_ranges(given: Mapping[str, object] | Iterable[str]) -> dict[str, Interval]:
    """The intervals that a user states.

    Parameters
    ----------
    given : mapping or iterable of str
        ``{"v": (0, inf)}``, or texts such as ``"v=0:inf"``.

    Raises
    ------
    CheckError
        If one is no interval.
    """
    if isinstance(given, Mapping):
        return {str(name): _interval(name, value, f"{name!r}: {value!r}") for name, value in given.items()}
    pairs = (text.partition("=")[::2] for text in given)
    return {name.strip(): _interval(name.strip(), value.split(":"), f"'{name}={value}'") for name, value in pairs}


def _interval(name: object, value: object, shown: str) -> Interval:
    try:
        low, high = (float(x) for x in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not name or not low <= high:
        raise CheckError(
            f"{shown} is no range of a variable.", hint='Write two numbers, the smaller first: "v=0:inf", or {"v": (0, inf)}.'
        )
    return low, high


# --- inferred intervals -------------------------------------------------------------------------------------------------


def inferred_ranges(network: Network, equations: Iterable[Statement]) -> Callable[[str], Interval]:
    """The interval of each tensor of a network, by name, from the equations that define it.

    A state is never negative if it starts so, and if its equation keeps it so.
    """
    defined = {s.target: s for s in equations if s.plain}
    found: dict[str, Interval] = {}

    def of_load(e: Expr) -> Interval:
        return of(e.value[0])

    def of(name: str) -> Interval:
        if name not in found:
            found[name] = EVERYTHING  # what a recurrence meets of itself
            s = defined.get(name)
            if name in network.states:
                found[name] = of_state(name)
            elif s is not None:
                found[name] = bounds(s.body, of_load)
        return found[name]

    def of_state(name: str) -> Interval:
        state = network.states[name]
        start = np.asarray(initial_values(name, state.shape, state.initializer, 0))
        if start.size and float(start.min()) < 0:
            return EVERYTHING
        found[name] = NONNEGATIVE
        after = [bounds(s.body, of_load) for s in defined.values() if s.target.startswith(f"{name}.next")]
        return NONNEGATIVE if after and all(low >= 0 for low, _ in after) else EVERYTHING

    return of
