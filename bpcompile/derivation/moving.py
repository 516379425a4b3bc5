"""Derivatives of single equations by differences: one element of one tensor is moved, all other tensors stay.

This is what the chain rule says in numbers: the cost changes with an element of ``u`` through the equations that read
``u``, each weighted with the derivative of the cost by what it computes. Only the elements that read the moved one are
evaluated, so that it is cheap in networks of any size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.calculus.differentiate import adjoint_name
from bpcompile.calculus.forward import LOSS
from bpcompile.derivation.context import Context
from bpcompile.derivation.evaluate import Evaluator, Source
from bpcompile.derivation.numeric import extrapolated, offsets, step_for
from bpcompile.derivation.view import whole
from bpcompile.nodes.expressions import Axis, Expr, axes_of, children_first, loads

Array = NDArray[Any]
ROUNDING: Final = 2.0**-48
"""The rounding of a value, as it stands in a difference over a step."""


@dataclass
class Moved(Source):
    """A tensor with one element moved by ``by``."""

    of: Any
    place: tuple[int, ...]
    by: float
    values: Evaluator

    def __post_init__(self) -> None:
        self.shape = self.of.shape

    def read(self, subscripts: Sequence[Any]) -> Any:
        """The elements, the moved one among them."""
        here: Any = True
        for s, p in zip(subscripts, self.place, strict=True):
            here = np.logical_and(here, np.equal(s, p))
        return self.values.element(self.of, list(subscripts)) + self.by * np.asarray(here, dtype=float)


def readers(context: Context) -> dict[str, list[str]]:
    """For each tensor, those whose printed equations read it."""
    found: dict[str, list[str]] = {}
    for y, s in context.stable.items():
        if y not in context.view.definitions:
            for name in dict.fromkeys(x.value[0] for x in loads(context.view.tree(whole(s)))):
                found.setdefault(name, []).append(y)
    return found


def slope(
    context: Context, values: Evaluator, read_by: Mapping[str, Sequence[str]], tensor: str, place: tuple[int, ...]
) -> tuple[float, float]:
    """The derivative of the cost by one element, through the equations that read it, and its rounding; NaN at a kink.

    Parameters
    ----------
    context : Context
        Whose equations are evaluated.
    values : Evaluator
        With every tensor and every adjoint.
    read_by : mapping of str to sequence of str
        As `readers` finds them.
    tensor : str
        What is moved.
    place : tuple of int
        Its element.
    """
    total = rounding = 0.0
    for y in read_by.get(tensor, ()):
        if y != LOSS and adjoint_name(y) not in values.arrays:
            continue
        s = context.stable[y]
        tree, axes = context.view.tree(whole(s)), context.view.axes(s.axes)
        touched = affected(values, tree, axes, tensor, place)
        if any(v.size == 0 for v in touched.values()):
            continue
        weight = 1.0 if y == LOSS else values.element(values.arrays[adjoint_name(y)], grid(touched, axes))
        found, error = moved_slope(values, tree, axes, touched, tensor, place)
        total += float(np.sum(weight * found))
        rounding += float(np.sum(np.abs(weight) * error))
    return total, rounding


def moved_slope(
    values: Evaluator, tree: Expr, axes: Sequence[Axis], some: dict[Axis, Array], tensor: str, place: tuple[int, ...]
) -> tuple[Array, Array]:
    """The derivative of a formula, at some values of its axes, by one element of a tensor; and its rounding.

    Where a derivative is the difference of large values, their rounding is all that is left of it.
    """
    array = values.arrays[tensor]
    step = step_for(values.element(array, [np.asarray(p) for p in place]))
    base = values.over(tree, axes, None, some)

    def at(h: float) -> Array:
        arrays = {**values.arrays, tensor: Moved(array, place, h, values)}
        return replace(values, arrays=arrays, moving=True).over(tree, axes, None, some)

    up, half_up, half_down, down = (at(h) for h in offsets(step))
    rounding = ROUNDING * np.where(np.isfinite(base), np.abs(base), 0.0) / step
    return extrapolated(step, up, half_up, half_down, down, base), rounding


def grid(some: dict[Axis, Array], axes: Sequence[Axis]) -> list[Array]:
    """Values of axes, shaped to broadcast."""
    return [some[a].reshape([-1] + [1] * (len(axes) - 1 - k)) for k, a in enumerate(axes)]


def affected(
    values: Evaluator, tree: Expr, axes: Sequence[Axis], tensor: str, place: tuple[int, ...]
) -> dict[Axis, Array]:
    """For each axis of an equation, the values at which it may read an element; others it cannot.

    Every subscript is evaluated over its own indices alone, and compared with the place.
    """
    reached = {a: np.zeros(values.extent(a), dtype=bool) for a in axes}
    for x in children_first(tree):
        if x.op != "load" or x.value[0] != tensor:
            continue
        here = {a: np.ones(values.extent(a), dtype=bool) for a in axes}
        possible = True
        for s, p in zip(x.args, place, strict=True):
            own = axes_of(s)
            hit = np.atleast_1d(values.over(s, own) == p)
            possible = possible and bool(hit.any())
            for k, a in enumerate(own):
                if a in here:
                    others = tuple(m for m in range(len(own)) if m != k)
                    here[a] &= hit.any(axis=others) if others else hit
        if possible:
            for a in axes:
                reached[a] |= here[a]
    return {a: np.flatnonzero(m) for a, m in reached.items()}
