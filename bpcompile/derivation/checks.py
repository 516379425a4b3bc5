"""What the check of a derivation says: a row for each printed equation, with its errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.derivation.document import Equation

Array = NDArray[Any]
TOLERANCE: Final = 1e-6
"""The largest error, relative to the largest value, that agreement may have."""

SMALLEST: Final = 1e-3
"""Values below this are compared absolutely."""


@dataclass(frozen=True)
class Row:
    """One equation of the document, checked.

    Attributes
    ----------
    equation : Equation
        What was printed.
    lines, skipped : int
        How many of its lines were evaluated, and how many have too many terms for that.
    differences : float or None
        The largest error against numeric differences (for a ``value``: against the forward pass).
    generated : float or None
        The largest error against what the generated code computed, for gradients that it returns.
    magnitude : float
        The largest value that was compared.
    elements, size : int
        At how many elements the lines were evaluated, and how many there are.
    moved : int
        How many of them were compared with differences (for a ``value``: with the forward pass).
    """

    equation: Equation
    lines: int
    differences: float | None
    generated: float | None
    magnitude: float
    elements: int
    size: int
    moved: int
    skipped: int = 0

    @property
    def passed(self) -> bool:
        """Whether something was compared, and all errors are small."""
        errors = [e for e in (self.differences, self.generated) if e is not None]
        return bool(errors) and self.lines > 0 and self.moved > 0 and all(e <= TOLERANCE for e in errors)


@dataclass(frozen=True)
class Check:
    """All rows of the check."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether every printed equation holds, and there was one."""
        return bool(self.rows) and all(r.passed for r in self.rows)

    @property
    def worst(self) -> float:
        """The largest error."""
        return max((e for r in self.rows for e in (r.differences, r.generated) if e is not None), default=0.0)

    @property
    def sampled(self) -> bool:
        """Whether some equation was evaluated at a part of its elements."""
        return any(r.elements < r.size for r in self.rows)


def compared(
    e: Equation,
    values: Sequence[Array],
    known: Array,
    generated: Array | None,
    size: int | None = None,
    skipped: int = 0,
    rounding: Array | float = 0.0,
) -> Row:
    """The row of an equation: its lines against each other, against ``known`` where that is a number, against the code.

    Parameters
    ----------
    e : Equation
        What was printed.
    values : sequence of array
        Its lines.
    known : array
        What they should be; NaN where that is not known.
    generated : array or None
        What the generated code computed.
    size : int, optional
        How many elements there are, where ``values`` are some of them.
    skipped : int
        How many lines were not evaluated.
    rounding : array or float
        How far off ``known`` may be by the rounding of what it is a difference of.
    """
    told = ~np.isnan(known)
    size = known.size if size is None else size
    if not values:
        return Row(e, 0, None, None, 0.0, 0, size, 0, skipped)
    magnitude = float(np.max(np.abs(known[np.isfinite(known)]), initial=0.0))
    if magnitude == 0.0 and known.size < size:
        magnitude = float(np.max(np.abs(values[-1][np.isfinite(values[-1])]), initial=0.0))
    scale = max(SMALLEST, magnitude)
    error = max(_largest(np.maximum(_distance(v, known) - rounding, 0.0)[told]) for v in values) / scale
    if known.size < size:
        error = max(error, *(_largest(_distance(v, values[-1])) / scale for v in values))
    other = None if generated is None else max(_largest(_distance(v, generated)) for v in values) / scale
    return Row(e, len(values), error, other, magnitude, known.size, size, int(np.sum(told)), skipped)


def _distance(a: Array, b: Array) -> Array:
    """How far apart; equal infinities are not."""
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, np.abs(a - b))


def _largest(errors: Array) -> float:
    """The largest error; NaN counts as infinite."""
    if not errors.size:
        return 0.0
    return float(np.max(np.where(np.isnan(errors), np.inf, errors)))
