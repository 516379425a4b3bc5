"""Penalties on parameters, added to the loss: ``l1 * sum |w| + l2 * sum w^2``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bpcompile.errors import LanguageError, named_options

__all__ = ["L1", "L2", "Penalty", "penalty"]


@dataclass(frozen=True)
class Penalty:
    """``l1 * sum |w| + l2 * sum w^2``."""

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("l1", self.l1), ("l2", self.l2)):
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
                raise LanguageError(f"A penalty needs a factor {name} >= 0, not {value!r}.")

    def __add__(self, other: Penalty) -> Penalty:
        return Penalty(self.l1 + other.l1, self.l2 + other.l2)


@named_options(LanguageError)
def L1(factor: float = 0.01) -> Penalty:
    """Return the penalty ``factor * sum |w|``."""
    return Penalty(l1=factor)


@named_options(LanguageError)
def L2(factor: float = 0.01) -> Penalty:
    """Return the penalty ``factor * sum w^2``."""
    return Penalty(l2=factor)


def penalty(value: object, where: str = "") -> Penalty:
    """Return the penalty that `value` means: a `Penalty`, a table ``{l1 = ..., l2 = ...}``, or a name, ``"l1"`` or ``"l2"``.

    Raises
    ------
    LanguageError
        If it means none.
    """
    if isinstance(value, Penalty):
        return value
    if isinstance(value, str) and value in ("l1", "l2"):
        return L1() if value == "l1" else L2()
    if isinstance(value, dict) and value and set(value) <= {"l1", "l2"}:
        return Penalty(**{key: _factor(factor, where) for key, factor in value.items()})
    raise LanguageError(
        f"{value!r} is no penalty.", where=where, hint="Write bp.L1(0.01) or bp.L2(0.01); in a spec file, { l2 = 0.01 }."
    )


def _factor(value: object, where: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise LanguageError(f"The factor of a penalty is a number, not {value!r}.", where=where)
