"""Which expressions have integer values, and between which bounds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sympy

from bpcompile.language.affine import Affine, Interval, NotAffineError, Ranges, affine, facts_of, interval
from bpcompile.language.symbols import (
    Access,
    FloorDivide,
    Index,
    Maximum,
    Minimum,
    Modulo,
    Reduction,
    SizeOf,
    StopGradient,
    Where,
)

__all__ = ["bounds", "has_integer_source", "is_integer"]

_ARITHMETIC = (sympy.Add, sympy.Mul, FloorDivide, Modulo, Maximum, Minimum)


def is_integer(expression: Any, tensors: Collection[str]) -> bool:
    """Whether `expression` is an integer for sure, given the names of the integer tensors."""
    if isinstance(expression, Access):
        return expression.tensor in tensors
    if isinstance(expression, (sympy.Integer, Index, SizeOf)):
        return True
    if isinstance(expression, Reduction):
        return expression.kind in ("argmax", "argmin") or (
            expression.kind != "mean" and is_integer(expression.body, tensors)
        )
    if isinstance(expression, (Where, StopGradient)):
        return all(is_integer(a, tensors) for a in expression.args[-2:])
    return isinstance(expression, _ARITHMETIC) and all(is_integer(a, tensors) for a in expression.args)


def has_integer_source(expression: Any, tensors: Collection[str]) -> bool:
    """Whether an integer tensor or an argmax gives `expression` its value (a condition or subscript does not count)."""
    if isinstance(expression, Access):
        return expression.tensor in tensors
    if isinstance(expression, Reduction):
        return expression.kind in ("argmax", "argmin") or has_integer_source(expression.body, tensors)
    values = expression.args[1:] if isinstance(expression, Where) else expression.args
    return any(has_integer_source(a, tensors) for a in values)


def bounds(expression: Any, ranges: Ranges) -> Interval:
    """Return bounds of an integer expression; None where there is none."""
    if isinstance(expression, Reduction) and expression.kind in ("argmax", "argmin"):
        extent = ranges.extents.get(expression.indices[0].name)
        return 0, None if extent is None else extent - 1
    if isinstance(expression, Reduction) and expression.kind in ("max", "min"):
        return bounds(expression.body, ranges)
    if isinstance(expression, StopGradient):
        return bounds(expression.args[0], ranges)
    if isinstance(expression, Where):
        condition, a, b = expression.args
        return _union(
            bounds(a, _narrowed(ranges, facts_of(condition, ranges.extents))),
            bounds(b, _narrowed(ranges, facts_of(condition, ranges.extents, holds=False))),
        )
    try:
        return interval(affine(expression, ranges.extents), ranges)
    except NotAffineError:
        return None, None


def _narrowed(ranges: Ranges, facts: tuple[Affine, ...]) -> Ranges:
    return Ranges(ranges.extents, ranges.tensors, ranges.facts + facts)


def _union(a: Interval, b: Interval) -> Interval:
    low = None if a[0] is None or b[0] is None else min(a[0], b[0])
    high = None if a[1] is None or b[1] is None else max(a[1], b[1])
    return low, high
