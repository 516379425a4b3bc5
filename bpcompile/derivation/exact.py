"""The check of small networks: every element, against differences through the whole network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.derivation.abstract_world import AbstractWorld
from bpcompile.derivation.checks import Row, compared
from bpcompile.derivation.context import Context
from bpcompile.derivation.document import Equation, Line
from bpcompile.derivation.matrix import orientation
from bpcompile.derivation.numeric import World
from bpcompile.derivation.places import tensor_axes
from bpcompile.nodes.expressions import Axis, Expr, children_first

Array = NDArray[Any]
MOST_SAMPLES: Final = 6
"""How many elements of a tensor are moved."""

MOST_JACOBIAN: Final = 4096
"""How many elements a matrix of derivatives may have to be found by differences."""

MOST_GRID: Final = 6_000_000
"""How many terms a line may have in all to be evaluated everywhere."""


@dataclass
class Exact:
    """Checks equations of one world."""

    context: Context
    world: World
    gradients: Mapping[str, Array]
    seed: int

    def takes(self, e: Equation) -> bool:
        """Whether all lines of an equation can be evaluated at all elements in little memory."""
        if e.claim.kind == "local" and self._is_large(e.claim.tensor, e.claim.by):
            return False
        return all(self._fits(e, x) for x in e.lines if x.tree is not None)

    def _is_large(self, upper: str, lower: str) -> bool:
        arrays = self.world.values.arrays
        return bool(arrays[upper].size * arrays[lower].size > MOST_JACOBIAN)

    def _fits(self, e: Equation, x: Line) -> bool:
        assert x.tree is not None
        if any(y.op == "partial" and self._is_large(y.value[0], y.value[1]) for y in children_first(x.tree)):
            return False
        extent = self.world.values.extent
        return x.matrix or prod(map(extent, e.axes)) * inner_volume(x.tree, extent) <= MOST_GRID

    def row(self, e: Equation) -> Row:
        """The row of one equation."""
        values = [self.evaluated(e, x) for x in e.lines if x.tree is not None]
        index = [v for v, x in zip(values, (x for x in e.lines if x.tree is not None), strict=True) if not x.matrix]
        if e.claim.kind == "value":
            known = np.array(self.world.values.arrays[e.claim.tensor], dtype=float)
            if isinstance(self.world, AbstractWorld) and known.ndim:
                known[0] = np.nan
            return compared(e, values, known, None)
        if e.claim.kind == "local":
            return compared(e, values, self.world.jacobian(e.claim.tensor, e.claim.by), None)
        return self.gradient(e, values, index)

    def gradient(self, e: Equation, values: list[Array], index: list[Array]) -> Row:
        """Against differences of the cost; equations further on read what was printed."""
        tensor = e.claim.tensor
        if index and not self.context.time and not e.at:
            self.world.values.arrays[f"{tensor}.bar"] = index[-1]
        known = np.full(self.world.values.arrays[tensor].shape, np.nan)
        if isinstance(self.world, AbstractWorld):
            for layer in self.world.limits(e.label):
                known[layer] = self.world.values.arrays[f"{tensor}.bar"][layer]
            return compared(e, values, known, None)
        fixed = dict(e.at)
        shown = self.context.view.axes(tensor_axes(self.context, tensor))
        wanted = [fixed.get(a) for a in shown]
        places = [p for p in np.ndindex(known.shape) if all(w is None or w == i for w, i in zip(wanted, p, strict=True))]
        generator = np.random.default_rng(self.seed)
        if len(places) > MOST_SAMPLES:
            chosen = generator.choice(len(places), MOST_SAMPLES, replace=False)
            places = [places[k] for k in sorted(chosen)]
        for place in places:
            known[place] = self.world.slope(tensor, place)
        generated = self.gradients.get(tensor)
        if fixed:
            known = known[tuple(slice(None) if w is None else w for w in wanted)]
            generated = None
        return compared(e, values, known, generated)

    def evaluated(self, e: Equation, line: Line) -> Array:
        """The value of one line, over the axes of the equation."""
        assert line.tree is not None
        if not line.matrix:
            return self.world.values.over(line.tree, e.axes)
        return matrix_value(self.world, line, e.axes, self.context)


def inner_volume(e: Expr, extent: Callable[[Axis], int]) -> int:
    """How many terms the sums of a formula have, sums within sums multiplied."""
    inner = max((inner_volume(a, extent) for a in e.args), default=1)
    return inner * prod(map(extent, e.value[1])) if e.op == "reduce" else inner


def matrix_value(
    world: Any, line: Line, axes: Sequence[Axis], context: Context, some: Mapping[Axis, Array] | None = None
) -> Array:
    """A matrix form for all values of its fixed axes, in the order of the axes; or for some values of all axes."""
    assert line.tree is not None
    fixed = [a for a in axes if a.name in context.time or a in line.fixed]
    free = [a for a in axes if a not in fixed]
    shape = orientation(axes, context.layout(fixed))
    assert shape is not None
    values = {a: np.arange(world.values.extent(a)) if some is None else some[a] for a in axes}
    rows, columns = (None if some is None or a is None else values[a] for a in shape)
    flipped = len(free) == 2 and shape[0] != free[0]
    if line.turned:
        rows, columns = columns, rows
    if len(free) == 1:
        rows = columns = rows if columns is None else columns  # a row or a column: the other side is one
    result = np.empty([len(values[a]) for a in axes])
    for place in np.ndindex(*[len(values[a]) for a in fixed]):
        env = {a: values[a][i] for a, i in zip(fixed, place, strict=True)}
        value = world.values.matrix(line.tree, env, rows, columns)
        value = value.T if flipped != line.turned else value
        at = tuple(place[fixed.index(a)] if a in fixed else slice(None) for a in axes)
        result[at] = value.reshape([len(values[a]) for a in free])
    return result
